"""Boxes of GPUs for the policy's tests, and what must hold of every decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from gpujobs.demand import Demand
from gpujobs.model import Device, DeviceKind, DeviceState, Node, NodeStatus, Reason
from gpujobs.policy import Allocation, Decision, Occupancy, PendingJob, Snapshot, decide, occupancies
from gpujobs.policy.devices.memory import need_bytes
from gpujobs.policy.inputs.queue import signature
from gpujobs.policy.inputs.rules import ForeignPolicy
from gpujobs.policy.users.limits import limits_of

UNREADY = {Reason.HELD, Reason.DEPENDENCY, Reason.BEGIN_TIME, Reason.USER_LIMIT}
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
GIB = 1 << 30


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def gpu(index: int, **values: Any) -> Device:
    return replace(Device("n", DeviceKind.GPU, index, f"GPU-{index}", "fake", 80 * GIB, 0), **values)


def node(*devices: Device, status: NodeStatus = NodeStatus.OK, message: str = "") -> Node:
    return Node("n", status, message, devices)


def gpus(count: int) -> list[Node]:
    return [node(*(gpu(index) for index in range(count)))]


def pending(id: int, priority: int = 0, **values: Any) -> PendingJob:
    """A job that waits. `values` are those of a PendingJob, and of its Demand."""
    asked, others = _parted({"priority": priority, **values})
    return PendingJob(id, Demand(**asked), **others)


def asking(job: PendingJob, **values: Any) -> PendingJob:
    """The same job with other values, as for `pending`."""
    asked, others = _parted(values)
    return replace(job, demand=replace(job.demand, **asked), **others)


def _parted(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a Demand has of them, and the others."""
    names = {field.name for field in fields(Demand)}
    asked = {name: value for name, value in values.items() if name in names}
    return asked, {name: value for name, value in values.items() if name not in names}


def whole(job: int, index: int, **values: Any) -> Allocation:
    """A job that holds GPU `index`. `values` are those of an Allocation, and of its job's Demand."""
    asked, others = _parted(values)
    return Allocation(
        job, "n", f"GPU-{index}", **{"started_at": later(-3600), **others}, demand=Demand(**asked)
    )


def packed(job: int, index: int, gib: float, **values: Any) -> Allocation:
    """A settled job that shares GPU `index`."""
    return whole(job, index, **{"gpu_memory_bytes": int(gib * GIB), **values})


def run(
    waiting: Sequence[PendingJob],
    nodes: Sequence[Node],
    allocations: Sequence[Allocation] = (),
    **values: Any,
) -> Decision:
    """Decides, and checks the decision."""
    snapshot = Snapshot(NOW, waiting, nodes, allocations, **values)
    decision = decide(snapshot)
    check(snapshot, decision)
    return decision


def started(decision: Decision) -> list[tuple[int, str]]:
    return [(start.job, start.device_uuid) for start in decision.starts]


def check(snapshot: Snapshot, decision: Decision) -> None:
    """Raises AssertionError where a decision breaks a rule that has no exception."""
    waiting = {job.id: job for job in snapshot.queue()}
    starts = {start.job: start for start in decision.starts}
    assert len(starts) == len(decision.starts)
    assert starts.keys() <= waiting.keys()
    assert set(decision.waits) == waiting.keys() - starts.keys()
    for id in starts:
        job = waiting[id]
        assert not job.held and not job.waits_for
        assert job.demand.begin_at is None or job.demand.begin_at <= snapshot.now
    for view in occupancies(snapshot):
        here = [waiting[s.job] for s in decision.starts if s.device_uuid == view.device.uuid]
        if here:
            _check_device(snapshot, view, here, starts)
    _check_limits(snapshot, waiting, decision)
    _check_preemptions(snapshot, waiting, decision)
    _check_nothing_is_idle(snapshot, decision)


def _check_device(
    snapshot: Snapshot, view: Occupancy, new: list[PendingJob], starts: Mapping[int, Any]
) -> None:
    device, rules = view.device, snapshot.rules
    usable = {one.name for one in snapshot.nodes if one.status is NodeStatus.OK}
    assert device.node in usable and device.fault is None
    assert device.uuid not in snapshot.drained and device.uuid not in rules.excluded
    if rules.foreign is not ForeignPolicy.IGNORE:
        assert view.state is not DeviceState.FOREIGN and not view.foreign
    reserved = [one.gpu_memory_bytes for one in view.allocations]
    reserved += [starts[job.id].gpu_memory_bytes for job in new]
    if None in reserved:
        assert len(reserved) == 1, f"{device.uuid} is held whole and not alone: {reserved}"
    else:
        assert len(reserved) <= rules.packing.max_jobs
        _check_memory(snapshot, view, new)
    for job in new:
        assert is_allowed(job, device)
        _check_reservations(snapshot, device.uuid, job)


def is_allowed(job: PendingJob, device: Device) -> bool:
    """By what the job asks for, said in other words than the policy's."""
    asked = job.demand
    nodes = {asked.node} if isinstance(asked.node, str) else set(asked.node or [device.node])
    if device.node not in nodes or device.node in dict(asked.without):
        return False
    if device.kind is not DeviceKind.GPU:
        return asked.requested_gpu is None and asked.gpu_name is None
    name, pattern = device.name.lower(), (asked.gpu_name or "").lower()
    is_named = fnmatchcase(name, pattern) if "*" in pattern or "?" in pattern else pattern in name
    return is_named and asked.requested_gpu in (None, device.index)


def _check_memory(snapshot: Snapshot, view: Occupancy, new: list[PendingJob]) -> None:
    """By the rule itself, not by the code: everything reserved and everything in use stays below the margin."""
    packing, device = snapshot.rules.packing, view.device
    assert device.memory_total_bytes is not None
    used, accounted, planned = device.memory_used_bytes or 0, 0, 0
    for one in view.allocations:
        assert one.gpu_memory_bytes is not None and one.started_at is not None
        measured = one.measured_bytes or 0
        settled = (snapshot.now - one.started_at).total_seconds() >= packing.settle_seconds
        planned += max(one.gpu_memory_bytes, measured) if settled else one.gpu_memory_bytes + measured
        unknown = one.gpu_memory_bytes if settled else 0
        accounted += unknown if one.measured_bytes is None else measured
    for job in new:
        planned += need_bytes(signature(job), snapshot.measured) or 0
    assert planned + max(0, used - accounted) <= device.memory_total_bytes - packing.margin_bytes


def _check_reservations(snapshot: Snapshot, uuid: str, job: PendingJob) -> None:
    for one in snapshot.reservations:
        mine = one.user == job.user or one.group in snapshot.groups.get(job.user, ())
        if one.device_uuid != uuid or mine or one.ends_at <= snapshot.now:
            continue
        assert one.starts_at > snapshot.now, f"job {job.id} started on a device reserved for another"
        limit = job.demand.time_limit_seconds
        assert limit is not None
        assert snapshot.now + timedelta(seconds=limit) <= one.starts_at


def _check_limits(snapshot: Snapshot, waiting: Mapping[int, PendingJob], decision: Decision) -> None:
    held = [(one.user, one.device_uuid) for one in snapshot.allocations]
    for user in {waiting[start.job].user for start in decision.starts}:
        limits = limits_of(user, snapshot.groups.get(user, ()), snapshot.rules.limits)
        mine = [uuid for owner, uuid in held if owner == user]
        mine += [start.device_uuid for start in decision.starts if waiting[start.job].user == user]
        assert limits.max_running is None or len(mine) <= limits.max_running
        assert limits.max_gpus is None or len(set(mine)) <= limits.max_gpus


def _check_preemptions(snapshot: Snapshot, waiting: Mapping[int, PendingJob], decision: Decision) -> None:
    running = {one.job: one for one in snapshot.allocations}
    devices = {(one.name, device.uuid): device for one in snapshot.nodes for device in one.devices}
    starts = {start.job for start in decision.starts}
    victims = [one.job for one in decision.preemptions]
    assert len(set(victims)) == len(victims)
    for one in decision.preemptions:
        victim, job = running[one.job], waiting[one.for_job]
        assert victim.demand.preemptible and not victim.stopping
        assert victim.demand.priority < job.demand.priority
        assert job.id not in starts
        assert is_allowed(job, devices[victim.node, victim.device_uuid])


def _check_nothing_is_idle(snapshot: Snapshot, decision: Decision) -> None:
    """A free device that nobody has reserved is left only to jobs that cannot use it."""
    starts = {start.device_uuid for start in decision.starts}
    kept = {one.device_uuid for one in snapshot.reservations}
    usable = {one.name for one in snapshot.nodes if one.status is NodeStatus.OK}
    waiting = [
        job
        for job in snapshot.queue()
        if job.id in decision.waits and decision.waits[job.id].reason not in UNREADY
    ]
    for view in occupancies(snapshot):
        uuid, device = view.device.uuid, view.device
        if view.state is not DeviceState.FREE or uuid in starts | kept or device.node not in usable:
            continue
        total, margin = device.memory_total_bytes, snapshot.rules.packing.margin_bytes
        room = None if total is None else total - margin - (device.memory_used_bytes or 0)
        for job in waiting:
            need = need_bytes(signature(job), snapshot.measured)
            assert not is_allowed(job, device) or (need and room is not None and need > room)
