"""The steps of a job's life, and what follows an end, written out once more."""

from __future__ import annotations

from dataclasses import replace

from gpujobs.lifecycle import TRANSITIONS, Finish, Requeue, follow_up
from gpujobs.model import Attempt, DeviceKind, Job, Reason, State, utc_now
from tests.unit.records import JOB, record

LEGAL = {
    "PENDING": {"STARTING", "CANCELLED"},
    "STARTING": {"RUNNING", "COMPLETING", "PENDING"},
    "RUNNING": {"COMPLETING"},
    "COMPLETING": {"COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "OUT_OF_MEMORY", "PENDING"},
    "COMPLETED": set(),
    "FAILED": set(),
    "TIMEOUT": set(),
    "OUT_OF_MEMORY": set(),
    "CANCELLED": set(),
}


def test_these_steps_are_legal_and_no_others() -> None:
    assert {str(origin): set(map(str, targets)) for origin, targets in TRANSITIONS.items()} == LEGAL


def with_attempt(gpu_memory_bytes: int | None) -> Job:
    current = Attempt(
        job=7, number=1, node="n", device_uuid="GPU-0", device_kind=DeviceKind.GPU, device_index=0,
        device_name="fake", started_at=utc_now(), gpu_memory_bytes=gpu_memory_bytes,
    )  # fmt: skip
    return replace(JOB, current=current)


def out_of_memory(job: Job) -> Finish | Requeue:
    return follow_up(job, record(State.FAILED, Reason.DEVICE_OUT_OF_MEMORY))


def test_who_has_run_out_of_memory_beside_others_is_alone_next_time() -> None:
    step = out_of_memory(with_attempt(4 << 30))
    assert isinstance(step, Requeue) and (step.exclusive, step.uses_retry) == (True, True)


def test_who_has_run_out_of_a_whole_device_is_not_tried_again() -> None:
    step = out_of_memory(with_attempt(None))
    assert isinstance(step, Finish) and (step.state, step.reason) == (
        State.FAILED,
        Reason.DEVICE_OUT_OF_MEMORY,
    )


def test_a_job_cancelled_while_it_made_room_for_another_is_not_queued_again() -> None:
    job = replace(JOB, cancel_requested=True, message="cancelled by a")
    step = follow_up(job, record(State.CANCELLED, stopped_for="preempt"))
    assert step == Finish(State.CANCELLED, Reason.CANCELLED_BY_USER, "cancelled by a")
