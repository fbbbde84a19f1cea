"""How jobs end: the state and the reason say what has happened."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from .harness import ENDLESS, RunningDaemon, eventually, is_alive


@pytest.fixture(scope="module")
def daemon(shared_daemon: RunningDaemon) -> RunningDaemon:
    return shared_daemon


def ending(job: dict[str, Any]) -> tuple[str, str]:
    return job["state"], job["reason"]


def kill_trainer(daemon: RunningDaemon, job: int, attempt: int, number: int) -> None:
    """Once it trains; it has no right to see to its own end."""

    def trainer() -> int | None:
        found = daemon.until_epoch(job, 1)
        pid: int = found["pid"]
        return pid if found["attempt"] == attempt else None

    os.kill(eventually(trainer, 60, lambda: daemon.story([job])), number)


def test_killed_by_a_signal_once_is_tried_again(daemon: RunningDaemon) -> None:
    job = daemon.submit_quick("once", epochs=100)
    kill_trainer(daemon, job, 1, signal.SIGSEGV)
    found = daemon.until(job, "COMPLETED")
    assert found["attempt"] == 2
    first, second = daemon.show(job)["attempts"]
    assert (first["reason"], first["exit"]) == ("Signal", {"code": None, "signal": signal.SIGSEGV})
    assert "SIGSEGV" in first["message"]
    assert second["exit"] == {"code": 0, "signal": None}
    assert (daemon.paths.result(job) / "log-1.txt").exists()


def test_killed_by_a_signal_twice_fails_and_names_it(daemon: RunningDaemon) -> None:
    job = daemon.submit_quick("twice", epochs=ENDLESS, more="retries: 1\n")
    kill_trainer(daemon, job, 1, signal.SIGSEGV)
    kill_trainer(daemon, job, 2, signal.SIGSEGV)
    found = daemon.until(job, "FAILED")
    assert ending(found) == ("FAILED", "Signal")
    assert "SIGSEGV" in found["message"]
    assert (found["attempt"], found["exit"]) == (2, {"code": None, "signal": signal.SIGSEGV})
    assert daemon.cli("wait", job).returncode == 1


def test_kill_of_the_supervisor_takes_the_attempt_not_the_job(daemon: RunningDaemon) -> None:
    job = daemon.submit_quick("unsupervised", epochs=100)
    trainer = daemon.until_epoch(job, 1)["pid"]
    os.kill(daemon.record(job)["supervisor"]["pid"], signal.SIGKILL)
    eventually(lambda: not is_alive(trainer), 10)  # never two live attempts
    assert daemon.until(job, "COMPLETED")["attempt"] == 2
    assert daemon.show(job)["attempts"][0]["reason"] == "SupervisorLost"


def test_out_of_memory(daemon: RunningDaemon) -> None:
    job = daemon.submit_quick("huge", units=1_000_000)  # its recurrent kernel alone has 16 TB
    found = daemon.until(job, "OUT_OF_MEMORY")
    assert ending(found) == ("OUT_OF_MEMORY", "HostOutOfMemory")
    assert found["attempt"] == 1  # another try would end the same


def test_bad_data_is_named(daemon: RunningDaemon) -> None:
    directory = daemon.root / "bad"
    directory.mkdir()
    (directory / "tutorial.npz").write_bytes(
        b"PK\3\4 no zip archive, though it begins and ends as one PK\5\6"
    )
    from .harness import write_job

    (job,) = daemon.submit(write_job(directory, "bad-data"))
    found = daemon.until(job, "FAILED")
    assert ending(found) == ("FAILED", "DataError")
    assert "tutorial.npz" in found["message"]


def test_time_limit(daemon: RunningDaemon) -> None:
    job = daemon.submit_quick("slow", epochs=ENDLESS, more="resources: {time_limit: 3s}\n")
    found = daemon.until(job, "TIMEOUT")
    assert ending(found) == ("TIMEOUT", "TimeLimit")
    assert "3 seconds" in found["message"]
    assert daemon.cli("wait", job).returncode == 1


def test_a_trainer_that_exits_by_itself(daemon: RunningDaemon) -> None:
    """SIGTERM from somebody else is not a request of ours: it is the end that a signal makes."""
    job = daemon.submit_quick("terminated", epochs=ENDLESS, more="retries: 0\n")
    kill_trainer(daemon, job, 1, signal.SIGTERM)
    found = daemon.until(job, "FAILED")
    assert ending(found) == ("FAILED", "Signal")
    assert "SIGTERM" in found["message"]


def test_cancel_of_a_running_and_of_a_pending_job(daemon: RunningDaemon) -> None:
    running = daemon.submit_quick("running", epochs=ENDLESS)
    pending = daemon.submit_quick("pending", "--hold")
    trainer = daemon.until_epoch(running, 1)["pid"]
    daemon.cli("cancel", running, pending, code=0)
    for job in (running, pending):
        assert ending(daemon.until(job, "CANCELLED")) == ("CANCELLED", "CancelledByUser")
    assert not is_alive(trainer)
    assert daemon.job(pending)["attempt"] == 0
    assert daemon.cli("cancel", running).returncode == 0  # changes nothing
    assert daemon.cli("wait", running, pending).returncode == 1
