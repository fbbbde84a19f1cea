"""The directories of attempts on this node: making them, and finding out what became of one.

Whatever is in them may be damaged after a power cut: a file that cannot be read is kept aside under another name
(`record.json.damaged`), counts as absent, and is told of in the report. What carries the random id of another
attempt, or of another state directory, is neither believed nor signalled.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from gpujobs.failpoints import reach
from gpujobs.linux import durable, lease
from gpujobs.linux.cgroup import Cgroup
from gpujobs.linux.durable import DamagedError
from gpujobs.linux.process import boot_id, start_ticks
from gpujobs.model import Reason
from gpujobs.paths import AttemptPaths, JobPaths
from gpujobs.protocol import codec, records, spec
from gpujobs.protocol.codec import ShapeError
from gpujobs.protocol.instructions import AttemptStatus
from gpujobs.protocol.records import AttemptKey, ExitRecord, LockNote, ProcessId, Progress, SupervisorRecord
from gpujobs.protocol.spec import AttemptSpec, Identity, SpecHead

T = TypeVar("T")
W = TypeVar("W", ExitRecord, SupervisorRecord)

Json = Mapping[str, Any]


class OccupiedError(Exception):
    """A directory is in use by an attempt that is not known."""


@dataclass(slots=True)
class Attempt:
    """One attempt as it is asked about: where it is, its own random id, and that of the state directory."""

    paths: AttemptPaths
    nonce: str = ""
    state_id: str = ""
    damages: list[str] = field(default_factory=list)
    """What was found damaged, in words."""

    @property
    def key(self) -> AttemptKey:
        return AttemptKey(*self.paths.key, self.nonce)

    def read(self, path: Path, parse: Callable[[Json], T]) -> T | None:
        """What a supervisor has written there; None where there is nothing, or nothing that can be believed."""
        try:
            value = durable.read_json(path)
            return None if value is None else parse(value)
        except (DamagedError, ShapeError) as damage:
            why = damage.why if isinstance(damage, DamagedError) else f"makes no sense: {damage}"
            self.keep_aside(path, why)
            return None

    def keep_aside(self, path: Path, why: str, ending: str = "damaged") -> None:
        kept = "it cannot be kept aside"
        with contextlib.suppress(OSError):
            kept = f"it is kept as {durable.set_aside(path, ending).name}"
        self.damages.append(f"{path.name} {why}; {kept}")

    @property
    def exit(self) -> ExitRecord | None:
        return self._own(self.read(self.paths.exit, records.exit_of))

    @property
    def progress(self) -> Progress | None:
        return self.read(self.paths.progress, records.progress_of)

    @property
    def spec(self) -> SpecHead | None:
        """Of whichever attempt has this number."""
        return self.read(self.paths.spec, spec.head_of)

    @property
    def record(self) -> SupervisorRecord | None:
        """Of record.json, or else what the supervisor has noted in its lock."""
        record = self.read(self.paths.record, records.record_of)
        if record is None:
            with contextlib.suppress(DamagedError, ShapeError):
                noted = durable.read_json(self.paths.lock)
                record = None if noted is None else records.record_of(noted)
        return self._own(record)

    def _own(self, value: W | None) -> W | None:
        """A number may be given again; its random id is not."""
        return value if value is None or value.nonce == self.nonce else None

    @property
    def is_locked(self) -> bool:
        return durable.is_locked(self.paths.lock)

    def is_ours(self, record: SupervisorRecord) -> bool:
        """Whether its processes may be signalled. They are another daemon's where this directory is a copy: then
        nobody holds the lock in it, and the id is the original's."""
        return self.is_locked or record.state_id == self.state_id


# Making


def make(job: JobPaths, spec: AttemptSpec, asked_at: float | None = None) -> AttemptPaths:
    """Makes the directories of a job's attempt and writes spec.json. The parent is the daemon's own,
    so nobody can have put a link there. Raises OccupiedError where an attempt that lives is in the way; one that has
    not begun never will. `asked_at`: on a box with a lease, when it was asked for (`lease.now`)."""
    attempt = job.attempt(spec.attempt)
    _make_room(job, spec.attempt)
    job.root.mkdir(mode=0o711, parents=True, exist_ok=True)
    job.root.chmod(0o711)
    if not job.work.exists():
        job.work.mkdir(mode=0o700)
        if spec.identity.uid != os.geteuid():
            os.chown(job.work, spec.identity.uid, spec.identity.gid)
    if spec.identity.uid != os.geteuid():
        for checkpoint in spec.checkpoint_from:
            _open(JobPaths(Path(checkpoint).parents[1]))
    if spec.may_stay:
        _make_shelf(job.steps(spec.identity.uid), spec.identity)
    attempt.root.mkdir(mode=0o700)
    if asked_at is not None:
        lease.note_asked(attempt.asked, asked_at)
    reach("attempts.make")
    durable.write_json(attempt.spec, codec.write(spec))
    for directory in (
        job.root,
        job.root.parent,
    ):  # after what is in them: a journal then has all of it at once
        durable.sync_directory(directory)
    return attempt


def _make_shelf(directory: Path, owner: Identity) -> None:
    """Of one user. Several attempts may come to it at once, and one may have been cut off in the middle."""
    directory.parent.mkdir(mode=0o711, exist_ok=True)
    directory.parent.chmod(0o711)
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.lstat().st_uid != owner.uid:
        os.chown(directory, owner.uid, owner.gid)


def _open(origin: JobPaths) -> None:
    """An ended job of the same user's, whose directory was closed so that it could be collected: its checkpoint is read
    with that user's rights."""
    with contextlib.suppress(FileNotFoundError):
        origin.root.chmod(0o711)


def _make_room(job: JobPaths, number: int) -> None:
    """Numbers that were given before, to jobs that the store has forgotten, have left their directories."""
    for path in job.root.glob("attempt-*"):
        if path.name != job.attempt(number).root.name:
            _revoke_late(AttemptPaths(path))
    for name, noted in living(job):
        raise OccupiedError(
            f"{job.root} is in use: {name} lives (supervisor pid {noted.supervisor or 'unknown'})"
            " and is not known here; `gpujobs doctor` says how to end it"
        )
    for path, expected in ((job.root, number > 1), (job.work, True), (job.attempt(number).root, False)):
        if os.path.lexists(path) and not (expected and _is_directory(path)):
            durable.set_aside(path, "other")


def living(job: JobPaths) -> Iterator[tuple[str, LockNote]]:
    """(name, note in the lock) of each attempt of a job whose trainer may live: its lock is held."""
    for path in sorted(job.root.glob("attempt-*")):
        paths = AttemptPaths(path)
        if durable.is_locked(paths.lock):
            noted = None
            with contextlib.suppress(DamagedError):
                noted = durable.read_json(paths.lock)
            note = records.note_of(noted)
            if not note.has_ended:
                yield path.name, note


def _is_directory(path: Path) -> bool:
    return stat.S_ISDIR(path.lstat().st_mode)


# Finding out


def status_of(attempt: Attempt) -> AttemptStatus:
    """What became of an attempt. One that has not started is revoked by asking, for good. Raises OSError where
    that cannot be told now."""
    if not _has_directory(attempt):
        return AttemptStatus.NEVER_STARTED
    if attempt.exit is not None:
        return AttemptStatus.ENDED
    if _is_running(attempt):
        return AttemptStatus.RUNNING
    if _revoke(attempt):
        return AttemptStatus.NEVER_STARTED
    if attempt.is_locked:
        return AttemptStatus.RUNNING
    return AttemptStatus.LOST if attempt.exit is None else AttemptStatus.ENDED


def _has_directory(attempt: Attempt) -> bool:
    """False where there is none, or another attempt's, which is moved out of the way unless it lives."""
    root = attempt.paths.root
    if not os.path.lexists(root):
        return False
    if not _is_directory(root):
        attempt.keep_aside(root, "is not a directory")
        return False
    spec = attempt.spec
    if spec is None or spec.nonce == attempt.nonce:
        return True
    if attempt.is_locked:
        attempt.damages.append(f"{root.name} is in use by another attempt of this number")
    else:
        attempt.keep_aside(root, "is of another attempt of this number", "other")
    return False


def _is_running(attempt: Attempt) -> bool:
    """The supervisor holds its lock for as long as it lives; where the lock is gone, its record is asked."""
    if attempt.is_locked:
        return True
    record = attempt.record
    return (
        record is not None
        and attempt.is_ours(record)
        and is_alive(record.supervisor, record.boot_id)
        and not attempt.paths.lock.exists()
    )


def _revoke(attempt: Attempt) -> bool:
    """Takes the claim, so that no late supervisor can; True where it is, or was, revoked. A supervisor locks
    before it claims, so a claim without the lock is a dead supervisor's."""
    claim = attempt.paths.claim
    try:
        durable.create(claim, b"revoked")
    except FileExistsError:
        try:
            return durable.read(claim) == b"revoked"
        except DamagedError as damage:
            attempt.keep_aside(claim, damage.why)
            return _revoke(attempt)
    return True


def _revoke_late(paths: AttemptPaths) -> None:
    """Of an attempt that is followed by another: where its supervisor has not come to it yet, it is too late. One that
    has, has locked it before. Raises OSError."""
    with contextlib.suppress(FileExistsError, FileNotFoundError, NotADirectoryError):
        if not paths.exit.exists():
            durable.create(paths.claim, b"revoked")


def is_alive(process: ProcessId, recorded_boot: str) -> bool:
    """Whether a recorded process still runs: the same pid, start and boot."""
    if recorded_boot != boot_id():
        return False
    try:
        return start_ticks(process.pid) == process.start_ticks
    except (OSError, IndexError):
        return False


# Ending


def send_signal(process: ProcessId, boot: str, number: signal.Signals) -> bool:
    """Through a pidfd, so that it cannot be another's who has got the pid. False where the process has ended."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        if not is_alive(process, boot):
            return False
        signal.pidfd_send_signal(descriptor, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)


def end_trainer(attempt: Attempt) -> None:
    """Makes sure that a trainer whose supervisor is gone has ended, with all that it has started. The kernel
    has already sent it SIGKILL with its supervisor's death; it may not have come to it yet."""
    record = attempt.record
    if record is None or not attempt.is_ours(record) or record.boot_id != boot_id():
        return
    if record.cgroup:
        group = Cgroup(Path(record.cgroup))
        group.kill()
        group.remove()
    send_signal(record.trainer, record.boot_id, signal.SIGKILL)


def lost_record(attempt: Attempt) -> ExitRecord:
    """The exit record of an attempt whose supervisor left none. It costs a retry only where the supervisor was
    killed beside a machine that went on, with all its files there: then the job may be to blame."""
    record, progress = attempt.record, attempt.progress
    has_restarted = record is not None and record.boot_id != boot_id()
    is_damaged = record is None or bool(attempt.damages)
    if has_restarted:
        message = "the machine was restarted"
    elif is_damaged:
        what = "; ".join(attempt.damages) or "its record is gone"
        message = f"what was written of it is damaged or gone ({what}), and its supervisor with it"
    elif record is not None and not attempt.is_ours(record):
        has_restarted, message = True, "it belongs to another state directory, of which this one is a copy"
    else:
        message = "the supervisor was killed, and its trainer with it"
    return records.without_one(
        attempt.key,
        Reason.SUPERVISOR_LOST,
        message,
        progress=progress,
        costs_retry=not (has_restarted or is_damaged),
    )
