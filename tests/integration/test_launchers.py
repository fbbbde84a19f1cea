"""The launcher of JAX comes when it is used, and goes when it is not."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpujobs.backends import JAX, missing
from gpujobs.cluster.launchers import Launchers
from gpujobs.node.launcher_client import ask
from gpujobs.paths import StatePaths
from gpujobs.protocol.launcher import PingLauncher, Versions


@pytest.fixture
def paths() -> Iterator[StatePaths]:
    if lack := missing(JAX, on_gpu=False):
        pytest.skip(lack)
    found = StatePaths(Path(tempfile.mkdtemp(prefix="gj-")))
    found.run.mkdir()
    yield found
    shutil.rmtree(found.root)


async def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def ping(socket: Path) -> Versions:
    return await ask(socket, PingLauncher(), 120.0, Versions)


async def life(paths: StatePaths) -> None:
    launchers, socket = Launchers(paths, idle_seconds=600), paths.launcher_socket(JAX)
    try:
        launchers.use(JAX)
        first = await ping(socket)
        launchers.use(JAX)
        assert (await ping(socket)).pid == first.pid  # it is kept while it is used
        launchers.idle_seconds = 0.1
        launchers.use(JAX)
        await until(lambda: not lives(first.pid))
        assert not socket.exists()
        launchers.idle_seconds = 600
        launchers.use(JAX)
        second = await ping(socket)
        assert second.pid != first.pid
        assert second.packages["jax"] == first.packages["jax"]
    finally:
        await launchers.close()
    assert not lives(second.pid)


def test_a_launcher_lives_while_it_is_used(paths: StatePaths) -> None:
    asyncio.run(life(paths))
