"""So many jobs of a group at once; and why a job waits for others."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gpujobs.model import Device, DeviceKind, Node, NodeStatus, Reason
from gpujobs.policy import Allocation, PendingJob, Snapshot, decide
from gpujobs.policy.virtual.virtual_time import Engine

from .box import pending

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DEVICES = tuple(Device("n", DeviceKind.GPU, i, f"GPU-{i}", "gpu", 8 << 30, 0) for i in range(4))
NODES = [Node("n", NodeStatus.OK, "", DEVICES)]


def member(id: int, at_most: int, group: int = 1, **more: object) -> PendingJob:
    job = pending(id, 0, user="a", submitted_at=NOW, group=group, at_most=at_most)
    return replace(job, **more)  # type: ignore[arg-type]


def holding(job: int, device: int, group: int | None) -> Allocation:
    return Allocation(job, "n", f"GPU-{device}", user="a", started_at=NOW - timedelta(hours=1), group=group)


@pytest.mark.parametrize(("running", "starts"), [(0, [1, 2, 9]), (1, [1, 9]), (2, [9])])
def test_no_more_of_a_group_run_at_once(running: int, starts: list[int]) -> None:
    waiting = [*(member(id, 2) for id in (1, 2, 3, 4)), pending(9, 0, user="a", submitted_at=NOW)]
    held = [holding(100 + n, n, 1) for n in range(running)]
    decision = decide(Snapshot(NOW, waiting, NODES, held))
    assert sorted(start.job for start in decision.starts) == starts
    wait = decision.waits[4]
    assert (wait.reason, wait.message) == (Reason.GROUP_LIMIT, "at most 2 of g1 may run at once (at_most)")


def test_groups_are_counted_apart() -> None:
    waiting = [member(1, 1, 1), member(2, 1, 1), member(3, 1, 3), member(4, 1, 3)]
    decision = decide(Snapshot(NOW, waiting, NODES, [holding(100, 0, None)]))
    assert sorted(start.job for start in decision.starts) == [1, 3]


def test_who_may_not_start_anyway_is_not_ahead() -> None:
    (node,) = NODES
    waiting = [member(1, 1), member(2, 1), pending(3, 0, user="b", submitted_at=NOW, requested_gpu=None)]
    held = [holding(100, 0, 1), *(holding(101 + n, n + 1, None) for n in range(3))]
    decision = decide(Snapshot(NOW, waiting, [node], held))
    assert decision.waits[2].reason is Reason.GROUP_LIMIT
    assert decision.waits[3].reason is Reason.RESOURCES


def test_for_no_more_of_a_group_others_make_way() -> None:
    preemptible = replace(pending(9, 0, user="b").demand, preemptible=True)
    held = [replace(holding(100 + n, n, None), user="b", demand=preemptible) for n in range(4)]
    waiting = [member(id, 2, demand=replace(member(id, 2).demand, priority=5)) for id in (1, 2, 3)]
    decision = decide(Snapshot(NOW, waiting, NODES, held))
    assert sorted(one.for_job for one in decision.preemptions) == [1, 2]
    assert decision.waits[3].reason is Reason.GROUP_LIMIT


def test_the_forecast_keeps_to_it() -> None:
    jobs = [member(id, 2) for id in range(1, 7)]
    engine = Engine(Snapshot(NOW, jobs, NODES), lambda _: 60.0)
    most = max(len(engine.running) for _ in engine.steps())
    assert most == 2 and len(engine.queue) == 0


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ((), "waits for the end of jobs 7 and 8"),
        ((7, 8), "waits for the end of jobs 7 and 8, and starts only after a failure"),
        ((8,), "waits for the end of jobs 7 and 8, and starts only if 8 has failed"),
    ],
)
def test_a_job_says_what_it_waits_for(failure: tuple[int, ...], message: str) -> None:
    job = pending(9, 0, user="a", waits_for=(7, 8), waits_for_failure=failure)
    wait = decide(Snapshot(NOW, [job], NODES)).waits[9]
    assert (wait.reason, wait.message) == (Reason.DEPENDENCY, message)
