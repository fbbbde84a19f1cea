"""What is on the devices that a job could have, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gpujobs.demand import ANYWHERE
from gpujobs.model import Device, DeviceKind, DeviceState, NodeStatus, Reason
from gpujobs.policy.devices.occupancy import label
from gpujobs.policy.devices.plan import Plan
from gpujobs.policy.devices.reservations import ReservationWindow, blocking_window
from gpujobs.policy.inputs.decision import PendingReason
from gpujobs.policy.inputs.request import Request
from gpujobs.policy.inputs.snapshot import Snapshot
from gpujobs.policy.inputs.text import SHOWN, gib, instant, listing

NODE_REASONS = {
    NodeStatus.DRIVER_ERROR: Reason.DRIVER_ERROR,
    NodeStatus.STARTING: Reason.NODE_STARTING,
    NodeStatus.DOWN: Reason.NODE_DOWN,
}


def explain(
    request: Request, plans: Sequence[Plan], snapshot: Snapshot, given: dict[str, list[int]]
) -> PendingReason:
    """Why none of `plans`, the devices that the job could have, is for it now. The reason is the most
    actionable of them. `given`: jobs that this decision starts, by UUID."""
    usable = {node.name for node in snapshot.nodes if node.status is NodeStatus.OK}
    here = [plan for plan in plans if plan.view.device.node in usable]
    unfit = [why for node, why in request.place.without if node in usable]
    if not here and unfit:
        return PendingReason(Reason.DEVICE_UNAVAILABLE, "; ".join(unfit))
    if not here:
        return node_trouble(snapshot) or PendingReason(Reason.DEVICE_UNAVAILABLE, _nothing(request))
    busy = [plan for plan in here if plan.jobs]
    rest = [plan for plan in here if not plan.jobs]
    holds = {plan.order: _hold(plan, request, snapshot) for plan in here}
    clauses = [*_busy(busy, given), *_joining(busy, request, holds)]
    clauses += [_clause(plan, holds[plan.order], request) for plan in rest[:SHOWN]]
    if len(rest) > SHOWN:
        clauses.append(f"{len(rest) - SHOWN} more are not for it either")
    clauses += unfit
    states = {plan.view.state for plan in rest}
    if busy:
        reason = Reason.RESOURCES
    elif DeviceState.FOREIGN in states:
        reason = Reason.FOREIGN_PROCESS
    elif any(holds[plan.order] for plan in rest):
        reason = Reason.RESERVED
    else:
        reason = Reason.DEVICE_UNAVAILABLE
    return PendingReason(reason, "; ".join(clauses))


def node_trouble(snapshot: Snapshot) -> PendingReason | None:
    for status, reason in NODE_REASONS.items():
        for node in snapshot.nodes:
            if node.status is status:
                return PendingReason(reason, f"{node.name}: {node.message or status}")
    return None


def _nothing(request: Request) -> str:
    if request.place == ANYWHERE:
        return "no device is known yet"
    return f"there is no {request.place.words} at present"


def _hold(plan: Plan, request: Request, snapshot: Snapshot) -> ReservationWindow | None:
    """The reservation that keeps the job off a device on which it could start otherwise."""
    if not plan.is_shared and plan.view.state not in (DeviceState.FREE, DeviceState.RESERVED):
        return None
    return blocking_window(plan.view.terms, request.user, request.groups, snapshot.now, request.ends_by)


def _busy(plans: Sequence[Plan], given: dict[str, list[int]]) -> Iterator[str]:
    """`GPUs 0 and 1 are used by jobs 17 and 18`, for each node and kind."""
    groups: dict[tuple[str, DeviceKind], list[Plan]] = {}
    for plan in plans:
        groups.setdefault((plan.view.device.node, plan.view.device.kind), []).append(plan)
    several_nodes = len({node for node, _ in groups}) > 1
    for (node, _), members in groups.items():
        jobs = [job for plan in members for job in (*plan.view.jobs, *given.get(plan.view.device.uuid, ()))]
        place = f" of {node}" if several_nodes else ""
        verb = "is" if len(members) == 1 else "are"
        noun = "job" if len(jobs) == 1 else "jobs"
        devices = [plan.view.device for plan in members]
        yield f"{_labels(devices)}{place} {verb} used by {noun} {listing(jobs)}"


def _labels(devices: Sequence[Device]) -> str:
    first = label(devices[0])
    if len(devices) == 1:
        return first
    noun, _, _ = first.rpartition(" ")
    return f"{noun}s {listing([device.index for device in devices])}"


def _joining(
    plans: Sequence[Plan], request: Request, holds: Mapping[int, ReservationWindow | None]
) -> Iterator[str]:
    """Why a job that would share a device joins none of these."""
    need = request.need_bytes
    shared = [plan for plan in plans if plan.is_shared]
    if need is None or not shared:
        return
    roomy = [plan for plan in shared if plan.room >= need]
    for plan in roomy[:SHOWN]:
        name, hold = label(plan.view.device), holds[plan.order]
        if hold is not None:
            yield _reserved(plan, hold, request)
        elif plan.shadow is not None and not plan.is_open_beside_shadow(request):
            yield f"{name} is kept for job {plan.shadow.job}, which is ahead"
        else:
            yield f"{name} has as many jobs as may share it"
    if not roomy:
        most = max(plan.room for plan in shared)
        yield f"it needs {gib(need)} and at most {gib(max(0.0, most))} are left to share"


def _clause(plan: Plan, hold: ReservationWindow | None, request: Request) -> str:
    """Of a device that none of our jobs is on."""
    name = label(plan.view.device)
    if hold is not None:
        return _reserved(plan, hold, request)
    if plan.view.message:
        return plan.view.message
    if request.need_bytes is not None and request.need_bytes > plan.room:
        return f"{name} has {gib(plan.room)} to share, and the job asks for {gib(request.need_bytes)}"
    return f"{name} is free"


def _reserved(plan: Plan, hold: ReservationWindow, request: Request) -> str:
    times = f"from {instant(hold.starts_at)} until {instant(hold.ends_at)}"
    limit = "" if request.demand.time_limit_seconds is not None else ", and the job has no time limit"
    return f"{label(plan.view.device)} is reserved for {plan.view.holder(hold)} {times}{limit}"
