"""Which job starts where, and why the others wait: a pure function of a snapshot.

No I/O and no clock. The order is priority, then submission. One job per device. A device that a
foreign process uses is left alone. Time grows with n log n in the number of waiting jobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from gpujobs.model import Device, DeviceKind, DeviceState, Node, NodeStatus, Process, Reason

IDLE_MEMORY_BYTES = 1 << 30
"""A GPU with no visible process but more than this in use is not free: container and driver limits
hide processes. An idle data-centre GPU shows up to some hundred MiB of the driver's own."""


@dataclass(frozen=True, slots=True)
class WaitingJob:
    """A PENDING job, as far as the policy cares. `id` grows with the order of submission."""

    id: int
    priority: int
    requested_gpu: int | None = None
    held: bool = False
    waits_for: tuple[int, ...] = ()
    """Jobs that must end first, of those that have not ended."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """A device that one of our jobs holds. `pid` is its trainer's, once it is known."""

    job: int
    node: str
    device_uuid: str
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a decision rests on."""

    now: datetime
    waiting: Sequence[WaitingJob]
    nodes: Sequence[Node]
    allocations: Sequence[Allocation]
    drained: Mapping[str, str] = field(default_factory=dict)
    """UUIDs of devices that start nothing, with the reason."""


@dataclass(frozen=True, slots=True)
class Start:
    job: int
    node: str
    device_uuid: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a job waits; `message` is for people."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    starts: tuple[Start, ...]
    waits: Mapping[int, Wait]


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Who is on a device: our jobs, and processes that are not ours."""

    device: Device
    state: DeviceState
    jobs: tuple[int, ...]
    foreign: tuple[Process, ...]
    message: str
    """What keeps a job off this device, in words; empty when it is free."""


def occupancy(
    device: Device, allocations: Sequence[Allocation], drained: Mapping[str, str] | None = None
) -> Occupancy:
    """`allocations` are those of this device; see `Snapshot.drained`."""
    jobs = tuple(allocation.job for allocation in allocations)
    ours = {allocation.pid for allocation in allocations}
    foreign = tuple(process for process in device.processes if process.pid not in ours)
    state, message = _state_of(device, jobs, foreign, (drained or {}).get(device.uuid))
    return Occupancy(device, state, jobs, foreign, message)


def occupancies(snapshot: Snapshot) -> list[Occupancy]:
    """The occupancy of every device, in the order of nodes and indices."""
    by_device: dict[tuple[str, str], list[Allocation]] = {}
    for allocation in snapshot.allocations:
        by_device.setdefault((allocation.node, allocation.device_uuid), []).append(allocation)
    return [
        occupancy(device, by_device.get((node.name, device.uuid), ()), snapshot.drained)
        for node in snapshot.nodes
        for device in node.devices
    ]


def decide(snapshot: Snapshot) -> Decision:
    """Starts for this moment, and a reason for each job that waits on.

    Gather (who is on which device), order (priority, submission), assign (each job its device).
    """
    views = occupancies(snapshot)
    usable = {node.name for node in snapshot.nodes if node.status is NodeStatus.OK}
    free = [v for v in views if v.state is DeviceState.FREE and v.device.node in usable]
    starts: list[Start] = []
    waits: dict[int, Wait] = {}
    ahead = 0
    shared: Wait | None = None
    for job in sorted(snapshot.waiting, key=lambda job: (-job.priority, job.id)):
        wait = _own_wait(job)
        if wait is not None:
            waits[job.id] = wait
            continue
        chosen = _choose(job, free)
        if chosen is not None:
            free.remove(chosen)
            starts.append(Start(job.id, chosen.device.node, chosen.device.uuid))
            continue
        if job.requested_gpu is not None:
            waits[job.id] = _wait_for_device(snapshot, views, job.requested_gpu, starts)
        elif ahead == 0:
            shared = shared or _wait_for_any(snapshot, views, starts)
            waits[job.id] = shared
        else:
            waits[job.id] = Wait(Reason.PRIORITY, f"{ahead} {'job is' if ahead == 1 else 'jobs are'} ahead")
        ahead += 1
    return Decision(tuple(starts), waits)


def _state_of(
    device: Device, jobs: tuple[int, ...], foreign: tuple[Process, ...], drained: str | None
) -> tuple[DeviceState, str]:
    label = device_label(device)
    if device.fault is not None:
        return DeviceState.LOST, f"{label}: {device.fault}"
    if jobs:
        return DeviceState.BUSY, f"{label} is used by job {', '.join(map(str, jobs))}"
    if drained is not None:
        return DeviceState.DRAINED, f"{label} is drained: {drained}"
    if foreign:
        return DeviceState.FOREIGN, f"{label} is used by {_describe(foreign)}"
    used = device.memory_used_bytes or 0
    if device.kind is DeviceKind.GPU and used > IDLE_MEMORY_BYTES:
        return (
            DeviceState.FOREIGN,
            f"{label} has {used / 2**30:.1f} GiB in use by a process that the driver does not show",
        )
    return DeviceState.FREE, ""


def device_label(device: Device) -> str:
    """How people call a device: `GPU 2`, `CPU slot 0`."""
    return f"{'GPU' if device.kind is DeviceKind.GPU else 'CPU slot'} {device.index}"


def _describe(foreign: tuple[Process, ...]) -> str:
    first = foreign[0]
    owner = f" of {first.user}" if first.user else ""
    more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
    return f"pid {first.pid}{owner}{more}"


def _own_wait(job: WaitingJob) -> Wait | None:
    """A reason that lies in the job itself, whatever is free."""
    if job.held:
        return Wait(Reason.HELD, f"held; `gpujobs release {job.id}` lets it go")
    if job.waits_for:
        listed = ", ".join(map(str, job.waits_for))
        return Wait(Reason.DEPENDENCY, f"waits for the end of job {listed}")
    return None


def _choose(job: WaitingJob, free: list[Occupancy]) -> Occupancy | None:
    for view in free:
        if job.requested_gpu is None or (
            view.device.kind is DeviceKind.GPU and view.device.index == job.requested_gpu
        ):
            return view
    return None


def _wait_for_device(
    snapshot: Snapshot, views: Sequence[Occupancy], index: int, starts: Sequence[Start]
) -> Wait:
    asked = [v for v in views if v.device.kind is DeviceKind.GPU and v.device.index == index]
    if not asked:
        return _node_trouble(snapshot) or Wait(
            Reason.DEVICE_UNAVAILABLE, f"there is no GPU {index} at present"
        )
    return _explain(asked, starts)


def _wait_for_any(snapshot: Snapshot, views: Sequence[Occupancy], starts: Sequence[Start]) -> Wait:
    if not views:
        return _node_trouble(snapshot) or Wait(Reason.DEVICE_UNAVAILABLE, "no device is known yet")
    return _explain(views, starts)


def _node_trouble(snapshot: Snapshot) -> Wait | None:
    reasons = {
        NodeStatus.DRIVER_ERROR: Reason.DRIVER_ERROR,
        NodeStatus.STARTING: Reason.NODE_STARTING,
        NodeStatus.DOWN: Reason.NODE_DOWN,
    }
    for status, reason in reasons.items():
        for node in snapshot.nodes:
            if node.status is status:
                return Wait(reason, f"{node.name}: {node.message or status}")
    return None


def _explain(views: Sequence[Occupancy], starts: Sequence[Start]) -> Wait:
    """Every device with what is on it. The reason is the most actionable of them."""
    taken = {start.device_uuid: start.job for start in starts}
    parts = [
        v.message or f"{device_label(v.device)} is given to job {taken.get(v.device.uuid, '?')}"
        for v in views
    ]
    states = {v.state for v in views}
    if DeviceState.BUSY in states or DeviceState.FREE in states:
        reason = Reason.RESOURCES
    elif DeviceState.FOREIGN in states:
        reason = Reason.FOREIGN_PROCESS
    else:
        reason = Reason.DEVICE_UNAVAILABLE
    return Wait(reason, "; ".join(parts))
