"""Devices kept for somebody for some time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gpujobs.errors import UsageError
from gpujobs.model import Reason
from gpujobs.policy import PendingJob, Reservation
from gpujobs.policy.devices.reservations import check_reservation
from gpujobs.policy.inputs.rules import ReservationRules

from .box import GIB, NOW, gpus, later, packed, pending, run, started


def reserved(index: int, begin: float, end: float, id: int = 1, **holder: str) -> Reservation:
    return Reservation(id, f"GPU-{index}", later(begin), later(end), **(holder or {"user": "a"}))


def starts(jobs: list[PendingJob], *reservations: Reservation, count: int = 1, **values: Any) -> list[Any]:
    return started(run(jobs, gpus(count), reservations=reservations, **values))


def test_others_stay_off_while_it_lasts() -> None:
    jobs = [pending(1, 0, user="b", time_limit_seconds=1), pending(2, 0, user="a")]
    assert starts(jobs, reserved(0, -10, 10)) == [(2, "GPU-0")]


def test_members_of_the_group_start() -> None:
    job = pending(1, 0, user="b")
    kept = reserved(0, -10, 10, group="vision")
    assert starts([job], kept, groups={"b": ("speech",)}) == []
    assert starts([job], kept, groups={"b": ("speech", "vision")}) == [(1, "GPU-0")]


def test_before_it_begins_others_start_what_ends_in_time() -> None:
    kept = reserved(0, 100, 200)
    assert starts([pending(1, 0, user="b", time_limit_seconds=100)], kept)
    assert not starts([pending(1, 0, user="b", time_limit_seconds=101)], kept)
    assert not starts([pending(1, 0, user="b")], kept)
    assert starts([pending(1, 0, user="a")], kept)


def test_it_is_over_when_it_is_over() -> None:
    assert starts([pending(1, 0, user="b")], reserved(0, -100, 0))


def test_ones_own_reserved_device_is_taken_first() -> None:
    assert starts([pending(1, 0, user="a")], reserved(1, -10, 10), count=2) == [(1, "GPU-1")]


def test_a_free_device_without_a_reservation_is_taken_before_one_that_is_needed_later() -> None:
    job = pending(1, 0, user="b", time_limit_seconds=5)
    assert starts([job], reserved(0, 100, 200), count=2) == [(1, "GPU-1")]


def test_packed_jobs_are_kept_off_too() -> None:
    job = pending(1, 0, user="b", gpu_memory=GIB)
    running = [packed(9, 0, 8, user="a")]
    decision = run([job], gpus(1), running, reservations=[reserved(0, -10, 10)])
    assert not started(decision) and "; GPU 0 is reserved for a from" in decision.waits[1].message
    assert started(run([replace(job, user="a")], gpus(1), running, reservations=[reserved(0, -10, 10)]))


def test_refused_to_one_user_is_not_refused_to_another() -> None:
    jobs = [pending(1, 0, user="b"), pending(2, 0, user="a"), pending(3, 0, user="b")]
    assert starts(jobs, reserved(0, -10, 10)) == [(2, "GPU-0")]


def test_the_reason_names_the_holder_and_the_times() -> None:
    decision = run([pending(1, 0, user="b")], gpus(1), reservations=[reserved(0, 60, 120)])
    assert decision.waits[1].reason is Reason.RESERVED
    assert decision.waits[1].message == (
        "GPU 0 is reserved for a from 2026-01-05 12:01 UTC until 2026-01-05 12:02 UTC,"
        " and the job has no time limit"
    )


def test_its_borders_are_when_to_decide_again() -> None:
    job = pending(1, 0, user="b")
    assert run([job], gpus(1), reservations=[reserved(0, 60, 120)]).next_change_at == later(60)
    assert run([job], gpus(1), reservations=[reserved(0, -60, 120)]).next_change_at == later(120)
    assert run([], gpus(1), reservations=[reserved(0, 60, 120)]).next_change_at is None


def refusal(new: Reservation, *existing: Reservation) -> str:
    with pytest.raises(UsageError) as caught:
        check_reservation(new, existing, {"GPU-0", "GPU-1"}, NOW, ReservationRules())
    return str(caught.value)


def test_a_good_one_is_accepted() -> None:
    others = [reserved(0, 0, 60, 1), reserved(0, 120, 180, 2), reserved(1, 60, 120, 3)]
    check_reservation(reserved(0, 60, 120, 4), others, {"GPU-0", "GPU-1"}, NOW, ReservationRules())
    check_reservation(reserved(0, 10, 60, 1), others, {"GPU-0"}, NOW, ReservationRules())  # changed times


@pytest.mark.parametrize(("begin", "end"), [(-60, 60), (0, 14 * 86400), (90 * 86400, 90 * 86400 + 1), (0, 1)])
def test_what_is_just_allowed_is_accepted(begin: float, end: float) -> None:
    check_reservation(reserved(0, begin, end), [], {"GPU-0"}, NOW, ReservationRules())


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (reserved(7, 0, 60), "there is no device GPU-7"),
        (reserved(0, 60, 60), "ends at .*, which is not after its begin"),
        (reserved(0, -600, -60), "ends in the past"),
        (reserved(0, -600, 600), "begins in the past"),
        (reserved(0, 0, 15 * 86400), "lasts 15 d; at most 14 d are allowed"),
        (reserved(0, 91 * 86400, 92 * 86400), "at most 90 d from now are allowed"),
        (Reservation(2, "GPU-0", NOW, NOW + timedelta(1)), "for a user or for a group"),
    ],
)
def test_a_bad_one_is_refused(new: Reservation, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_reservation(new, [], {"GPU-0", "GPU-1"}, NOW, ReservationRules())


@pytest.mark.parametrize(("begin", "end"), [(30, 90), (90, 100), (110, 200), (0, 300)])
def test_an_overlap_is_refused_with_the_other(begin: float, end: float) -> None:
    message = refusal(reserved(0, begin, end, 2), reserved(0, 60, 120, 1, group="vision"))
    assert "GPU-0 is reserved for vision from 2026-01-05 12:01 UTC until" in message
    assert "(reservation 1)" in message
