"""Who is on a device."""

from __future__ import annotations

import pytest

from gpujobs.model import Device, DeviceKind, DeviceState, Process
from gpujobs.policy import Allocation, Reservation, Rules, Snapshot, occupancies, occupancy
from gpujobs.policy.devices.reservations import ReservationWindow

from .box import GIB, NOW, gpu, gpus, later, node


@pytest.mark.parametrize(
    ("starts", "ends", "state"),
    [(-1, 60, DeviceState.RESERVED), (1, 60, DeviceState.FREE), (-60, 0, DeviceState.FREE)],
)
def test_a_reservation_counts_while_it_lasts(starts: int, ends: int, state: DeviceState) -> None:
    reservation = Reservation(1, "GPU-0", later(starts), later(ends), group="vision")
    (view,) = occupancies(Snapshot(NOW, (), gpus(1), reservations=[reservation]))
    assert view.state is state
    if state is DeviceState.RESERVED:
        assert view.message == "GPU 0 is reserved for group vision until 2026-01-05 12:01 UTC"


def test_what_is_worse_is_said_first() -> None:
    """Lost, busy, drained, foreign, reserved, free: with one thing less each time."""
    stranger = (Process(100, "ann", GIB, "python"),)
    term = (ReservationWindow(later(-1), later(60), "bob", None),)
    ours, said = [Allocation(7, "n", "GPU-0", 7)], "pid 100 of ann"
    found = [
        occupancy(gpu(0, fault="it is lost", processes=stranger), ours, "noisy fan", term, NOW),
        occupancy(gpu(0, processes=stranger), ours, "noisy fan", term, NOW),
        occupancy(gpu(0, processes=stranger), (), "noisy fan", term, NOW),
        occupancy(gpu(0, processes=stranger), (), None, term, NOW),
        occupancy(gpu(0), (), None, term, NOW),
        occupancy(gpu(0), ()),
    ]
    assert [(view.state, view.message.partition(": ")[2] or view.message) for view in found] == [
        (DeviceState.LOST, "it is lost"),
        (DeviceState.BUSY, "GPU 0 is used by job 7"),
        (DeviceState.DRAINED, "noisy fan"),
        (DeviceState.FOREIGN, f"GPU 0 is used by {said}"),
        (DeviceState.RESERVED, "GPU 0 is reserved for bob until 2026-01-05 12:01 UTC"),
        (DeviceState.FREE, ""),
    ]


@pytest.mark.parametrize(
    ("used", "state"), [(GIB, DeviceState.FREE), (GIB + 1, DeviceState.FOREIGN), (None, DeviceState.FREE)]
)
def test_more_in_use_than_an_idle_driver_takes_is_somebody_hidden(
    used: int | None, state: DeviceState
) -> None:
    assert occupancy(gpu(0, memory_used_bytes=used), ()).state is state
    slot = Device("n", DeviceKind.CPU, 0, "CPU-n-0", "x86", memory_used_bytes=used)
    assert occupancy(slot, ()).state is DeviceState.FREE


def test_several_jobs_share_a_device() -> None:
    found = (Process(100, "a", GIB, "trainer"), Process(101, "b", GIB, "trainer"))
    ours = [Allocation(7, "n", "GPU-0", 100), Allocation(8, "n", "GPU-0", 101)]
    view = occupancy(gpu(0, processes=found), ours)
    assert (view.state, view.jobs, view.foreign) == (DeviceState.BUSY, (7, 8), ())
    assert view.message == "GPU 0 is used by jobs 7 and 8"


def test_devices_of_two_nodes_are_told_apart() -> None:
    one, two = node(gpu(0)), node(gpu(0))
    two = type(two)("m", two.status, "", (gpu(0, node="m"),))
    views = occupancies(Snapshot(NOW, (), [one, two], [Allocation(7, "m", "GPU-0")]))
    assert [view.jobs for view in views] == [(), (7,)]


def test_where_names_are_hidden_nobody_is_named() -> None:
    devices = node(gpu(0, processes=(Process(100, "ann", GIB, "python"),)), gpu(1))
    reservation = Reservation(1, "GPU-1", later(-1), later(60), user="ann")
    hiding = Snapshot(NOW, (), [devices], reservations=[reservation], rules=Rules(names_people=False))
    assert [view.message for view in occupancies(hiding)] == [
        "GPU 0 is used by pid 100",
        "GPU 1 is reserved for others until 2026-01-05 12:01 UTC",
    ]
