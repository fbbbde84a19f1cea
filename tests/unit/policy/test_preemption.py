"""Who stops so that a higher class can start."""

from __future__ import annotations

from typing import Any

from gpujobs.demand import Demand
from gpujobs.model import Device, DeviceKind, Process, Reason
from gpujobs.policy import Allocation, Decision, PendingJob, Rules
from gpujobs.policy.inputs.rules import Limits, PriorityRules, UserLimits

from .box import GIB, gpu, gpus, later, node, packed, pending, run, whole


def low(job: int, index: int, age: float = 3600, **values: Any) -> Allocation:
    return whole(job, index, **{"preemptible": True, "started_at": later(-age), **values})


def high(id: int, **values: Any) -> PendingJob:
    return pending(id, 1, **values)


def stops(decision: Decision) -> list[tuple[int, int]]:
    return [(one.job, one.for_job) for one in decision.preemptions]


def test_the_one_started_last_stops() -> None:
    decision = run([high(1)], gpus(3), [low(7, 0, 50), low(8, 1, 20), low(9, 2, 30)])
    assert stops(decision) == [(8, 1)]
    assert decision.waits[1].reason is Reason.PREEMPTING
    assert decision.waits[1].message == "GPU 1 is being freed for it: job 8 of a lower class stops"


def test_nobody_stops_for_an_equal_or_while_a_device_is_free() -> None:
    assert not stops(run([pending(1, 0)], gpus(1), [low(9, 0)]))
    assert not stops(run([high(1)], gpus(2), [low(9, 0)]))


def test_of_those_that_agreed_only_a_lower_class_stops() -> None:
    """Though the equal one was started last."""
    assert stops(run([high(1)], gpus(2), [low(8, 0, 10, priority=1), low(9, 1, 20)])) == [(9, 1)]
    assert not stops(run([high(1, requested_gpu=0)], gpus(2), [low(8, 0, 10, priority=1), low(9, 1, 20)]))


def test_who_did_not_agree_does_not_stop() -> None:
    assert not stops(run([high(1)], gpus(1), [whole(9, 0)]))


def test_as_many_as_are_needed() -> None:
    running = [low(7, 0, 50), low(8, 1, 20), low(9, 2, 30)]
    assert stops(run([high(1), high(2), pending(3, 0)], gpus(3), running)) == [(8, 1), (9, 2)]


def test_what_is_being_freed_already_is_enough() -> None:
    running = [low(8, 0, 50), low(9, 1, 20, stopping=True)]
    decision = run([high(1)], gpus(2), running)
    assert not stops(decision)
    assert decision.waits[1].message == "GPU 1 is being freed for it"
    assert stops(run([high(1), high(2)], gpus(2), running)) == [(8, 2)]


def test_somebody_on_the_gpu_that_was_asked_for() -> None:
    running = [low(8, 0, 10), low(9, 1, 20)]
    assert stops(run([high(1, requested_gpu=1)], gpus(2), running)) == [(9, 1)]


def test_no_use_in_stopping_where_nothing_can_start_then() -> None:
    stranger = Process(4711, "bob", GIB, "python")
    assert not stops(run([high(1)], [node(gpu(0, processes=(stranger,)))], [low(9, 0)]))
    assert not stops(run([high(1)], gpus(1), [low(9, 0)], drained={"GPU-0": "noisy fan"}))


def test_a_user_at_the_limit_stops_nobody() -> None:
    rules = Rules(limits=Limits(default=UserLimits(max_running=1)))
    assert not stops(run([high(1)], gpus(1), [low(9, 0)], rules=rules))
    both = [high(1, user="a"), high(2, user="a")]
    assert stops(run(both, gpus(2), [low(8, 0, 50), low(9, 1, 20)], rules=rules)) == [(9, 1)]


def test_what_is_refused_to_a_lower_class_is_not_refused_to_a_higher_one() -> None:
    """Where classes weigh nothing, the lower one may be ahead."""
    rules = Rules(priority=PriorityRules(weight_priority=0))
    waiting = [pending(1, 0, user="a"), high(2, user="b")]
    assert stops(run(waiting, gpus(1), [low(9, 0, user="b")], rules=rules)) == [(9, 2)]


def test_a_device_with_one_that_stays_is_of_no_use_to_a_whole_job() -> None:
    running = [packed(7, 0, 8, preemptible=True), packed(8, 0, 8), low(9, 1, 9999)]
    assert stops(run([high(1)], gpus(2), running)) == [(9, 1)]


def test_fewest_first() -> None:
    running = [packed(7, 0, 8, preemptible=True), packed(8, 0, 8, preemptible=True), low(9, 1, 9999)]
    assert stops(run([high(1)], gpus(2), running)) == [(9, 1)]


def test_a_packed_job_stops_no_more_than_makes_room() -> None:
    """Without 8, the youngest, there are 11.5 GiB; without 7 too, 31.5; then 8 can stay."""
    running = [
        packed(6, 0, 20, preemptible=True, started_at=later(-90)),
        packed(7, 0, 20, preemptible=True, started_at=later(-80)),
        packed(8, 0, 2, preemptible=True, started_at=later(-70)),
        packed(9, 0, 28),
    ]
    assert stops(run([high(1, gpu_memory=25 * GIB)], gpus(1), running)) == [(7, 1)]


def test_what_a_whole_device_job_uses_is_free_when_it_has_gone() -> None:
    box = [node(gpu(0, memory_used_bytes=40 * GIB))]
    assert stops(run([high(1, gpu_memory=60 * GIB)], box, [low(9, 0)])) == [(9, 1)]


def test_a_cpu_slot_is_freed_too() -> None:
    slots = [node(*(Device("n", DeviceKind.CPU, i, f"CPU-{i}", "x86") for i in range(2)))]
    running = [
        Allocation(8 + i, "n", f"CPU-{i}", started_at=later(-i), demand=Demand(preemptible=True))
        for i in range(2)
    ]
    waiting = [high(1), high(2, gpu_memory=GIB), high(3, gpu_memory=GIB)]
    assert stops(run(waiting, slots, running)) == [(8, 1), (9, 2)]


def test_two_that_share_what_one_leaves() -> None:
    running = [low(9, 0)]
    waiting = [high(1, gpu_memory=30 * GIB), high(2, gpu_memory=30 * GIB)]
    decision = run(waiting, gpus(1), running)
    assert stops(decision) == [(9, 1)]
    assert decision.waits[2].reason is Reason.PREEMPTING
    waiting.append(high(3, gpu_memory=30 * GIB))
    assert run(waiting, gpus(1), running).waits[3].reason is not Reason.PREEMPTING


def test_nobody_takes_the_rest_of_a_device_that_is_being_freed() -> None:
    running = [packed(9, 0, 60, preemptible=True)]
    waiting = [high(1, gpu_memory=75 * GIB), pending(2, 0, gpu_memory=4 * GIB)]
    decision = run(waiting, gpus(1), running)
    assert stops(decision) == [(9, 1)] and [start.job for start in decision.starts] == [2]
