"""Heads that do not end, and what a killed one leaves."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gpujobs.cluster import environment, link
from gpujobs.cluster.environment import make_temp_parent, object_store_directory, remove_temp_parent
from gpujobs.cluster.link import ClusterLink
from gpujobs.cluster.orphans import end_ray_of, end_session
from gpujobs.cluster.restart import Ended
from gpujobs.daemon.main import prepare_state
from gpujobs.daemon.modes import Mode
from gpujobs.paths import StatePaths
from gpujobs.protocol.events import NodeReported
from tests.specs import node_settings

HEAD = """
import sys, time
from pathlib import Path
from gpujobs.cluster.orphans import become_only_head
become_only_head(Path(sys.argv[1]), float(sys.argv[2]))
print("only", flush=True)
time.sleep(float(sys.argv[3]))
"""


def head(lock: Path, seconds: float, life_seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HEAD, str(lock), str(seconds), str(life_seconds)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_head_waits_for_the_one_before_it(tmp_path: Path) -> None:
    with head(tmp_path / "lock", 60, 1.0) as first:
        assert first.stdout is not None and first.stdout.readline() == "only\n"
        with head(tmp_path / "lock", 60, 0) as second:
            assert second.wait(30) == 0
            assert first.poll() == 0


def test_a_head_that_does_not_end_is_killed(tmp_path: Path) -> None:
    with head(tmp_path / "lock", 60, 1000) as first:
        assert first.stdout is not None and first.stdout.readline() == "only\n"
        began = time.monotonic()
        with head(tmp_path / "lock", 0.2, 0) as second:
            assert second.wait(30) == 0
        assert first.wait(5) == -9
        assert time.monotonic() - began > 0.2


def test_the_processes_of_a_killed_head_are_ended() -> None:
    command = "sleep 1000 & echo $!; wait"
    with subprocess.Popen(
        ["sh", "-c", command], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as leader:
        assert leader.stdout is not None
        child = int(leader.stdout.readline())
        leader.kill()
        leader.wait()
        assert Path(f"/proc/{child}").exists()
        end_session(leader.pid)
        assert leader.stdout.read() == ""  # the pipe's last writer has ended


STRANGER = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
file.write(sys.argv[2])
file.flush()
print("locked", flush=True)
time.sleep(1000)
"""


@contextmanager
def stranger(lock: Path, says: str) -> Iterator[subprocess.Popen[str]]:
    """Holds the lock, and is no head of ours; `says` is what it writes into it."""
    command = [sys.executable, "-c", STRANGER, str(lock), says]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "locked\n"
        try:
            yield process
            assert process.poll() is None, "it is not ours to kill"
        finally:
            process.kill()


@pytest.mark.parametrize(
    "says", ["", "garbage", "1", str(os.getpid())], ids=["nothing", "garbage", "init", "a live process"]
)
def test_a_lock_that_a_stranger_holds_is_named_by_the_node_and_nobody_is_killed(
    tmp_path: Path, says: str
) -> None:
    """Whatever pid stands in the file: the kernel says who holds the lock."""
    paths = StatePaths(tmp_path / "s")
    prepare_state(paths, Mode.PERSONAL)
    said: list[str] = []

    async def run() -> None:
        told = asyncio.Event()

        def on_node(node: NodeReported) -> None:
            said.append(node.message)
            if node.status == "down":
                told.set()

        cluster = ClusterLink(paths, node_settings(paths.root), on_node=on_node, on_attempt=lambda _: None)
        ended = await asyncio.wait_for(cluster._run_head(), 60)
        cluster._head_ended(ended.message, 1.0)
        await told.wait()

    with stranger(paths.head_lock, says) as process:
        asyncio.run(run())
        assert f"head.lock is locked by process {process.pid} (python" in said[-1]
        assert "which is no head of gpujobs; end it" in said[-1] and "head.log says more" in said[-1]


def test_a_ray_that_hangs_is_ended_and_its_last_words_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = StatePaths(tmp_path / "s")
    prepare_state(paths, Mode.PERSONAL)
    hangs = "import sys, time; print('still waiting for X', file=sys.stderr, flush=True); time.sleep(1000)"
    monkeypatch.setattr(link, "PYTHON", (sys.executable, "-c", hangs))
    monkeypatch.setattr(link, "START_SECONDS", 2.0)

    async def run() -> Ended:
        cluster = ClusterLink(
            paths, node_settings(paths.root), on_node=lambda _: None, on_attempt=lambda _: None
        )
        return await asyncio.wait_for(cluster._run_head(), 60)

    assert asyncio.run(run()).message.startswith("Ray has not started within 2 s: still waiting for X")


@pytest.mark.parametrize(
    ("does", "message", "has_served"),
    [
        ("sys.exit(3)", "exit status 3", False),
        ("print('no room', file=sys.stderr); sys.exit(3)", "no room", False),
        (
            "print('box2 is lost', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)",
            "exit status -9",
            False,
        ),
        (
            """os.write(int(sys.argv[-1]), b'{"event": "node", "name": "n", "status": "ok", "message": ""}\\n')""",
            "exit status 0",
            True,
        ),
    ],
    ids=["silent", "talkative", "killed", "served"],
)
def test_a_heads_end_is_told_in_its_own_words_and_not_in_those_of_an_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, message: str, has_served: bool
) -> None:
    paths = StatePaths(tmp_path / "s")
    prepare_state(paths, Mode.PERSONAL)
    (paths.run / "head.log").write_text("what an earlier one said\n")
    monkeypatch.setattr(link, "PYTHON", (sys.executable, "-S", "-c", f"import os, sys; {does}"))

    async def run() -> Ended:
        cluster = ClusterLink(
            paths, node_settings(paths.root), on_node=lambda _: None, on_attempt=lambda _: None
        )
        return await asyncio.wait_for(cluster._run_head(), 60)

    assert asyncio.run(run()) == (f"{message} ({paths.run / 'head.log'} says more)", has_served)


@pytest.mark.parametrize("name", ["ü", "a b", "状态", "x" * 60, "a'b"])
def test_a_path_that_ray_cannot_take_is_got_round_and_nothing_is_left_of_it(
    tmp_path: Path, name: str
) -> None:
    paths = StatePaths(tmp_path / name)
    paths.run.mkdir(parents=True)
    first = make_temp_parent(paths)
    assert first.parent == Path("/tmp") and first.stat().st_mode & 0o777 == 0o700
    (first / "s/session").mkdir(parents=True)
    second = make_temp_parent(paths)  # as after a kill of the first one's head
    assert second != first and not first.exists()
    remove_temp_parent(paths)
    assert not second.exists() and not paths.ray_temp.exists()


def test_only_a_directory_of_our_own_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "TEMP", tmp_path)
    paths = StatePaths(tmp_path / "s")
    paths.run.mkdir(parents=True)
    for name in ("gpujobs-ray-x", "precious"):
        (tmp_path / name).mkdir()
    (tmp_path / "gpujobs-ray-link").symlink_to(tmp_path / "precious")
    for noted in ("precious", "gpujobs-ray-link", "gpujobs-ray-x/..", "gpujobs-ray-gone", "\0"):
        paths.ray_temp.write_text(str(tmp_path / noted))
        remove_temp_parent(paths)
    assert (tmp_path / "precious").exists() and (tmp_path / "gpujobs-ray-x").exists()


def test_shared_memory_that_cannot_be_used_is_got_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "SHARED_MEMORY", tmp_path)
    assert object_store_directory(1, tmp_path / "disk") is None
    assert object_store_directory(1 << 60, tmp_path / "disk") == tmp_path / "disk"
    for missing in (tmp_path / "missing", Path("/proc")):
        monkeypatch.setattr(environment, "SHARED_MEMORY", missing)
        assert object_store_directory(1, tmp_path / "disk") == tmp_path / "disk"


def test_a_ray_whose_starter_was_killed_is_ended_and_that_of_another_state_directory_is_not(
    tmp_path: Path,
) -> None:
    """`node join` and the head find their ports free, though nobody has ended what had them."""
    ours, other = (
        subprocess.Popen(["sleep", "60"], env={"RAY_AUTH_TOKEN_PATH": str(tmp_path / name)})
        for name in ("ray-token", "ray-token-2")
    )
    try:
        end_ray_of(tmp_path / "ray-token")
        assert ours.wait(5) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        for one in (ours, other):
            one.kill()
            one.wait()
