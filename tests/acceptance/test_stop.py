"""`gpujobs stop`: what runs goes on, is waited for, or is cancelled; as it is asked."""

from __future__ import annotations

import os
import signal

import pytest

from gpujobs.model import State
from gpujobs.store.store import Store

from .harness import ENDLESS, RunningDaemon, eventually, is_alive


@pytest.fixture
def serving(daemon: RunningDaemon) -> RunningDaemon:
    """One for all of these, since each may leave it stopped or started anew, but none with a job."""
    if not daemon.is_running():
        daemon.start()
    return daemon


def state_in_the_store(daemon: RunningDaemon, job: int) -> State:
    """Of a job that has ended, as all others have, read without a daemon."""
    store = Store(daemon.paths.database)
    try:
        assert store.unfinished() == []
        return store.job(job).state
    finally:
        store.close()


def test_a_second_daemon_for_the_same_state_is_refused(serving: RunningDaemon) -> None:
    refused = serving.cli("serve", "--personal", code=2)
    assert f"a daemon (pid {serving.pid}) already serves {serving.state}" in refused.stderr
    assert serving.cli("status").returncode == 0


def test_sigterm_ends_it_as_stop_does(serving: RunningDaemon) -> None:
    daemon = serving
    job = daemon.submit_quick("goes-on", epochs=ENDLESS)
    pid = daemon.until_epoch(job, 1)["pid"]
    os.kill(daemon.pid, signal.SIGTERM)
    assert daemon.wait_end() == 0
    assert is_alive(pid)
    eventually(lambda: set(daemon.processes()) == {pid, daemon.record(job)["supervisor"]["pid"]}, 10)
    daemon.start()
    assert daemon.job(job)["pid"] == pid
    daemon.cli("cancel", job, code=0)
    daemon.until(job, "CANCELLED")


def test_drain_waits_for_what_runs_and_starts_nothing(serving: RunningDaemon) -> None:
    daemon = serving
    running = [daemon.submit_quick(f"running-{n}", epochs=100) for n in range(2)]
    for job in running:
        daemon.until_epoch(job, 1)
    waiting = daemon.submit_quick("waiting")
    daemon.cli("stop", "--drain", code=0)
    assert daemon.wait_end() == 0
    daemon.start()
    assert [daemon.job(job)["state"] for job in running] == ["COMPLETED"] * 2
    daemon.until(waiting, "COMPLETED")


def test_a_running_job_goes_on_and_the_next_daemon_adopts_it(serving: RunningDaemon) -> None:
    daemon = serving
    job = daemon.submit_quick("goes-on", epochs=ENDLESS)
    pid = daemon.until_epoch(job, 1)["pid"]
    stopped = daemon.cli("stop", code=0)
    assert f"jobs {job} go on" in stopped.stdout
    assert daemon.wait_end() == 0
    assert daemon.cli("status").returncode == 3
    assert is_alive(pid)
    daemon.start()
    found = daemon.job(job)
    assert (found["state"], found["pid"], found["attempt"]) == ("RUNNING", pid, 1)
    assert daemon.cli("stop", "--cancel").returncode == 0
    assert daemon.wait_end() == 0
    assert not is_alive(pid)
    assert state_in_the_store(daemon, job) is State.CANCELLED
