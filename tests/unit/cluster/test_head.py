"""What the head does with boxes that join. No Ray runs: what is placed is a stand-in for Ray's handle of an actor."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gpujobs.cluster import actor
from gpujobs.cluster.head import Head
from gpujobs.cluster.versions import own_versions
from gpujobs.paths import StatePaths
from gpujobs.protocol.joining import FORMAT, Hello, Ready
from gpujobs.protocol.settings import HeadSettings, Listening
from tests.specs import node_settings


def test_a_box_with_two_lines_at_once_gets_one_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a cut: the older line is not known to be dead yet when the box has joined again."""
    ours, theirs = socket.socketpair()
    placed: list[str] = []

    async def start_agent(settings: Any, incarnation: str, gpus: int) -> Any:
        placed.append(incarnation)
        await asyncio.sleep(0)
        return SimpleNamespace(next_events=SimpleNamespace(remote=lambda _: asyncio.Event().wait()))

    monkeypatch.setattr(actor, "start_agent", start_agent)
    hello = Hello(
        format=FORMAT, name="box2", node_id="77", instance="9a", uid=0, versions=own_versions(),
        clock=time.time(), address="", ports=(),
    )  # fmt: skip
    ready = Ready(incarnation="1", state_dir="/s", cpu_slots=1, gpus=0)

    async def run() -> tuple[asyncio.Event, asyncio.Event]:
        listening = Listening("127.0.0.1", 8480, False)
        head = Head(HeadSettings(node_settings(tmp_path), listening, None), StatePaths(tmp_path), 0)
        _, head._writer = await asyncio.open_connection(sock=ours)
        one, other = await asyncio.gather(head._take_in(hello, ready), head._take_in(hello, ready))
        for task in list(head._tasks):
            task.cancel()
        await asyncio.gather(*head._tasks, return_exceptions=True)
        head._writer.close()
        await head._writer.wait_closed()
        return one, other

    with theirs:
        one, other = asyncio.run(run())
    assert placed == ["1"] and one is other
