"""What holds of every decision, about whatever snapshot."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import astuple, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gpujobs.demand import Demand
from gpujobs.model import Device, DeviceKind, Node, NodeStatus, Process, Reason
from gpujobs.policy import (
    Allocation,
    Queue,
    Reservation,
    Rules,
    Snapshot,
    Usage,
    decide,
)
from gpujobs.policy.inputs.rules import ForeignPolicy, Limits, PackingRules, Shares, UserLimits
from gpujobs.policy.reasons.pending_reasons import PendingReasons

from .box import GIB, NOW, check, later, pending
from .slow import decide_slowly

sizes = st.integers(1, 90).map(lambda gib: gib * GIB)
instants = st.integers(-7200, 7200).map(later)
users = st.sampled_from("abc")
processes = st.builds(Process, st.integers(1, 9), users, st.integers(0, GIB), st.just("python"))


@st.composite
def nodes(draw: Any) -> list[Node]:
    """One or two nodes of GPUs, some of them lost, used by strangers or by somebody who hides."""
    found = []
    for name in ("n", "m")[: draw(st.integers(1, 2))]:
        devices = []
        for index in range(draw(st.integers(0, 4))):
            uuid = f"GPU-{index}" if name == "n" else f"GPU-m{index}"
            used = draw(st.sampled_from([0, 0, 0, GIB // 2, 2 * GIB]))
            fault = draw(st.sampled_from([None, None, None, "is lost"]))
            called = draw(st.sampled_from(["fake", "fake 2"]))
            device = Device(name, DeviceKind.GPU, index, uuid, called, 80 * GIB, used, fault=fault)
            strangers = tuple(draw(st.lists(processes, max_size=1)))
            devices.append(replace(device, processes=strangers))
        found.append(Node(name, draw(st.sampled_from(sorted(NodeStatus))), "", tuple(devices)))
    return found


waiting_jobs = st.lists(
    st.builds(
        pending,
        st.integers(1, 99),
        st.integers(-2, 2),
        requested_gpu=st.sampled_from([None, None, None, 0, 1, 7]),
        node=st.sampled_from([None, None, None, None, "n", "m", "x", ("m", "x"), ("n", "m")]),
        gpu_name=st.sampled_from([None, None, None, None, "fake", "*2", "real"]),
        held=st.sampled_from([False, False, False, True]),
        waits_for=st.sampled_from([(), (), (), (7,)]),
        user=users,
        submitted_at=instants,
        gpu_memory=st.one_of(st.none(), sizes, st.just("auto")),
        estimate_bytes=st.one_of(st.none(), sizes),
        family=st.sampled_from([None, "lstm", "gru"]),
        exclusive=st.sampled_from([False, False, True]),
        preemptible=st.booleans(),
        time_limit_seconds=st.sampled_from([None, 60, 3600, 86400]),
        begin_at=st.one_of(st.none(), st.none(), instants),
    ),
    max_size=25,
    unique_by=lambda job: job.id,
)
rules = st.builds(
    Rules,
    shares=st.builds(
        Shares, st.dictionaries(users, st.floats(0, 5)), st.dictionaries(st.just("g"), st.floats(0, 5))
    ),
    limits=st.builds(
        Limits, users=st.dictionaries(users, st.builds(UserLimits, st.integers(0, 4), st.integers(0, 3)))
    ),
    packing=st.builds(PackingRules, st.sampled_from([0, GIB]), st.just(60.0), st.integers(1, 5)),
    foreign=st.sampled_from(sorted(ForeignPolicy)),
    excluded=st.sets(st.just("GPU-2")).map(frozenset),
)


@st.composite
def snapshots(draw: Any) -> Snapshot:
    box = draw(nodes())
    allocations: list[Allocation] = []
    for device in [device for node in box for device in node.devices if draw(st.booleans())]:
        shares = draw(st.booleans())
        for _ in range(draw(st.integers(1, 3)) if shares else 1):
            reserved = draw(st.integers(1, 20)) * GIB
            allocations.append(
                Allocation(
                    1000 + len(allocations),
                    device.node,
                    device.uuid,
                    draw(st.one_of(st.none(), st.integers(1, 9))),
                    user=draw(users),
                    started_at=later(-draw(st.integers(0, 600))),
                    gpu_memory_bytes=reserved if shares else None,
                    measured_bytes=draw(st.one_of(st.none(), sizes)),
                    demand=Demand(preemptible=draw(st.booleans()), priority=draw(st.integers(-2, 1))),
                    expected_end=draw(st.one_of(st.none(), instants)),
                    stopping=draw(st.sampled_from([False, False, True])),
                )
            )
    uuids = st.sampled_from(["GPU-0", "GPU-1", "GPU-m0"])
    holders = st.sampled_from([{"user": "a"}, {"group": "g"}])
    times = st.tuples(st.integers(-600, 600), st.integers(1, 9999))
    reservations = [
        Reservation(number, uuid, later(begin), later(begin + length), **holder)
        for number, (uuid, (begin, length), holder) in enumerate(
            draw(st.lists(st.tuples(uuids, times, holders), max_size=3))
        )
    ]
    return Snapshot(
        now=NOW,
        waiting=draw(waiting_jobs),
        nodes=box,
        allocations=allocations,
        drained=draw(st.dictionaries(st.just("GPU-1"), st.just("noisy fan"))),
        usage=draw(st.dictionaries(users, st.builds(Usage, st.floats(0, 1e6), instants))),
        rules=draw(rules),
        reservations=reservations,
        groups=draw(st.dictionaries(users, st.just(("g",)))),
        measured=draw(st.dictionaries(st.just("lstm"), sizes)),
    )


def state_of(queue: Queue) -> dict[str, Any]:
    """All that a queue holds, as values that later changes leave alone."""
    return copy.deepcopy(
        {**vars(queue), "users": {user: astuple(jobs) for user, jobs in queue.users.items()}}
    )


@settings(max_examples=50)
@given(snapshots())
def test_a_decision_changes_nothing_of_the_callers(snapshot: Snapshot) -> None:
    """Nor do its reasons when they are asked for: of a queue in which jobs are due, too."""
    queue = Queue(snapshot.waiting)
    given_queue = replace(snapshot, waiting=queue)
    before, others = state_of(queue), copy.deepcopy(snapshot)
    decision = decide(given_queue)
    assert all(wait.message for wait in decision.waits.values())
    assert state_of(queue) == before
    assert snapshot == others
    assert decision == decide(snapshot)


@settings(max_examples=200)
@given(snapshots())
def test_of_every_decision(snapshot: Snapshot) -> None:
    decision = decide(snapshot)
    check(snapshot, decision)
    assert decision == decide(snapshot)
    assert decision == decide(replace(snapshot, waiting=Queue(reversed(list(snapshot.queue())))))
    assert (decision.starts, decision.preemptions) == decide_slowly(snapshot)
    assert decision.next_change_at is None or decision.next_change_at > NOW
    for id, wait in decision.waits.items():
        assert wait.reason is not Reason.NONE and wait.message, id
        assert wait.reason.final_state is None


@settings(max_examples=200)
@given(snapshots())
def test_what_jobs_wait_for_is_counted_as_it_is_told(snapshot: Snapshot) -> None:
    waits = decide(snapshot).waits
    assert isinstance(waits, PendingReasons)
    assert waits.counts() == Counter(wait.reason for wait in waits.values())
