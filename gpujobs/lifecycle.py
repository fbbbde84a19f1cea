"""The life of a job: which steps are legal, and what follows the end of an attempt.

No I/O. The store asks `check_transition` before each guarded update; `follow_up` decides what
becomes of a job whose attempt has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gpujobs.model import FINAL_STATES, Job, Reason, State
from gpujobs.protocol.records import ExitRecord

TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.PENDING: frozenset({State.STARTING, State.CANCELLED}),
    State.STARTING: frozenset({State.RUNNING, State.COMPLETING, State.PENDING}),
    State.RUNNING: frozenset({State.COMPLETING}),
    State.COMPLETING: FINAL_STATES | {State.PENDING},
    **{state: frozenset() for state in FINAL_STATES},
}


class IllegalTransitionError(Exception):
    """A step that the table does not hold. A bug of ours, so it says all it knows."""

    def __init__(self, job: int, origin: State, target: State, history: str) -> None:
        super().__init__(f"job {job}: {origin} -> {target} is not a legal step. {history}".strip())


def check_transition(job: int, origin: State, target: State, history: Callable[[], str]) -> None:
    """`history` is asked for what has happened to the job, where the step is illegal."""
    if target not in TRANSITIONS[origin]:
        raise IllegalTransitionError(job, origin, target, history())


def mermaid() -> str:
    """The transition table as a Mermaid state diagram, for the documentation."""
    lines = ["stateDiagram-v2", "    [*] --> PENDING"]
    for origin in State:
        lines += [f"    {origin} --> {target}" for target in State if target in TRANSITIONS[origin]]
        if origin.is_final:
            lines.append(f"    {origin} --> [*]")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Finish:
    """The job ends: `state` is final."""

    state: State
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Requeue:
    """The job goes back to PENDING. `uses_retry` is False where the job is not to blame; `exclusive` gives it
    a whole device next time."""

    reason: Reason
    message: str
    uses_retry: bool
    exclusive: bool = False


def follow_up(job: Job, record: ExitRecord) -> Finish | Requeue:
    """What becomes of a job, given the record of how its attempt ended.

    A request to cancel wins over every other end but success: whoever asked is not to find the
    job queued again. A stop that the daemon asked for (preemption, shutdown) costs no retry, nor does an
    attempt that was lost with its machine or its files.
    """
    state, reason, message = record.state, record.reason, record.message
    if state is State.COMPLETED:
        return Finish(state, Reason.NONE, "")
    if job.cancel_requested:
        return Finish(State.CANCELLED, Reason.CANCELLED_BY_USER, job.message or "cancelled")
    if record.stopped_for is not None:
        why = message or record.stopped_for
        return Requeue(Reason.RETRY, f"attempt {job.attempt} was stopped: {why}", False)
    if not record.costs_retry:
        return Requeue(Reason.RETRY, f"attempt {job.attempt} was lost: {message or reason}", False)
    may_retry = job.retries_used < job.retries
    if reason is Reason.DEVICE_OUT_OF_MEMORY and may_retry and _shared_its_device(job):
        message = f"attempt {job.attempt} ran out of memory on a shared device; the next one gets a whole one"
        return Requeue(Reason.RETRY, message, True, exclusive=True)
    if reason.is_retryable and may_retry:
        return Requeue(Reason.RETRY, f"attempt {job.attempt} ended: {message or reason}", True)
    return Finish(state, reason, message)


def _shared_its_device(job: Job) -> bool:
    return job.current is not None and job.current.gpu_memory_bytes is not None
