"""What hangs, instead of ending, is replaced: a launcher, the head, the node agent. They are stopped by a signal."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gpujobs.backends import TENSORFLOW
from gpujobs.cluster import launchers as launchers_module
from gpujobs.cluster import link as link_module
from gpujobs.cluster.launchers import Launchers
from gpujobs.cluster.link import ClusterLink
from gpujobs.daemon.jobs.holds import Holds
from gpujobs.daemon.main import prepare_state
from gpujobs.daemon.modes import Mode
from gpujobs.errors import LauncherError, MachineError
from gpujobs.model import Node, NodeStatus
from gpujobs.node.launcher_client import ANSWER_SECONDS, ask
from gpujobs.paths import StatePaths
from gpujobs.protocol.events import NodeReported
from gpujobs.protocol.instructions import Probe
from gpujobs.protocol.launcher import PingLauncher, Versions
from tests.integration.node import until
from tests.specs import node_settings


@pytest.fixture
def paths() -> Iterator[StatePaths]:
    found = StatePaths(Path(tempfile.mkdtemp(prefix="gj-")) / "s")
    prepare_state(found, Mode.PERSONAL)
    yield found
    shutil.rmtree(found.root.parent)


def test_a_launcher_that_hangs_is_replaced_after_the_first_request_that_it_does_not_answer(
    paths: StatePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launchers_module, "PING_SECONDS", 0.5)
    socket = paths.launcher_socket(TENSORFLOW)

    async def life() -> None:
        launchers = Launchers(paths)
        try:
            launchers.use(TENSORFLOW)
            first = (await ask(socket, PingLauncher(), 120.0, Versions)).pid
            await until(lambda: launchers.answer_seconds(TENSORFLOW) == ANSWER_SECONDS)
            os.kill(first, signal.SIGSTOP)
            with pytest.raises(LauncherError, match=r"did not answer within 0.5 s"):
                await ask(socket, PingLauncher(), 0.5, Versions)
            launchers.suspect(TENSORFLOW)
            await until(lambda: not psutil.pid_exists(first), 60)
            # It listens before it imports, which need not be waited for.
            await until(lambda: launchers._processes[TENSORFLOW].pid != first and socket.exists(), 60)
        finally:
            await launchers.close()

    asyncio.run(life())


def test_a_launcher_that_cannot_import_its_backend_has_ended_and_says_why(
    paths: StatePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It does not hang: nobody kills it. Whoever has asked it is told what it said last."""
    for name in ("keras", "tensorflow"):
        (tmp_path / f"{name}.py").write_text("raise ModuleNotFoundError(\"No module named 'tensorflow'\")\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    paths.launcher_log(TENSORFLOW).write_text("OSError: of an earlier launcher\n")

    async def life() -> None:
        launchers = Launchers(paths)
        try:
            launchers.use(TENSORFLOW)
            with pytest.raises(
                LauncherError, match=r"ended .*: ModuleNotFoundError: No module named 'tensorflow'"
            ):
                await ask(paths.launcher_socket(TENSORFLOW), PingLauncher(), 120.0, Versions)
            await until(lambda: "ended (" in caplog.text)
        finally:
            await launchers.close()

    asyncio.run(life())
    assert "ended (exit status 1: ModuleNotFoundError: No module named 'tensorflow')" in caplog.text
    assert "hangs" not in caplog.text and "killed" not in caplog.text


@pytest.mark.parametrize("victim", [pytest.param("head", marks=pytest.mark.slow), "agent"])
def test_a_head_or_an_agent_that_hangs_is_replaced(
    paths: StatePaths, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    monkeypatch.setattr(link_module, "HEARTBEAT_SECONDS", 1.0)
    monkeypatch.setitem(link_module.CALL_SECONDS, Probe, 2.0)
    told: list[tuple[str, str]] = []

    def on_node(event: NodeReported) -> None:
        told.append((event.status, event.message))

    async def life() -> None:
        settings = node_settings(paths.root, cpu_slots=1, state_id="x")
        link = ClusterLink(paths, settings, on_node=on_node, on_attempt=lambda _: None)
        try:
            await link.start()
            await until(lambda: ("ok", "") in told, 120)
            assert (await link.call("n", Probe())).node.status == "ok"
            told.clear()
            os.kill(_pid(link, victim), signal.SIGSTOP)
            began = time.monotonic()
            with pytest.raises(MachineError, match=r"did not answer within 2 s|ended before it answered"):
                await link.call("n", Probe())
            assert time.monotonic() - began < 10
            await until(lambda: any("it did not answer for 2 s" in message for _, message in told), 30)
            await until(lambda: ("ok", "") in told, 120)
            assert (await link.call("n", Probe())).node.status == "ok"
        finally:
            await link.close()

    asyncio.run(life())


def _pid(link: ClusterLink, victim: str) -> int:
    assert link._head is not None
    if victim == "head":
        return link._head.pid
    (agent,) = [
        process.pid
        for process in psutil.Process(link._head.pid).children(recursive=True)
        if "AgentActor" in " ".join(process.cmdline())
    ]
    return agent


def test_starts_that_fail_one_after_the_other_are_held_ever_longer_and_say_why() -> None:
    async def life() -> None:
        over = 0

        def on_over() -> None:
            nonlocal over
            over += 1

        node = Node("n", NodeStatus.OK)
        holds = Holds(on_over)
        assert holds.applied([node]) == [node]
        holds.failed("n", "no room")
        (held,) = holds.applied([node])
        assert held.status is NodeStatus.DOWN
        assert held.message.startswith("a start failed on n: no room; the next is tried at ")
        await until(lambda: over == 1)
        assert holds.applied([node]) == [node]
        holds.failed("n", "no room")
        holds.failed("n", "no room either")  # both were begun before the first had failed
        (held,) = holds.applied([node])
        assert held.message.startswith("2 starts, one after the other, failed on n: no room; ")
        holds.worked("n")
        assert holds.applied([node]) == [node]

    asyncio.run(life())
