"""A state directory that is removed while its box works: nothing is believed of it, what runs is ended, and the box
joins anew under its name."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpujobs.cluster.joiner import Joiner
from gpujobs.errors import MachineError
from gpujobs.linux import stateid
from gpujobs.node.agent import NodeAgent
from gpujobs.node.wiped import State, StateGoneError, end_all
from gpujobs.paths import StatePaths
from gpujobs.protocol import boxes, instructions
from gpujobs.protocol.records import AttemptKey
from gpujobs.protocol.telling import Instruction
from tests.specs import node_settings

from .test_joining import box, free_base

KEY = AttemptKey(7, 1, "3f")

WORKS = """
import os, subprocess, sys, time
os.chdir(sys.argv[1])
child = subprocess.Popen([sys.executable, "-c", "import os, time; os.chdir('/'); time.sleep(99)"])
print(child.pid, flush=True)
time.sleep(99)
"""


def made(root: Path) -> StatePaths:
    paths = StatePaths(root)
    for path in (paths.run, paths.spool / "jobs", paths.spool / "data"):
        path.mkdir(parents=True, exist_ok=True)
    stateid.state_id(paths.identity)
    return paths


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    return made(tmp_path / "s")


WIPES: list[Callable[[StatePaths], object]] = [
    lambda paths: shutil.rmtree(paths.root),
    lambda paths: shutil.rmtree(paths.spool),
    lambda paths: paths.spool.rename(paths.root / "elsewhere"),
    lambda paths: [shutil.rmtree(paths.root), made(paths.root)],
    lambda paths: paths.identity.unlink(),
]


@pytest.mark.parametrize("wipe", WIPES)
def test_an_agent_whose_state_was_removed_says_so_instead_of_what_it_does_not_find(
    paths: StatePaths, wipe: Callable[[StatePaths], object]
) -> None:
    settings = replace(node_settings(paths.root, name="box2", state_id="3f"), instance="9a")

    async def ask() -> None:
        agent = NodeAgent(settings)
        await agent.open()
        (report,) = (await agent.reconcile([KEY])).reports
        assert report.status is instructions.AttemptStatus.NEVER_STARTED
        wipe(paths)
        asked: list[Instruction[Any]] = [
            instructions.Reconcile((KEY,)),
            boxes.Renew("", None),
            boxes.ListKept(),
            instructions.Forget(7),
        ]
        for one in asked:
            with pytest.raises(StateGoneError, match=r"was removed, or replaced, while this box worked"):
                await agent.carry_out(one)
        with pytest.raises(MachineError):
            await agent.put(boxes.Put(boxes.Blob(1, "00", 1), None), b"")
        assert agent._state is not None
        agent._state.close()
        asyncio.get_running_loop().remove_reader(agent._following._socket)
        agent._following._socket.close()

    asyncio.run(ask())


@pytest.mark.parametrize("wipe", WIPES)
def test_it_is_noticed_at_once(paths: StatePaths, wipe: Callable[[StatePaths], object]) -> None:
    async def watch() -> StateGoneError:
        state = State(paths)
        going = asyncio.create_task(state.gone())
        await asyncio.sleep(0)
        (paths.spool / "jobs/8").mkdir()  # what is usual there is nothing to it
        (paths.run / "lease.json").write_text("{}")
        await asyncio.wait([going], timeout=0.1)
        assert not going.done()
        wipe(paths)
        try:
            return await asyncio.wait_for(going, 3)  # less than where it would be looked at now and then
        finally:
            state.close()

    assert "while this box worked" in str(asyncio.run(watch()))


@contextmanager
def working(directory: Path) -> Iterator[list[int]]:
    """Like a supervisor, with a child that has gone elsewhere."""
    with subprocess.Popen([sys.executable, "-c", WORKS, str(directory)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            yield [process.pid, child]
        finally:
            for pid in (process.pid, child):
                if is_alive(pid):
                    os.kill(pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_what_works_in_directories_that_are_gone_is_ended_and_nothing_else(
    paths: StatePaths, tmp_path: Path
) -> None:
    other = made(tmp_path / "s2")  # whose name begins alike
    for each in (paths, other):
        (each.spool / "jobs/7/work").mkdir(parents=True)
    with working(paths.spool / "jobs/7/work") as ours, working(other.spool / "jobs/7/work") as theirs:
        shutil.rmtree(paths.root)
        assert end_all(paths.root) == 2
        assert not any(map(is_alive, ours)) and all(map(is_alive, theirs))
    assert end_all(other.root) == 0


@pytest.mark.parametrize("moved", ["", "spool"])
def test_what_works_in_directories_that_were_moved_is_ended_too(paths: StatePaths, moved: str) -> None:
    """All of the state, or a part of it, within it. Who only looks at it is left alone."""
    (paths.spool / "jobs/7/work").mkdir(parents=True)
    state = State(paths)
    with working(paths.spool / "jobs/7/work") as ours, working(paths.run) as looking:
        source = paths.root / moved
        source.rename(paths.root / "elsewhere" if moved else paths.root.with_name("elsewhere"))
        with pytest.raises(StateGoneError):
            state.require()
        assert state.end_all() == 2
        assert not any(map(is_alive, ours)) and all(map(is_alive, looking))
    state.close()


def test_a_box_whose_state_was_removed_ends_what_runs_and_is_the_same_box_again(paths: StatePaths) -> None:
    """Its head is somebody who says nothing, so that it is still joining."""
    base, before = free_base(), stateid.state_id(paths.identity)
    (paths.spool / "jobs/7/work").mkdir(parents=True)

    async def run() -> None:
        with socket.create_server(("127.0.0.1", base)):
            joining = asyncio.create_task(Joiner(box(paths, base)).run())
            while not paths.keeper_socket.exists():
                await asyncio.sleep(0.01)
            shutil.rmtree(paths.root)
            await asyncio.wait_for(joining, 10)

    with working(paths.spool / "jobs/7/work") as pids, pytest.raises(StateGoneError):
        asyncio.run(run())
    assert not any(map(is_alive, pids))
    made(paths.root)
    stateid.keep(paths.identity, before)
    assert stateid.state_id(paths.identity) == before
