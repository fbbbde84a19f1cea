"""On a box that has joined, a launcher that hangs is replaced, as on the daemon's."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gpujobs.backends import TENSORFLOW
from gpujobs.cluster import launchers
from gpujobs.cluster.box import Box
from gpujobs.cluster.joiner import Joiner
from gpujobs.errors import LauncherError
from gpujobs.node import keepers, launcher_client
from gpujobs.node.agent import NodeAgent
from gpujobs.paths import StatePaths
from gpujobs.protocol.instructions import AskLauncher
from gpujobs.protocol.joining import TokenFile
from gpujobs.protocol.launcher import Versions
from tests.specs import node_settings


@pytest.fixture
def paths() -> Iterator[StatePaths]:
    found = StatePaths(Path(tempfile.mkdtemp(prefix="gj-")))
    found.run.mkdir()
    yield found
    shutil.rmtree(found.root)


async def pid_of(agent: NodeAgent, seconds: float = 120.0) -> int:
    answer = await agent.carry_out(AskLauncher(seconds))
    assert isinstance(answer, Versions)
    return answer.pid


async def replaced(agent: NodeAgent, pid: int) -> int:
    """Of the launcher that has taken this one's place."""
    while True:
        try:
            if (found := await pid_of(agent)) != pid:
                return found
        except LauncherError:
            await asyncio.sleep(0.05)


async def life(paths: StatePaths) -> None:
    token = TokenFile(format=1, address="127.0.0.1:1", secret="5e", instance="9a")
    box = Box(
        paths=paths, token=token, head="127.0.0.1", port=1, name="box2", node_id="3f", address="", cpu_slots=1
    )
    joiner = Joiner(box)
    joiner._keep_launchers()
    agent = NodeAgent(replace(node_settings(paths.root, state_id="3f"), instance="9a"))
    try:
        keepers.ask(paths.keeper_socket, TENSORFLOW)
        first = await pid_of(agent)
        while first not in joiner._launchers._ready:  # whoever keeps it has asked it too
            await asyncio.sleep(0.01)
        os.kill(first, signal.SIGSTOP)
        with pytest.raises(LauncherError, match=r"did not answer within 0\.5 s"):
            await pid_of(agent)
        await asyncio.wait_for(replaced(agent, first), 60)
    finally:
        joiner._socket.close()
        await joiner._launchers.close()


def test_a_launcher_that_hangs_is_replaced_there(paths: StatePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher_client, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(launchers, "PING_SECONDS", 0.5)
    asyncio.run(life(paths))
