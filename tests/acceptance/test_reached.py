"""A daemon is reached, and a submission has its numbers, whatever becomes of the socket and of the daemon."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpujobs.store.store import Store

from .conftest import running
from .harness import RunningDaemon, eventually, write_job


def test_a_socket_that_was_removed_is_made_again(daemon: RunningDaemon) -> None:
    daemon.socket.unlink()
    assert daemon.cli("status", code=0)
    daemon.socket.rename(daemon.root / "elsewhere")
    assert daemon.json("status") == []


def test_a_second_daemon_does_not_take_the_socket(daemon: RunningDaemon) -> None:
    other = str(daemon.root / "other")
    done = daemon.cli("serve", "--personal", "--state-dir", other, "--socket", daemon.socket, code=2)
    assert f"a daemon (pid {daemon.pid}) answers at {daemon.socket} already" in done.stderr
    assert daemon.json("status") == []


def test_a_daemon_that_hangs_is_named_by_its_lock(daemon: RunningDaemon) -> None:
    """Its socket is gone, and it makes no other."""
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        daemon.socket.unlink()
        done = daemon.cli("status", code=3)
        assert f"a daemon (pid {daemon.pid}) holds {daemon.state}, but does not answer" in done.stderr
        checks = daemon.cli("doctor", code=4).stdout
        assert f"FAIL  daemon: a daemon (pid {daemon.pid})" in checks
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    eventually(lambda: daemon.cli("status").returncode == 0)


@pytest.fixture
def mortal() -> Iterator[RunningDaemon]:
    """The first submission kills it."""
    with running(environment={"GPUJOBS_FAILPOINTS": "submit.answer=kill"}) as daemon:
        yield daemon


def test_a_submission_whose_daemon_dies_after_the_commit_gets_its_numbers(mortal: RunningDaemon) -> None:
    daemon = mortal
    files = [write_job(daemon.root, f"j{number}") for number in range(3)]
    with daemon.popen("submit", "--hold", *files) as asking:
        daemon.wait_end()
        del daemon.environment["GPUJOBS_FAILPOINTS"]
        daemon.start()
        said, errors = asking.communicate(timeout=60)
    assert said.split("\n")[:3] == ["1 j0 queued", "2 j1 queued", "3 j2 queued"], errors
    assert "the daemon has closed the connection" in errors and asking.returncode == 0
    assert len(daemon.json("status", "--all")) == 3
    backed_up_and_restored(daemon)


def backed_up_and_restored(daemon: RunningDaemon) -> None:
    """With three held jobs in the store: a copy of it, of before another one, is put back."""
    copy = daemon.root / "copy"
    daemon.cli("backup", copy, code=0)
    later = daemon.submit_quick("later")
    daemon.until(later, "COMPLETED")
    assert "already serves" in daemon.cli("restore", copy, "--yes", code=2).stderr
    daemon.cli("stop", code=0)
    daemon.wait_end()
    done = daemon.cli("restore", copy, "--yes", code=0)
    assert f"does not list, of jobs {later}" in done.stdout
    daemon.start()
    assert [job["id"] for job in daemon.json("status", "--all")] == [1, 2, 3]
    assert daemon.submit_quick("next") == later + 1
    daemon.until(later + 1, "COMPLETED")
    assert (daemon.paths.result(later) / "model.keras").exists()


def test_a_store_that_is_damaged_is_refused_in_words(tmp_path: Path) -> None:
    state = tmp_path / "s"
    state.mkdir(mode=0o700)
    Store(state / "gpujobs.db").close()
    (state / "gpujobs.db").write_bytes(b"x" * 8192)
    daemon = RunningDaemon(tmp_path, state=state)
    done = daemon.cli("serve", "--personal", code=4)
    assert (
        "is damaged" in done.stderr
        and "gpujobs restore DIR" in done.stderr
        and "Traceback" not in done.stderr
    )
    shutil.rmtree(state)
