"""Nodes on which nothing is started for a while, since starts on them have failed one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gpujobs.daemon.jobs.again import pauses
from gpujobs.model import Node, NodeStatus, utc_now

MAX_HOLD_SECONDS = 60.0


@dataclass(slots=True)
class _Hold:
    pauses: Iterator[float]
    failures: int = 0
    until: datetime | None = None
    why: str = ""

    def describe(self, node: str) -> str:
        assert self.until is not None
        starts = "a start" if self.failures == 1 else f"{self.failures} starts, one after the other,"
        at = self.until.astimezone().strftime("%H:%M:%S")
        return f"{starts} failed on {node}: {self.why}; the next is tried at {at}"


class Holds:
    """`on_over` is called when a node may be tried again."""

    def __init__(self, on_over: Callable[[], None]) -> None:
        self._on_over = on_over
        self._holds: dict[str, _Hold] = {}

    def failed(self, node: str, why: str) -> None:
        """A start has failed for which no job is to blame."""
        hold = self._holds.setdefault(node, _Hold(pauses(1.0, MAX_HOLD_SECONDS)))
        if hold.until is not None and hold.until > utc_now():
            return  # it was begun together with one that has failed already
        seconds = next(hold.pauses)
        hold.failures, hold.why, hold.until = hold.failures + 1, why, utc_now() + timedelta(seconds=seconds)
        asyncio.get_running_loop().call_later(seconds + 0.05, self._on_over)

    def worked(self, node: str) -> None:
        self._holds.pop(node, None)

    def applied(self, nodes: Sequence[Node]) -> list[Node]:
        """The nodes as the policy is to see them."""
        return [self._applied(node) for node in nodes]

    def _applied(self, node: Node) -> Node:
        hold = self._holds.get(node.name)
        if node.status is not NodeStatus.OK or hold is None or hold.until is None or hold.until <= utc_now():
            return node
        return replace(node, status=NodeStatus.DOWN, message=hold.describe(node.name))
