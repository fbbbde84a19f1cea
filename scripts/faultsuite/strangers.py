"""What is of somebody else, or of another time, in the place of something of ours."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing

from .box import Box, Failure, kill, until
from .case import Case, long_job, pause

OTHER = "f" * 32
"""The random id of an attempt that is not ours."""


def cases() -> Iterator[Case]:
    group = "strangers"
    yield Case(group, "results in the place of a job's", results)
    yield Case(group, "an attempt that has ended in the place of a job's", spool)
    yield Case(group, "a process with the pid of a trainer", pid_of_trainer)
    yield Case(group, "a process with the pid of a supervisor, at a cancel", pid_of_supervisor)
    yield Case(group, "a supervisor that begins late", late_supervisor)
    yield Case(group, "a start that nobody acknowledges", unacknowledged)


def next_number(box: Box) -> int:
    with closing(sqlite3.connect(f"file:{box.database}?mode=ro", uri=True)) as store:
        row = store.execute("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'").fetchone()
    return (row[0] if row else 0) + 1


def results(box: Box) -> None:
    """They are of an attempt 1 that the store does not know, as after a copy of it that was put back: the job's own
    is another one."""
    number = next_number(box)
    box.has_attempts[number] = 1
    directory = box.state / "results" / str(number)
    directory.mkdir(parents=True)
    (directory / ".attempt").write_text(OTHER)
    (directory / "predictions.npz").write_bytes(b"somebody else's")
    box.must_submit()


def spool(box: Box) -> None:
    number = next_number(box)
    box.has_attempts[number] = 1
    job = box.state / "spool" / "jobs" / str(number)
    attempt, found = job / "attempt-1", job / "work" / "results"
    attempt.mkdir(parents=True)
    found.mkdir(parents=True)
    (found / "metrics.json").write_text("{}")
    (attempt / "claim").write_text("supervisor")
    (attempt / "log.txt").write_text("")
    spec = {"job": number, "attempt": 1, "nonce": OTHER, "state_id": OTHER, "job_dir": str(job)}
    (attempt / "spec.json").write_text(json.dumps(spec))
    ended = {
        "job": number,
        "attempt": 1,
        "nonce": OTHER,
        "state_id": OTHER,
        "state": "COMPLETED",
        "reason": "",
    }
    ended |= {
        "message": "",
        "exit": {"code": 0, "signal": None},
        "ended_at": "2026-01-01T00:00:00Z",
        "progress": None,
    }
    (attempt / "exit.json").write_text(json.dumps(ended))
    box.must_submit()


def _with_pid_of(box: Box, role: str, process: subprocess.Popen[bytes]) -> int:
    """A job whose record, after a power failure, names a process that has begun since."""
    job = long_job(box, seconds=2)
    record = box.state / "spool" / "jobs" / str(job) / "attempt-1" / "record.json"
    until(record.exists, 10)
    box.cut_power()
    found = json.loads(record.read_text())
    found[role]["pid"] = process.pid
    record.write_text(json.dumps(found))
    return job


def _bystander() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "600"], start_new_session=True)


def _must_live(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        raise Failure("wrong", f"a process that is none of ours was signalled ({process.returncode})")


def pid_of_trainer(box: Box) -> None:
    process = _bystander()
    try:
        _with_pid_of(box, "trainer", process)
        box.start()
        box.settle()
        _must_live(process)
    finally:
        process.kill()
        process.wait()


def pid_of_supervisor(box: Box) -> None:
    process = _bystander()
    try:
        job = _with_pid_of(box, "supervisor", process)
        (box.state / "spool" / "jobs" / str(job) / "attempt-1" / "supervisor.lock").unlink()
        box.start()
        box.acknowledged[job]["expect"] = ("CANCELLED", "COMPLETED")
        box.cli("cancel", job)
        box.settle()
        _must_live(process)
    finally:
        process.kill()
        process.wait()


def late_supervisor(box: Box) -> None:
    """The process that is to fork it is stopped; the daemon that has asked for it dies; the next one asks what has
    become of the attempt, and begins another."""
    box.arm("launcher.fork=stop:60*1")  # until it is continued here, while the other attempt runs
    job = box.must_submit("long", 900)
    until(lambda: box.reached("launcher.fork"), 20)
    stopped = box.find(".launcher --socket")
    box.kill_daemon()
    box.start()
    until(lambda: box.jobs()[job]["attempt"] == 2, 30, "the attempt that has not begun is given up")
    kill(stopped, signal.SIGCONT)
    pause(3.0)


def unacknowledged(box: Box) -> None:
    """The launcher is stopped, so that nobody says that the job has begun, and the head dies that waits for it."""
    launcher = box.find(".launcher --socket")
    kill(launcher, signal.SIGSTOP)
    job = box.must_submit("plain", 40)
    until(lambda: (box.state / "spool" / "jobs" / str(job) / "attempt-1" / "spec.json").exists(), 20)
    pause(0.5)
    kill(box.find("cluster.head"))
    kill(launcher, signal.SIGCONT)
    box.ready()


__all__ = ["cases"]
