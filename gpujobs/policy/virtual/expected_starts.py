"""When waiting jobs will start: the policy, run forward from now with what is known of the ends of jobs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from gpujobs.model import Device
from gpujobs.policy.devices.memory import settled_since, tally
from gpujobs.policy.devices.occupancy import Occupancy, occupancies
from gpujobs.policy.inputs.pending_job import PendingJob
from gpujobs.policy.inputs.snapshot import Snapshot
from gpujobs.policy.virtual.virtual_time import Engine


@dataclass(frozen=True, slots=True)
class ExpectedRun:
    """`seconds`: how long it is taken to run; None where nobody knows."""

    node: str
    device_uuid: str
    starts_at: datetime
    seconds: float | None


def expected_runs(snapshot: Snapshot, jobs: int = 100) -> dict[int, ExpectedRun]:
    """Of the next `jobs` jobs, by id. A job that is not in it starts at nobody knows when: it is held or further back,
    or it waits for a job or a process whose end is not known.

    A job is taken to run as long as is expected of it, else as long as its time limit allows. Each job costs
    about one decision.
    """
    lengths: dict[int, float | None] = {}

    def seconds(job: PendingJob) -> float | None:
        lengths[job.id] = _seconds(job)
        return lengths[job.id]

    engine = Engine(_without_our_processes(snapshot), seconds)
    found: dict[int, ExpectedRun] = {}
    for step in engine.steps():
        for start in step.started:
            run = ExpectedRun(start.node, start.device_uuid, step.at, lengths.get(start.job))
            found.setdefault(start.job, run)
        if len(found) >= jobs or not engine.queue:
            break
    return found


def _seconds(job: PendingJob) -> float | None:
    return job.demand.time_limit_seconds if job.expected_seconds is None else job.expected_seconds


def _without_our_processes(snapshot: Snapshot) -> Snapshot:
    """With devices on which only others are seen: else a job that has ended would leave its process there."""
    views = {(view.device.node, view.device.uuid): view for view in occupancies(snapshot)}
    nodes = [
        replace(node, devices=tuple(_others(views[node.name, one.uuid], snapshot) for one in node.devices))
        for node in snapshot.nodes
    ]
    allocations = [
        one
        if one.gpu_memory_bytes is None
        else replace(
            one, gpu_memory_bytes=max(one.gpu_memory_bytes, one.measured_bytes or 0), measured_bytes=None
        )
        for one in snapshot.allocations
    ]
    return replace(snapshot, nodes=nodes, allocations=allocations)


def _others(view: Occupancy, snapshot: Snapshot) -> Device:
    if not view.allocations:
        return view.device
    used = tally(view, settled_since(snapshot.now, snapshot.rules.packing)).others_bytes
    return replace(view.device, processes=view.foreign, memory_used_bytes=used)
