"""Who is on a device."""

from __future__ import annotations

import pytest

from gpujobs.model import DeviceState, Process
from gpujobs.policy import Allocation, Reservation, Rules, Snapshot, occupancies, occupancy

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
