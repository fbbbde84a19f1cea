"""What supervisors and agents write beside an attempt. A later or an earlier version may read it: what an earlier one
has not written has its value here, what a later one adds is passed over, and all else is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Predicate

from gpujobs.model import FINAL_STATES, Reason, State, StopReason, utc_now
from gpujobs.protocol.codec import Count, Instant, Message, Number, instant, known_fields, parse, write

Progress = Mapping[str, int | float | None]
"""Finite numbers by name."""


@dataclass(frozen=True, slots=True)
class AttemptKey(Message):
    """Numbers may be given again, after a store was restored; the random id is not. Attempts of the oldest versions
    have an empty one."""

    job: Number
    attempt: Number
    nonce: str


@dataclass(frozen=True, slots=True)
class ProcessId(Message):
    """Within one boot, both together name a process for good."""

    pid: Number
    start_ticks: Number


def is_the_path_of_a_group_of_ours(path: str) -> bool:
    return Path(path).name.startswith("gpujobs-")


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorRecord(Message):
    """record.json, and the note in the lock."""

    boot_id: str
    nonce: str
    state_id: str
    supervisor: ProcessId
    trainer: ProcessId
    cgroup: Annotated[str, Predicate(is_the_path_of_a_group_of_ours)] | None
    started_at: Instant
    hears_wishes: bool
    """One that does not takes the signal for a stop."""
    trainer_of: Number | None
    """The job that its trainer has trained just before, in the same process; None in one of its own."""


_RECORD_OF_EARLIER = {
    "nonce": "",
    "state_id": "",
    "cgroup": None,
    "hears_wishes": False,
    "trainer_of": None,
}


def record_of(value: Mapping[str, Any]) -> SupervisorRecord:
    """Raises ShapeError."""
    given = {**_RECORD_OF_EARLIER, **known_fields(SupervisorRecord, value)}
    return parse(SupervisorRecord, given, "record")


@dataclass(frozen=True, slots=True)
class ExitStatus(Message):
    """Both are None where the trainer's end was not seen."""

    code: Count | None
    signal: Count | None


NO_STATUS = ExitStatus(None, None)


@dataclass(frozen=True, slots=True)
class HostUse(Message):
    """As the kernel has counted it at the trainer's end, of it and of the processes that it has waited for. Of one that
    trains several jobs, from the start of the job to its end.

    `peak_memory_bytes`: resident at once, the pages that it shared with its launcher among them, and what it has kept
    of the jobs before. `cpu_threads`: what it
    was told to compute with.
    """

    peak_memory_bytes: Count
    cpu_seconds: float
    cpu_threads: Number


def is_a_final_state(state: State) -> bool:
    return state in FINAL_STATES


FinalState = Annotated[State, Predicate(is_a_final_state)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitRecord(Message):
    """exit.json: how an attempt ended."""

    job: Number
    attempt: Number
    nonce: str
    state_id: str
    state: FinalState
    reason: Reason
    message: str
    exit: ExitStatus
    started_at: Instant | None
    running_at: Instant | None
    ended_at: Instant
    progress: Progress | None
    stopped_for: StopReason | None
    """Of a stop that is not to end the job."""
    costs_retry: bool
    """False where the job is not to blame."""
    host: HostUse | None
    """None where the trainer's end was not seen."""
    trainer_of: Number | None
    """As in record.json."""


_EXIT_OF_EARLIER = {
    "nonce": "",
    "state_id": "",
    "reason": "",
    "message": "",
    "started_at": None,
    "running_at": None,
    "progress": None,
    "stopped_for": None,
    "costs_retry": True,
    "host": None,
    "trainer_of": None,
}


def exit_fields(value: Mapping[str, Any]) -> dict[str, Any]:
    """Of an exit record of any version, those of this one."""
    return {**_EXIT_OF_EARLIER, **known_fields(ExitRecord, value)}


def exit_of(value: Mapping[str, Any]) -> ExitRecord:
    """Raises ShapeError."""
    return parse(ExitRecord, exit_fields(value), "exit record")


def without_one(
    attempt: AttemptKey,
    reason: Reason,
    message: str,
    *,
    state_id: str = "",
    progress: Progress | None = None,
    costs_retry: bool = True,
) -> ExitRecord:
    """Of an attempt whose supervisor has left none: it has failed, and ends now."""
    return ExitRecord(
        job=attempt.job,
        attempt=attempt.attempt,
        nonce=attempt.nonce,
        state_id=state_id,
        state=State.FAILED,
        reason=reason,
        message=message,
        exit=NO_STATUS,
        started_at=None,
        running_at=None,
        ended_at=instant(utc_now()),
        progress=progress,
        stopped_for=None,
        costs_retry=costs_retry,
        host=None,
        trainer_of=None,
    )


def kept_of(attempt: AttemptKey, value: Mapping[str, Any]) -> ExitRecord:
    """As the store has kept it, maybe of an earlier version, which has not kept all of it. Raises ShapeError."""
    lacking = {**write(attempt), "exit": write(NO_STATUS), "ended_at": instant(utc_now())}
    return exit_of({**lacking, **value})


@dataclass(frozen=True, slots=True)
class _ProgressFile(Message):
    progress: Progress


def progress_of(value: Mapping[str, Any]) -> Progress:
    """progress.json. Raises ShapeError."""
    return parse(_ProgressFile, {"progress": value}, "progress.json").progress


@dataclass(frozen=True, slots=True)
class LockNote:
    """What the note in a held lock says; None for what is damaged, or not written yet."""

    supervisor: int | None
    trainer: int | None
    started_at: str | None
    has_ended: bool


def note_of(value: Mapping[str, Any] | None) -> LockNote:
    """For people: nothing is signalled by it, so what makes no sense is left out."""
    given = value or {}
    started_at = given.get("started_at")
    return LockNote(
        _pid(given.get("supervisor")),
        _pid(given.get("trainer")),
        started_at if isinstance(started_at, str) else None,
        bool(given.get("has_ended")),
    )


def _pid(process: Any) -> int | None:
    pid = process.get("pid") if isinstance(process, dict) else None
    return pid if isinstance(pid, int) else None


@dataclass(frozen=True, slots=True)
class StopRequest(Message):
    """stop.json."""

    reason: StopReason
    message: str


@dataclass(frozen=True, slots=True)
class Wishes(Message):
    """wishes.json: what else is asked of a running attempt."""

    finish: bool
    time_limit_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidentNote(Message):
    """A trainer that waits for another job, in the lock that its supervisor holds meanwhile."""

    boot_id: str
    state_id: str
    last: AttemptKey
    """What it has trained last."""
    device_uuid: str
    supervisor: ProcessId
    trainer: ProcessId
    cgroup: Annotated[str, Predicate(is_the_path_of_a_group_of_ours)] | None


KINDS = (SupervisorRecord, ResidentNote, ExitRecord, StopRequest, Wishes)
