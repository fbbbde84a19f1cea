"""When waiting jobs will start."""

from __future__ import annotations

from typing import Any

from gpujobs.model import Process
from gpujobs.policy import Allocation, PendingJob, Queue, Reservation, Snapshot
from gpujobs.policy.virtual.expected_starts import expected_runs

from .box import GIB, NOW, asking, gpu, gpus, later, node, packed, pending, whole


def expect(waiting: list[PendingJob], nodes: Any, allocations: list[Allocation], **values: Any) -> Any:
    found = expected_runs(Snapshot(NOW, waiting, nodes, allocations, **values))
    return {job: run.starts_at for job, run in found.items()}


def test_one_after_the_other_when_the_running_jobs_end() -> None:
    running = [whole(8, 0, expected_end=later(100)), whole(9, 1, expected_end=later(50))]
    waiting = [pending(id, 0, time_limit_seconds=30) for id in (1, 2, 3)]
    assert expect(waiting, gpus(2), running) == {1: later(50), 2: later(80), 3: later(100)}


def test_what_is_expected_counts_before_the_limit() -> None:
    waiting = [pending(1, 0, time_limit_seconds=3600, expected_seconds=10), pending(2, 0)]
    assert expect(waiting, gpus(1), []) == {1: NOW, 2: later(10)}


def test_nobody_knows_what_comes_after_a_job_without_an_end() -> None:
    waiting = [pending(1, 0), pending(2, 0)]
    assert expect(waiting, gpus(1), [whole(9, 0, expected_end=later(5))]) == {1: later(5)}
    assert expect(waiting, gpus(1), [whole(9, 0)]) == {}


def test_a_job_that_should_have_ended_ends_now() -> None:
    assert expect([pending(1, 0)], gpus(1), [whole(9, 0, expected_end=later(-60))]) == {1: NOW}


def test_a_job_that_is_stopping_ends_soon() -> None:
    running = [whole(8, 0, stopping=True), whole(9, 1, expected_end=later(3600))]
    found = expect([pending(1, 0)], gpus(2), running)[1]
    assert later(0) < found < later(60)


def test_the_processes_of_jobs_leave_with_them_and_others_stay() -> None:
    ours, stranger = Process(100, "a", GIB, "trainer"), Process(4711, "bob", GIB, "python")
    running = [whole(9, 0, pid=100, expected_end=later(5))]
    box = [node(gpu(0, processes=(ours,), memory_used_bytes=70 * GIB))]
    assert expect([pending(1, 0)], box, running) == {1: later(5)}
    box = [node(gpu(0, processes=(ours, stranger), memory_used_bytes=70 * GIB))]
    assert expect([pending(1, 0)], box, running) == {}


def test_packed_jobs_come_when_there_is_room() -> None:
    ours = tuple(Process(100 + id, "a", 30 * GIB, "trainer") for id in (8, 9))
    running = [
        packed(8, 0, 30, pid=108, measured_bytes=30 * GIB, expected_end=later(50)),
        packed(9, 0, 20, pid=109, measured_bytes=30 * GIB, expected_end=later(90)),
    ]
    box = [node(gpu(0, processes=ours, memory_used_bytes=60 * GIB))]
    small, large = (pending(id, 0, gpu_memory=gib * GIB) for id, gib in ((1, 25), (2, 60)))
    assert expect([asking(small, time_limit_seconds=60), large], box, running) == {
        1: later(50),
        2: later(110),
    }


def test_dependent_and_later_jobs_are_foreseen_held_ones_are_not() -> None:
    waiting = [
        pending(1, 0, waits_for=(9,), time_limit_seconds=10),
        pending(2, 0, waits_for=(1,), time_limit_seconds=10),
        pending(3, 0, begin_at=later(500)),
        pending(4, 0, held=True),
    ]
    found = expect(waiting, gpus(1), [whole(9, 0, expected_end=later(60))])
    assert found == {1: later(60), 2: later(70), 3: later(500)}


def test_reservations_are_foreseen() -> None:
    kept = [Reservation(1, "GPU-0", later(5), later(100), user="b")]
    assert expect([pending(1, 0, user="a")], gpus(1), [], reservations=kept) == {1: later(100)}


def test_a_preempted_job_goes_on_later() -> None:
    waiting = [pending(1, 0, preemptible=True, time_limit_seconds=100)]
    waiting.append(pending(2, 1, time_limit_seconds=50, begin_at=later(20)))
    waiting.append(pending(3, 0, time_limit_seconds=7))
    # 1 is stopped at 20, ends at 30; 2 runs until 80; 1 has 70 s left.
    assert expect(waiting, gpus(1), []) == {1: NOW, 2: later(30), 3: later(150)}


def test_no_more_than_asked_for_and_the_queue_is_left_as_it_was() -> None:
    queue = Queue([pending(id, 0, time_limit_seconds=10) for id in range(1, 51)])
    found = expected_runs(Snapshot(NOW, queue, gpus(1)), jobs=5)
    assert {job: run.starts_at for job, run in found.items()} == {
        id: later(10 * (id - 1)) for id in range(1, 6)
    }
    assert len(queue) == 50
