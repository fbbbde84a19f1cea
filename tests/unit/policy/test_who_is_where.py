"""Whose device it is at which instant, and for which job one is kept."""

from __future__ import annotations

from datetime import datetime

import pytest

from gpujobs.model import DeviceState, Process
from gpujobs.policy import Allocation, Reservation, Rules, Snapshot, Usage, occupancies, occupancy
from gpujobs.policy.devices.reservations import ReservationWindow, blocking_window, current
from gpujobs.policy.inputs.rules import Shares
from gpujobs.policy.users.used import used_seconds

from .box import GIB, NOW, gpu, gpus, later, node, packed, pending, run, started, whole

HOLD = ReservationWindow(later(60), later(120), "ann", None)


@pytest.mark.parametrize(("at", "holds"), [(59, False), (60, True), (119, True), (120, False)])
def test_a_reservation_lasts_from_its_begin_until_just_before_its_end(at: float, holds: bool) -> None:
    assert (current((HOLD,), later(at)) is HOLD) is holds


@pytest.mark.parametrize(
    ("begin", "end", "user", "is_in_the_way"),
    [
        (0, 60, "bob", False),
        (0, 61, "bob", True),
        (119, 500, "bob", True),
        (120, 500, "bob", False),
        (0, 500, "ann", False),
    ],
)
def test_what_ends_as_it_begins_or_begins_as_it_ends_is_not_in_its_way(
    begin: float, end: float, user: str, is_in_the_way: bool
) -> None:
    assert (blocking_window((HOLD,), user, (), later(begin), later(end)) is HOLD) is is_in_the_way


def test_no_device_is_kept_that_is_too_small_for_the_job_for_ever() -> None:
    """GPU 0 is free first, but 40 GiB never fit there: GPU 1 is the one that is kept."""
    box = [node(gpu(0, memory_total_bytes=16 * GIB), gpu(1))]
    running = [packed(8, 0, 14, expected_end=later(100)), packed(9, 1, 60, expected_end=later(200))]
    large = pending(1, 0, gpu_memory=78 * GIB)
    small = pending(2, 0, gpu_memory=4 * GIB)
    assert started(run([large, small], box, running)) == []


def test_no_device_is_kept_that_is_somebody_elses_by_then() -> None:
    """GPU 0 is free first, but reserved then: GPU 1 is the one that is kept."""
    running = [packed(8, 0, 8, expected_end=later(100)), packed(9, 1, 8, expected_end=later(200))]
    kept = Reservation(1, "GPU-0", later(90), later(10_000), user="ann")
    waiting = [pending(1, 0, user="bob"), pending(2, 0, user="bob", gpu_memory=4 * GIB)]
    assert started(run(waiting, gpus(2), running, reservations=[kept])) == []


def test_nobody_stops_for_a_job_that_may_not_have_the_device() -> None:
    running = [whole(9, 0, preemptible=True, user="ann")]
    kept = Reservation(1, "GPU-0", later(-10), later(10), user="ann")
    assert not run([pending(1, 1, user="bob")], gpus(1), running, reservations=[kept]).preemptions
    assert run([pending(1, 1, user="ann")], gpus(1), running, reservations=[kept]).preemptions


def test_what_a_user_runs_outside_the_queue_is_foreign_beside_their_own_job() -> None:
    found = (Process(100, "ann", GIB, "trainer"), Process(101, "ann", GIB, "python x.py"))
    view = occupancy(gpu(0, processes=found), [Allocation(7, "n", "GPU-0", 100, user="ann")])
    assert [process.pid for process in view.foreign] == [101]


def test_a_gpu_that_hides_somebody_is_foreign_above_one_gib_only() -> None:
    """Some hundred MiB are the driver's own."""
    devices = node(gpu(0, memory_used_bytes=GIB), gpu(1, memory_used_bytes=GIB + 1))
    views = occupancies(Snapshot(NOW, (), [devices]))
    assert [view.state for view in views] == [DeviceState.FREE, DeviceState.FOREIGN]


def test_members_who_are_there_answer_together_for_those_who_are_away() -> None:
    """100 s of carl's, once: three quarters for ann, whose weight is three times bob's."""
    shares = Shares(users={"ann": 3.0}, groups={"vision": 1.0})
    everybody = dict.fromkeys(("ann", "bob", "carl"), ("vision",))
    snapshot = Snapshot(
        NOW, (), (), usage={"carl": Usage(100.0, NOW)}, groups=everybody, rules=Rules(shares=shares)
    )
    assert used_seconds(snapshot, ["ann", "bob"], {}, []) == pytest.approx({"ann": 75.0, "bob": 25.0})


def test_use_fades_by_half_in_each_half_life() -> None:
    rules = Rules()
    half_life = rules.priority.half_life_seconds
    before: datetime = later(-half_life)
    snapshot = Snapshot(NOW, (), (), usage={"ann": Usage(80.0, before)}, rules=rules)
    assert used_seconds(snapshot, ["ann"], {}, []) == pytest.approx({"ann": 40.0})


def test_of_many_devices_that_are_not_for_a_job_the_others_are_counted() -> None:
    """Eight are told one by one, of the other three how many they are."""
    drained = {f"GPU-{index}": "dust" for index in range(11)}
    message = run([pending(1, 0)], gpus(11), drained=drained).waits[1].message
    clauses = message.split("; ")
    assert clauses == [
        *(f"GPU {index} is drained: dust" for index in range(8)),
        "3 more are not for it either",
    ]
