"""A job that is ahead and large is not starved by small ones behind it."""

from __future__ import annotations

from typing import Any

from gpujobs.model import Reason
from gpujobs.policy import PendingJob

from .box import GIB, gpus, later, packed, pending, run, started, whole


def small(id: int, **values: Any) -> PendingJob:
    return pending(id, 0, gpu_memory=4 * GIB, **values)


def test_nothing_refills_the_device_that_is_free_soonest() -> None:
    running = [packed(8, 0, 8, expected_end=later(100)), packed(9, 1, 8, expected_end=later(200))]
    decision = run([pending(1, 0), small(2)], gpus(2), running)
    assert started(decision) == [(2, "GPU-1")]


def test_a_job_that_ends_in_time_goes_there_all_the_same() -> None:
    running = [packed(8, 0, 70, expected_end=later(100)), packed(9, 1, 79, expected_end=later(200))]
    waiting = [pending(1, 0), small(2, time_limit_seconds=101), small(3, time_limit_seconds=100)]
    assert started(run(waiting, gpus(2), running)) == [(3, "GPU-0")]


def test_without_any_known_end_one_device_is_left_to_drain() -> None:
    running = [packed(7, 0, 8), packed(8, 0, 8), packed(9, 1, 8)]
    assert started(run([pending(1, 0), small(2)], gpus(2), running)) == [(2, "GPU-0")]


def test_a_device_held_whole_is_waited_for_where_it_is_free_first() -> None:
    running = [packed(8, 0, 8, expected_end=later(200)), whole(9, 1, expected_end=later(100))]
    assert started(run([pending(1, 0), small(2)], gpus(2), running)) == [(2, "GPU-0")]


def test_a_large_packed_job_leaves_the_rest_to_others() -> None:
    """40 of 79.5 GiB are kept for job 1 as soon as 8 has ended: beside it there is room for 31.5."""
    running = [packed(7, 0, 8), packed(8, 0, 60, expected_end=later(100))]
    large = pending(1, 0, gpu_memory=40 * GIB)
    assert started(run([large, small(2), small(3)], gpus(1), running)) == [(2, "GPU-0"), (3, "GPU-0")]
    large = pending(1, 0, gpu_memory=70 * GIB)
    assert started(run([large, small(2)], gpus(1), running)) == []


def test_what_is_left_beside_it_is_used_up() -> None:
    """There is room for five of them now, but beside job 1 for three only."""
    running = [packed(7, 0, 8), packed(8, 0, 50, expected_end=later(100))]
    large = pending(1, 0, gpu_memory=58 * GIB)
    waiting = [large, *(small(id) for id in range(2, 9))]
    assert len(run(waiting, gpus(1), running).starts) == 3


def test_each_number_that_is_asked_for_has_its_device_kept() -> None:
    running = [packed(8, 0, 8), packed(9, 1, 8)]
    waiting = [pending(1, 0, requested_gpu=1), small(2)]
    assert started(run(waiting, gpus(2), running)) == [(2, "GPU-0")]


def test_who_is_kept_off_is_told_for_whom() -> None:
    running = [packed(8, 0, 8, expected_end=later(100))]
    decision = run([pending(1, 1), small(2, requested_gpu=0)], gpus(1), running)
    assert decision.waits[2].reason is Reason.RESOURCES
    assert decision.waits[2].message == "GPU 0 is used by job 8; GPU 0 is kept for job 1, which is ahead"


def test_a_job_behind_does_not_keep_anything() -> None:
    running = [packed(8, 0, 8, expected_end=later(100))]
    assert started(run([small(1), pending(2, 0)], gpus(1), running)) == [(1, "GPU-0")]
