"""The directories of attempts on this node: making them, and finding out what became of one."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
from enum import StrEnum
from pathlib import Path
from typing import Any

from gpujobs.model import Reason, State, iso, utc_now
from gpujobs.paths import AttemptPaths, JobPaths
from gpujobs.trainer.cgroup import Cgroup
from gpujobs.trainer.process import boot_id, start_ticks, write_json


class AttemptStatus(StrEnum):
    RUNNING = "running"
    ENDED = "ended"
    LOST = "lost"
    NEVER_STARTED = "never_started"


def make(job: JobPaths, spec: dict[str, Any]) -> AttemptPaths:
    """Makes the directories of a job's attempt and writes spec.json. The parent is the daemon's own,
    so nobody can have put a link there."""
    attempt = job.attempt(spec["attempt"])
    job.root.mkdir(mode=0o711, parents=True, exist_ok=True)
    job.root.chmod(0o711)
    if not job.work.exists():
        job.work.mkdir(mode=0o700)
        if spec.get("identity"):
            os.chown(job.work, spec["identity"]["uid"], spec["identity"]["gid"])
    attempt.root.mkdir(mode=0o700)
    write_json(attempt.spec, spec, durable=True)
    return attempt


def status_of(attempt: AttemptPaths) -> AttemptStatus:
    """What became of an attempt. One that has not started is revoked by asking, for good."""
    if attempt.exit.exists():
        return AttemptStatus.ENDED
    if not attempt.root.exists() or _revoke(attempt):
        return AttemptStatus.NEVER_STARTED
    if _is_locked(attempt):
        return AttemptStatus.RUNNING
    return AttemptStatus.ENDED if attempt.exit.exists() else AttemptStatus.LOST


def _revoke(attempt: AttemptPaths) -> bool:
    """Takes the claim, so that no late supervisor can; True where it is, or was, revoked."""
    try:
        descriptor = os.open(attempt.claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return attempt.claim.read_text() == "revoked"
    os.write(descriptor, b"revoked")
    os.fsync(descriptor)
    os.close(descriptor)
    return True


def _is_locked(attempt: AttemptPaths) -> bool:
    """The supervisor locks before it claims, so a claim without the lock is a dead supervisor's."""
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(attempt.lock, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False


def read(path: Path) -> Any:
    """The JSON of a file that is replaced atomically; None where there is none yet."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None


def is_alive(process: dict[str, Any] | None, recorded_boot: str | None) -> bool:
    """Whether a recorded process still runs: the same pid, start and boot."""
    if process is None or recorded_boot != boot_id():
        return False
    try:
        return start_ticks(process["pid"]) == int(process["start_ticks"])
    except (OSError, IndexError):
        return False


def end_trainer(attempt: AttemptPaths) -> None:
    """Makes sure that a trainer whose supervisor is gone has ended, with all that it has started. The kernel
    has already sent it SIGKILL with its supervisor's death; it may not have come to it yet."""
    record = read(attempt.record) or {}
    if record.get("cgroup") and record.get("boot_id") == boot_id():
        group = Cgroup(Path(record["cgroup"]))
        group.kill()
        group.remove()
    trainer = record.get("trainer")
    if trainer is None or not is_alive(trainer, record.get("boot_id")):
        return
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(trainer["pid"])
        try:
            if is_alive(trainer, record.get("boot_id")):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)


def lost_record(attempt: AttemptPaths) -> dict[str, Any]:
    """The exit record of an attempt whose supervisor left none."""
    return {
        "state": State.FAILED,
        "reason": Reason.SUPERVISOR_LOST,
        "message": "the supervisor was killed, and its trainer with it",
        "exit": {"code": None, "signal": None},
        "ended_at": iso(utc_now()),
        "progress": read(attempt.progress),
    }
