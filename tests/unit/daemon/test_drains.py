"""Draining by people and for errors of the hardware, with a real store."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpujobs.daemon.devices.drains import Drains, named
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.writer import StoreWriter
from gpujobs.errors import UsageError
from gpujobs.model import Device, DeviceKind, Node, NodeStatus
from gpujobs.store.store import Store

LOST = "XID 79: the GPU has fallen off the bus (once)"


def gpu(index: int, *errors: str, node: str = "box") -> Device:
    return Device(node, DeviceKind.GPU, index, f"GPU-{node}-{index:04d}", "fake", hardware_errors=errors)


def reading(*devices: Device) -> list[Node]:
    return [Node("box", NodeStatus.OK, "", devices)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "gpujobs.db")


def test_errors_of_the_hardware_drain_until_somebody_resumes(store: Store) -> None:
    drains = Drains(store.devices, StoreWriter(store, JobCache([])))
    drains.observe(reading(gpu(0), gpu(1, LOST)))
    assert drains.reasons == {gpu(1).uuid: LOST}
    drains.observe(reading(gpu(0), gpu(1)))  # it answers again, and stays drained
    assert Drains(store.devices, StoreWriter(store, JobCache([]))).reasons == {gpu(1).uuid: LOST}, (
        "kept by the store"
    )
    drains.resume([gpu(1, LOST)], "root")
    drains.observe(reading(gpu(1, LOST)))
    assert drains.reasons == {}, "whoever resumed it knew of that error"
    again = LOST.replace("once", "2 times")
    drains.observe(reading(gpu(1, again)))
    assert drains.reasons == {gpu(1).uuid: again}
    kinds = [(event.kind, event.actor) for event in store.devices.events(gpu(1).uuid)]
    assert kinds == [("drained", "gpujobs"), ("resumed", "root"), ("drained", "gpujobs")]


def test_a_reason_given_by_people_is_kept(store: Store) -> None:
    drains = Drains(store.devices, StoreWriter(store, JobCache([])))
    drains.drain([gpu(2)], "its fan is loud", "alice")
    drains.observe(reading(gpu(2, LOST)))
    assert drains.reasons == {gpu(2).uuid: "its fan is loud"}


def site(*devices: Device, away: str | None = None) -> list[Node]:
    nodes = [
        Node(name, NodeStatus.OK, "", tuple(one for one in devices if one.node == name))
        for name in dict.fromkeys(one.node for one in devices)
    ]
    return [*nodes, Node(away, NodeStatus.DOWN, "not joined again")] if away else nodes


@pytest.mark.parametrize("name", ["1", "box:1", "GPU-box-0001"])
def test_devices_are_named_by_index_node_or_uuid(name: str) -> None:
    assert named(site(gpu(0), gpu(1)), [name]) == [gpu(1)]


@pytest.mark.parametrize("name", ["box", "box:*"])
def test_the_name_of_a_node_is_all_of_its_devices(name: str) -> None:
    nodes = site(gpu(0), gpu(1), gpu(0, node="other"))
    assert named(nodes, [name]) == [gpu(0), gpu(1)]
    assert named(nodes, ["box:1", name, "other"]) == [gpu(1), gpu(0), gpu(0, node="other")]  # each once


def test_a_node_that_is_called_like_a_number_is_meant_with_a_star() -> None:
    nodes = site(gpu(0), gpu(1), gpu(0, node="1"), gpu(1, node="1"))
    with pytest.raises(UsageError, match="not clear: box:1, 1:1"):
        named(nodes, ["1"])
    assert named(nodes, ["1:*"]) == [gpu(0, node="1"), gpu(1, node="1")]


def test_a_name_that_fits_none_or_several(store: Store) -> None:
    both = [gpu(0), gpu(0, node="other")]
    with pytest.raises(UsageError, match=r"not clear: box:0, other:0"):
        named(site(*both), ["0"])
    assert named(site(*both), ["other:0"]) == [both[1]]
    with pytest.raises(UsageError, match="device 9 does not exist; expected one of 0, 1, or a UUID"):
        named(site(gpu(0), gpu(1)), ["9"])
    with pytest.raises(UsageError, match="not clear"):
        named(site(gpu(0), gpu(1)), ["GPU-box-"])
    with pytest.raises(UsageError, match="device GPU-bo does not exist"):
        named(site(gpu(0)), ["GPU-bo"])  # what is so short names a device by chance
    for wrong in ("third", "third:*", "box:", "*", "box:7", ":*"):
        with pytest.raises(
            UsageError, match="does not exist; expected one of the nodes box and other, NODE:NUMBER"
        ):
            named(site(*both), [wrong])


def test_what_a_node_has_that_is_away_since_the_start_is_not_known() -> None:
    with pytest.raises(
        UsageError, match="what devices gone has is not known at present: it is down: not joined"
    ):
        named(site(gpu(0), away="gone"), ["gone"])
