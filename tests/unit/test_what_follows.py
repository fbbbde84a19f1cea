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


def test_a_stop_that_was_asked_for_costs_no_retry_and_says_why() -> None:
    job = replace(JOB, retries=1, retries_used=1)
    said = follow_up(job, record(State.CANCELLED, stopped_for="preempt"))
    assert said == Requeue(Reason.RETRY, "attempt 1 was stopped: why", uses_retry=False)
    unsaid = follow_up(job, record(State.CANCELLED, stopped_for="preempt", message=""))
    assert unsaid == Requeue(Reason.RETRY, "attempt 1 was stopped: preempt", uses_retry=False)


def test_an_attempt_that_was_lost_with_its_machine_costs_no_retry_and_one_that_was_killed_does() -> None:
    spent = replace(JOB, retries=1, retries_used=1)
    lost = record(State.FAILED, Reason.SUPERVISOR_LOST, costs_retry=False)
    assert follow_up(spent, lost) == Requeue(Reason.RETRY, "attempt 1 was lost: why", uses_retry=False)
    killed = record(State.FAILED, Reason.SUPERVISOR_LOST, costs_retry=True)
    assert follow_up(spent, killed) == Finish(State.FAILED, Reason.SUPERVISOR_LOST, "why")
    left = replace(spent, retries_used=0)
    assert follow_up(left, killed) == Requeue(Reason.RETRY, "attempt 1 ended: why", uses_retry=True)
