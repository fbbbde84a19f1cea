"""Kill anything, at once and without warning: no job is lost, and none runs twice."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from functools import partial

import pytest

from .conftest import running
from .harness import ENDLESS, RunningDaemon, eventually, is_alive, kill_all, processes_of


def epochs_in(log: str) -> list[int]:
    return [int(number) for number in re.findall(r"^Epoch (\d+)/", log, re.MULTILINE)]


def assert_ran_once(daemon: RunningDaemon, job: int, epochs: int) -> None:
    """One attempt in the history, and one training in the trainer's own log."""
    shown = daemon.show(job)
    assert (shown["job"]["state"], shown["job"]["attempt"]) == ("COMPLETED", 1), daemon.story([job])
    steps = [event["to"] for event in shown["events"] if event["to"]]
    assert steps == ["PENDING", "STARTING", "RUNNING", "COMPLETING", "COMPLETED"], daemon.story([job])
    log = daemon.job_log(job)
    assert log.count("TensorFlow ") == 1, log
    assert epochs_in(log) == list(range(1, epochs + 1)), log


@pytest.fixture(scope="module")
def mortal() -> Iterator[RunningDaemon]:
    """One for all of these: each leaves it running, without a job."""
    with running(slots=1) as daemon:
        yield daemon


def restart_with(daemon: RunningDaemon, slots: int) -> None:
    if daemon.slots != slots:
        daemon.slots = slots
        daemon.restart()


def test_kill_of_the_daemon_with_one_job_running_and_five_waiting(mortal: RunningDaemon) -> None:
    daemon = mortal
    restart_with(daemon, slots=1)
    first = daemon.submit_quick("long", epochs=100)
    pid = daemon.until_epoch(first, 1)["pid"]
    os.kill(pid, signal.SIGSTOP)  # so that it cannot end before the daemon is back
    waiting = [daemon.submit_quick(f"waiting-{n}") for n in range(5)]
    daemon.kill9()
    assert is_alive(pid)
    daemon.start()
    adopted = daemon.job(first)
    assert (adopted["state"], adopted["pid"], adopted["attempt"]) == ("RUNNING", pid, 1)
    assert [daemon.job(job)["state"] for job in waiting] == ["PENDING"] * 5
    os.kill(pid, signal.SIGCONT)
    assert daemon.cli("wait", first, *waiting).returncode == 0
    assert_ran_once(daemon, first, 100)
    for job in waiting:
        assert_ran_once(daemon, job, 2)


def test_a_job_that_ends_while_no_daemon_runs_is_collected_by_the_next(mortal: RunningDaemon) -> None:
    daemon = mortal
    job = daemon.submit_quick("orphan", epochs=100)
    pid = daemon.until_epoch(job, 1)["pid"]
    daemon.kill9()
    eventually(lambda: not is_alive(pid), 60)
    eventually(daemon.paths.job(job).attempt(1).exit.exists, 10)
    daemon.start()
    daemon.until(job, "COMPLETED")
    assert_ran_once(daemon, job, 100)


def test_kill_of_everything_at_once(mortal: RunningDaemon) -> None:
    """As when the power fails: what ran is tried again, without using up its retries for nothing."""
    daemon = mortal
    job = daemon.submit_quick("victim", epochs=ENDLESS)
    daemon.until_epoch(job, 1)
    daemon.kill9()
    kill_all(processes_of(daemon.state))
    eventually(lambda: not processes_of(daemon.state), 20)
    daemon.slots = 2  # as the next test wants it
    daemon.start()
    found = daemon.until_epoch(job, 1)
    assert found["attempt"] == 2
    daemon.cli("cancel", job, code=0)
    daemon.until(job, "CANCELLED")


def are_gone(pids: list[int]) -> bool:
    return not any(map(is_alive, pids))


def test_kill_of_everything_but_the_supervisor_while_a_job_runs(mortal: RunningDaemon) -> None:
    """Ray's head, its raylet and the launcher: the job completes, and later ones start."""
    daemon = mortal
    restart_with(daemon, slots=2)
    for name in ("gpujobs.cluster.head", "raylet/raylet", "gpujobs.supervise.launcher"):
        job = daemon.submit_quick("survivor", epochs=ENDLESS)
        pid = daemon.until_epoch(job, 1)["pid"]
        victims = [found for found, command in processes_of(daemon.state).items() if name in command]
        assert victims, (name, daemon.processes())
        kill_all(victims)
        eventually(partial(are_gone, victims), 20)
        later = daemon.submit_quick("later")
        daemon.until(later, "COMPLETED", seconds=90)
        found = daemon.job(job)
        assert (found["state"], found["pid"], found["attempt"]) == ("RUNNING", pid, 1), name
        daemon.cli("cancel", job, code=0)
        daemon.until(job, "CANCELLED")
