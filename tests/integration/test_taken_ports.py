"""Ports of Ray that somebody else has are named before Ray is started, with who has them: on the head and on a node."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from gpujobs.cluster import taken
from gpujobs.cluster.obstacles import trial
from gpujobs.cluster.ports import Ports
from gpujobs.cluster.starting_ray import start_cluster
from gpujobs.errors import MachineError
from gpujobs.linux import statelock
from gpujobs.paths import StatePaths
from gpujobs.protocol.settings import Listening

from .test_joining import box, free_base

TAKER = """
import socket, sys, time
if sys.argv[2:]:
    open("/proc/self/comm", "w").write(sys.argv[2])
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print(1, flush=True)
time.sleep(99)
"""


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taken, "LINGER_SECONDS", 0.2)


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    made = StatePaths(tmp_path / "s")
    made.run.mkdir(parents=True)
    made.spool.mkdir()
    return made


@contextmanager
def somebody_at(port: int, *name: str) -> Iterator[int]:
    """Another process, which listens at loopback alone: Ray would listen at every address."""
    with subprocess.Popen([sys.executable, "-c", TAKER, str(port), *name], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline()
            yield process.pid
        finally:
            process.kill()


@pytest.mark.parametrize("name", sorted(taken.PURPOSES))
def test_a_head_names_the_port_its_purpose_and_who_has_it(
    paths: StatePaths, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whichever of Ray's it is: nothing of Ray is started."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    ports = Ports(free_base())
    with somebody_at(ports[name]) as pid, pytest.raises(MachineError) as caught:
        start_cluster(paths, paths.ray, 0, Listening("127.0.0.1", ports.base, tls=False))
    said = str(caught.value)
    wanted = f"port {ports[name]} of this box, for {taken.PURPOSES[name]}, is taken by process {pid} (python"
    assert said.startswith(wanted) and "name another port as `listen` under [cluster], and restart" in said
    assert not (paths.run / "ray.log").exists()


def test_all_that_are_taken_are_named_at_once(paths: StatePaths) -> None:
    ports = Ports(free_base())
    with ExitStack() as stack:
        for name in ("raylet", "metrics"):
            stack.enter_context(closing(socket.create_server(("0.0.0.0", ports[name]))))
        with pytest.raises(MachineError) as caught:
            asyncio.run(taken.require_free(ports, taken.ON_A_NODE, "end it"))
    found = re.findall(r"port (\d+) of this box, for Ray's \w+, is taken by process", str(caught.value))
    assert [int(port) for port in found] == [ports["raylet"], ports["metrics"]]


def test_a_port_that_is_free_in_a_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of a Ray that was killed just now."""
    monkeypatch.setattr(taken, "LINGER_SECONDS", 20.0)
    ports = Ports(free_base())
    lingering = socket.create_server(("0.0.0.0", ports["raylet"]))

    async def wait() -> None:
        asyncio.get_running_loop().call_later(0.3, lingering.close)
        await taken.require_free(ports, taken.ON_A_NODE, "end it")

    asyncio.run(wait())


def test_a_look_whether_a_box_can_join_does_not_take_a_stranger_for_its_own_ray(paths: StatePaths) -> None:
    """Where `node join` does not run, what listens at the port of its raylet is somebody else's."""
    base = free_base()
    with somebody_at(Ports(base)["raylet"]) as pid:
        with pytest.raises(MachineError, match=rf"for Ray's raylet, is taken by process {pid} \("):
            asyncio.run(trial(box(paths, base)))
        lock = statelock.take(paths.lock)
        try:
            with pytest.raises(MachineError, match="cannot be reached from here: Connection refused"):
                asyncio.run(trial(box(paths, base)))
        finally:
            os.close(lock)


def test_a_port_that_nobody_may_use_says_so() -> None:
    assert "cannot be used: Permission denied" in taken._words(80, "Ray's GCS", PermissionError(13, "x"))
    assert taken.holder(1).startswith("a process that cannot be seen from here (as root, `ss -ltnp ")


def test_what_a_user_calls_a_process_steers_no_terminal() -> None:
    port = free_base()
    with somebody_at(port, "\x1b[2J ok") as pid:
        said = taken.holder(port)
    assert said.startswith(f"process {pid} (?[2J ok, of ") and said.isprintable()
