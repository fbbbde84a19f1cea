"""The loop that asks the policy whenever something has changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from gpujobs.daemon.board import Board
from gpujobs.daemon.drains import Drains
from gpujobs.daemon.nodes import Nodes
from gpujobs.errors import StoreError
from gpujobs.model import DeviceKind, Job, Node, NodeStatus, Reason, utc_now
from gpujobs.policy import Decision, Snapshot, decide
from gpujobs.store.store import StaleTransitionError, Store

LOOK_AGAIN_SECONDS = 2.0
"""NVML tells nobody when a process leaves a GPU, so while a job waits for that, it is asked again: soon
after something has changed (the driver takes a moment to free what a trainer had), then less often."""

LOOK_AGAIN_FIRST_SECONDS = 0.1

LOOK_AGAIN_REASONS = frozenset(
    {Reason.FOREIGN_PROCESS, Reason.DRIVER_ERROR, Reason.DEVICE_UNAVAILABLE, Reason.RESOURCES}
)

log = logging.getLogger(__name__)


class Dispatcher:
    """Snapshot, decide, apply; then wait for the next change."""

    def __init__(
        self, store: Store, board: Board, nodes: Nodes, drains: Drains, launch: Callable[[Job], None]
    ) -> None:
        self._store = store
        self._board = board
        self._nodes = nodes
        self._drains = drains
        self._launch = launch
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._delay_seconds = LOOK_AGAIN_FIRST_SECONDS
        self.draining = False
        """While true nothing new is started."""

    def wake(self) -> None:
        """Something has changed that may let a job start."""
        self._delay_seconds = LOOK_AGAIN_FIRST_SECONDS
        self._changed.set()

    async def run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._dispatch()
            except StoreError as error:
                log.error("nothing can be started: %s", error)
                self._look_again_later()

    async def _dispatch(self) -> None:
        waiting = self._board.waiting()
        if not waiting:
            self._board.set_waits({})
            return
        anybody_may_start = any(not job.held and not job.waits_for for job in waiting)
        nodes = await self._nodes.probe() if anybody_may_start else self._nodes.known
        # Probing took time, and the board may have changed: the snapshot is made after it, and
        # nothing is awaited between the snapshot and the commit of the starts.
        decision = decide(
            Snapshot(utc_now(), self._board.waiting(), nodes, self._board.allocations(), self._drains.reasons)
        )
        self._board.set_waits(decision.waits)
        if not self.draining:
            self._apply(decision, nodes)
        if self._must_look_again(decision, nodes):
            self._look_again_later()

    def _apply(self, decision: Decision, nodes: Sequence[Node]) -> None:
        devices = {(node.name, device.uuid): device for node in nodes for device in node.devices}
        for start in decision.starts:
            try:
                job = self._store.start_attempt(start.job, devices[start.node, start.device_uuid])
            except StaleTransitionError as error:
                log.warning("not started: %s", error)
                continue
            self._board.put(job)
            self._launch(job)

    def _must_look_again(self, decision: Decision, nodes: Sequence[Node]) -> bool:
        """Only what NVML answers can change without an event; CPU slots cannot."""
        asks_nvml = any(
            node.status is NodeStatus.DRIVER_ERROR or any(d.kind is DeviceKind.GPU for d in node.devices)
            for node in nodes
        )
        return asks_nvml and any(wait.reason in LOOK_AGAIN_REASONS for wait in decision.waits.values())

    def _look_again_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._delay_seconds, self._changed.set)
        self._delay_seconds = min(self._delay_seconds * 2, LOOK_AGAIN_SECONDS)
