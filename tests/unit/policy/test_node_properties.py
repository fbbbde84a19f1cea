"""What holds of every decision about several nodes: constraints, nodes that are away, drained or reserved, one site as
one box, nobody starved by what others may choose and one may not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gpujobs.demand import Demand
from gpujobs.model import Device, DeviceKind, Node, NodeStatus
from gpujobs.policy import Allocation, PendingJob, Reservation, Rules, Snapshot, decide
from gpujobs.policy.virtual.virtual_time import Engine

from .box import GIB, NOW, check, is_allowed, later, pending
from .slow import decide_slowly

NAMES = "abcd"
MODELS = ("NVIDIA H100", "NVIDIA A100")


@st.composite
def sites(draw: Any, *, statuses: tuple[NodeStatus, ...] = tuple(NodeStatus)) -> list[Node]:
    found = []
    for name in NAMES[: draw(st.integers(2, 4))]:
        model, size = draw(st.sampled_from(MODELS)), draw(st.sampled_from([40, 80]))
        devices = [
            Device(name, DeviceKind.GPU, index, f"GPU-{name}{index}", model, size * GIB, 0)
            for index in range(draw(st.integers(0, 3)))
        ]
        found.append(Node(name, draw(st.sampled_from(statuses)), "", tuple(devices)))
    return found


def jobs(*, places: bool = True) -> st.SearchStrategy[list[PendingJob]]:
    named = st.sampled_from([None, None, "a", "b", "z", ("a", "c"), ("b", "z"), ("a", "b", "c", "d")])
    one = st.builds(
        pending,
        st.integers(1, 60),
        st.integers(-1, 1),
        node=named if places else st.none(),
        gpu_name=st.sampled_from([None, None, "h100", "*A100", "V100"]),
        requested_gpu=st.sampled_from([None, None, None, 0, 2]) if places else st.none(),
        user=st.sampled_from("uvw"),
        gpu_memory=st.sampled_from([None, 10 * GIB, 50 * GIB]),
        time_limit_seconds=st.sampled_from([None, 600]),
        preemptible=st.booleans(),
    )
    return st.lists(one, max_size=20, unique_by=lambda job: job.id)


@st.composite
def snapshots(
    draw: Any, *, places: bool = True, statuses: tuple[NodeStatus, ...] = tuple(NodeStatus)
) -> Snapshot:
    site = draw(sites(statuses=statuses))
    devices = [device for node in site for device in node.devices]
    running = [
        Allocation(
            1000 + number, one.node, one.uuid, user=draw(st.sampled_from("uvw")), started_at=later(-600),
            gpu_memory_bytes=draw(st.sampled_from([None, 10 * GIB])), demand=Demand(priority=-1, preemptible=True),
            expected_end=draw(st.sampled_from([None, later(60)])),
        )
        for number, one in enumerate(devices)
        if draw(st.booleans())
    ]  # fmt: skip
    uuids = [device.uuid for device in devices]
    some = st.lists(st.sampled_from(uuids), unique=True, max_size=2) if uuids else st.just([])
    reservations = [
        Reservation(number, uuid, later(begin), later(begin + 3600), user="v")
        for number, (uuid, begin) in enumerate(
            (uuid, draw(st.sampled_from([-60, 300]))) for uuid in draw(some)
        )
    ]
    waiting = draw(jobs(places=places))
    near = {
        job.id: draw(st.sets(st.sampled_from(NAMES), max_size=3)) for job in waiting if draw(st.booleans())
    }
    return Snapshot(
        NOW, waiting, site, running, drained=dict.fromkeys(draw(some), "tested"), reservations=reservations,
        near=near if places else {},
    )  # fmt: skip


@settings(max_examples=80)
@given(snapshots())
def test_no_job_starts_where_it_may_not_and_no_device_is_given_twice(snapshot: Snapshot) -> None:
    decision = decide(snapshot)
    check(snapshot, decision)
    assert (decision.starts, decision.preemptions) == decide_slowly(snapshot)
    by_id = {job.id: job for job in snapshot.queue()}
    devices = {(node.name, one.uuid): (node, one) for node in snapshot.nodes for one in node.devices}
    whole = Counter(one.device_uuid for one in snapshot.allocations if one.gpu_memory_bytes is None)
    shared = {one.device_uuid for one in snapshot.allocations if one.gpu_memory_bytes is not None}
    for start in decision.starts:
        node, device = devices[start.node, start.device_uuid]
        job = by_id[start.job]
        assert is_allowed(job, device)
        assert node.status is NodeStatus.OK and device.uuid not in snapshot.drained
        # All reservations begin before a job could have ended that starts now.
        assert job.user == "v" or device.uuid not in {one.device_uuid for one in snapshot.reservations}
        if start.gpu_memory_bytes is None:
            whole[device.uuid] += 1
        else:
            shared.add(device.uuid)
    assert all(count == 1 for count in whole.values())
    assert not whole.keys() & shared


@settings(max_examples=50)
@given(snapshots(places=False, statuses=(NodeStatus.OK,)))
def test_a_site_whose_jobs_name_no_node_decides_as_one_box_of_the_same_devices(snapshot: Snapshot) -> None:
    """Also what each job waits for, but for the names of nodes in the words."""
    devices = [device for node in snapshot.nodes for device in node.devices]
    numbered = tuple(replace(one, node="n", index=number) for number, one in enumerate(devices))
    box = replace(
        snapshot,
        nodes=[Node("n", NodeStatus.OK, "", numbered)],
        allocations=[replace(one, node="n") for one in snapshot.allocations],
    )
    here, there = decide(box), decide(snapshot)
    assert [replace(one, node="n") for one in there.starts] == list(here.starts)
    assert (there.preemptions, there.next_change_at) == (here.preemptions, here.next_change_at)
    assert {id: wait.reason for id, wait in there.waits.items()} == {
        id: wait.reason for id, wait in here.waits.items()
    }


@settings(max_examples=50)
@given(snapshots(), st.randoms(use_true_random=False))
def test_the_order_in_which_nodes_are_named_and_jobs_come_changes_nothing(
    snapshot: Snapshot, chance: Any
) -> None:
    shuffled = []
    for job in snapshot.queue():
        names = list(job.demand.nodes)
        chance.shuffle(names)
        shuffled.append(replace(job, demand=replace(job.demand, node=tuple(names) or None)))
    assert decide(replace(snapshot, waiting=shuffled[::-1])).starts == decide(snapshot).starts


@settings(max_examples=60)
@given(snapshots())
def test_no_job_is_far_from_its_data_while_an_equal_device_near_it_stays_free(snapshot: Snapshot) -> None:
    snapshot = replace(
        snapshot,
        reservations=(),
        waiting=[
            replace(job, demand=replace(job.demand, gpu_memory=None)) for job in snapshot.queue()
        ],
    )  # fmt: skip
    decision = decide(snapshot)
    taken = {start.device_uuid for start in decision.starts} | {
        one.device_uuid for one in snapshot.allocations
    }
    by_id = {job.id: job for job in snapshot.queue()}
    left = [
        device
        for node in snapshot.nodes
        if node.status is NodeStatus.OK
        for device in node.devices
        if device.uuid not in taken and device.uuid not in snapshot.drained
    ]
    for start in decision.starts:
        near = snapshot.near.get(start.job, ())
        if near and start.node not in near:
            assert not [one for one in left if one.node in near and is_allowed(by_id[start.job], one)]


@settings(max_examples=10)
@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(20, 120),
    st.sampled_from([None, 50 * GIB]),
    st.sampled_from(
        [{"node": "b"}, {"gpu_name": "A100"}, {"node": ("b", "z")}, {"node": "b", "requested_gpu": 0}]
    ),
)
def test_who_may_run_in_one_place_only_is_not_starved_by_who_may_run_anywhere(
    here: int, there: int, every: int, memory: int | None, asked: dict[str, Any]
) -> None:
    """Small jobs for any device come again and again. One that comes in the middle of them, and can run on node b
    alone, starts at the latest when all that was there before it has ended."""
    site = [
        Node(name, NodeStatus.OK, "", tuple(
            Device(name, DeviceKind.GPU, index, f"GPU-{name}{index}", model, 80 * GIB, 0) for index in range(count)
        ))
        for name, model, count in (("a", "H100", here), ("b", "A100", there))
    ]  # fmt: skip
    seconds = 600.0
    small = [
        pending(
            10 + number,
            user="v",
            gpu_memory=30 * GIB,
            time_limit_seconds=seconds,
            submitted_at=later(number * every),
        )
        for number in range(200)
    ]
    lone = pending(
        1, user="u", gpu_memory=memory, submitted_at=later(100 * every), time_limit_seconds=seconds, **asked
    )
    coming = sorted([*small, lone], key=lambda job: (job.submitted_at or NOW, job.id))
    arrivals = [(job.submitted_at, job) for job in coming if job.submitted_at is not None]
    engine = Engine(Snapshot(NOW, (), site, rules=Rules()), lambda _: seconds, arrivals)
    started = {start.job: step.at for step in engine.steps() for start in step.started}
    assert lone.submitted_at is not None
    assert started[1] - lone.submitted_at <= timedelta(seconds=seconds)
