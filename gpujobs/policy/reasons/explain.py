"""What is on the devices that a job could have, in words."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from gpujobs.demand import ANYWHERE, Place
from gpujobs.model import Device, DeviceKind, DeviceState, NodeStatus, Reason
from gpujobs.policy.devices.occupancy import label, label_of
from gpujobs.policy.devices.plan import Plan
from gpujobs.policy.devices.reservations import ReservationWindow, blocking_window
from gpujobs.policy.inputs.decision import PendingReason
from gpujobs.policy.inputs.request import Request
from gpujobs.policy.inputs.snapshot import Snapshot
from gpujobs.policy.inputs.text import SHOWN, count, gib, instant, listing

NODE_REASONS = {
    NodeStatus.DRIVER_ERROR: Reason.DRIVER_ERROR,
    NodeStatus.STARTING: Reason.NODE_STARTING,
    NodeStatus.DOWN: Reason.NODE_DOWN,
}

SHOWN_NODES = 4
"""Of a site of many, whose devices or troubles are told one by one."""


def explain(
    request: Request, plans: Sequence[Plan], snapshot: Snapshot, given: dict[str, list[int]]
) -> PendingReason:
    """Why none of `plans`, the devices that the job could have, is for it now. The reason is the most
    actionable of them. `given`: jobs that this decision starts, by UUID."""
    usable = {node.name for node in snapshot.nodes if node.status is NodeStatus.OK}
    here = [plan for plan in plans if plan.view.device.node in usable]
    place, troubles = request.place, node_troubles(request.place, snapshot)
    unfit = _unfit(place, usable)
    if not here and unfit:
        return PendingReason(Reason.DEVICE_UNAVAILABLE, "; ".join(unfit))
    if not here and troubles:
        return _troubled(list(troubles.values()))
    if not here:
        return PendingReason(Reason.DEVICE_UNAVAILABLE, _nothing(request, snapshot))
    called = _Names(len(snapshot.nodes) > 1)
    busy = [plan for plan in here if plan.jobs]
    rest = [plan for plan in here if not plan.jobs]
    holds = {plan.order: _hold(plan, request, snapshot) for plan in here}
    if (never := _never(request, plans, snapshot)) is not None:
        return PendingReason(_reason(busy, rest, holds), never)
    clauses = [*_busy(busy, given, called), *_joining(busy, request, holds, called)]
    clauses += [_clause(plan, holds[plan.order], request, called) for plan in rest[:SHOWN]]
    if len(rest) > SHOWN:
        clauses.append(f"{len(rest) - SHOWN} more are not for it either")
    clauses += unfit
    if troubles:
        clauses.append(f"nothing starts on {listing(list(troubles))} at present")
    return PendingReason(_reason(busy, rest, holds), "; ".join(clauses))


def _never(request: Request, plans: Sequence[Plan], snapshot: Snapshot) -> str | None:
    """That no device could share so much, however free it is. What a job asks for by number was refused when it was
    submitted; what `auto` stands for may have come later."""
    need, totals = request.need_bytes, [plan.view.device.memory_total_bytes for plan in plans]
    most = max(total or 0 for total in totals) - snapshot.rules.packing.margin_bytes
    if need is None or None in totals or need <= most:
        return None
    is_auto = request.demand.gpu_memory == "auto"
    why = " (auto: what earlier jobs like it used, else an estimate)" if is_auto else ""
    return (
        f"its gpu_memory is {gib(need)}{why}, more than any {request.place.words} can share, which is at most "
        f"{gib(most)}; cancel it, and submit it with another gpu_memory or, for a whole device, without"
    )


def reason_of(request: Request, plans: Sequence[Plan], snapshot: Snapshot) -> Reason:
    """That of `explain`, without its words."""
    usable = {node.name for node in snapshot.nodes if node.status is NodeStatus.OK}
    here = [plan for plan in plans if plan.view.device.node in usable]
    if any(plan.jobs for plan in here):
        return Reason.RESOURCES
    if here:
        return _reason((), here, {plan.order: _hold(plan, request, snapshot) for plan in here})
    if not _unfit(request.place, usable):
        for trouble in node_troubles(request.place, snapshot).values():
            return trouble.reason
    return Reason.DEVICE_UNAVAILABLE


def _unfit(place: Place, usable: Container[str]) -> list[str]:
    return [why for node, why in place.without if node in usable and node in (place.nodes or (node,))]


def _reason(
    busy: Sequence[Plan], rest: Sequence[Plan], holds: Mapping[int, ReservationWindow | None]
) -> Reason:
    if busy:
        return Reason.RESOURCES
    if any(plan.view.state is DeviceState.FOREIGN for plan in rest):
        return Reason.FOREIGN_PROCESS
    is_reserved = any(holds[plan.order] for plan in rest)
    return Reason.RESERVED if is_reserved else Reason.DEVICE_UNAVAILABLE


def node_troubles(place: Place, snapshot: Snapshot) -> dict[str, PendingReason]:
    """What is wrong with the nodes on which a job of this place could start, by their name: the most actionable
    first."""
    mine = [node for node in snapshot.nodes if not place.nodes or node.name in place.nodes]
    return {
        node.name: PendingReason(reason, f"{node.name}: {node.message or status}")
        for status, reason in NODE_REASONS.items()
        for node in mine
        if node.status is status
    }


def _troubled(troubles: Sequence[PendingReason]) -> PendingReason:
    said = "; ".join(one.message for one in troubles[:SHOWN_NODES])
    more = len(troubles) - SHOWN_NODES
    return PendingReason(troubles[0].reason, f"{said}; and {count(more, 'node')} more" if more > 0 else said)


def _nothing(request: Request, snapshot: Snapshot) -> str:
    if request.place == ANYWHERE:
        return "no device is known yet"
    nodes = [node.name for node in snapshot.nodes]
    has = f"; there are the nodes {listing(nodes)}" if set(request.place.nodes) - set(nodes) else ""
    return f"there is no {request.place.words} at present{has}"


@dataclass(frozen=True, slots=True)
class _Names:
    """What devices are called: with their node where there are several."""

    several: bool

    def of(self, device: Device) -> str:
        return label_of(device.node if self.several else None, device)


def _hold(plan: Plan, request: Request, snapshot: Snapshot) -> ReservationWindow | None:
    """The reservation that keeps the job off a device on which it could start otherwise."""
    if not plan.is_shared and plan.view.state not in (DeviceState.FREE, DeviceState.RESERVED):
        return None
    return blocking_window(plan.view.terms, request.user, request.groups, snapshot.now, request.ends_by)


def _busy(plans: Sequence[Plan], given: dict[str, list[int]], called: _Names) -> Iterator[str]:
    """`GPUs 0 and 1 are used by jobs 17 and 18`, for each node and kind."""
    groups: dict[tuple[str, DeviceKind], list[Plan]] = {}
    for plan in plans:
        groups.setdefault((plan.view.device.node, plan.view.device.kind), []).append(plan)
    for (node, _), members in islice(groups.items(), SHOWN_NODES):
        jobs = [job for plan in members for job in (*plan.view.jobs, *given.get(plan.view.device.uuid, ()))]
        place = f" of {node}" if called.several else ""
        verb = "is" if len(members) == 1 else "are"
        noun = "job" if len(jobs) == 1 else "jobs"
        devices = [plan.view.device for plan in members]
        yield f"{_labels(devices)}{place} {verb} used by {noun} {listing(jobs)}"
    if len(groups) > SHOWN_NODES:
        rest = list(groups.values())[SHOWN_NODES:]
        yield f"{sum(map(len, rest))} devices of {len(rest)} more nodes are used"


def _labels(devices: Sequence[Device]) -> str:
    first = label(devices[0])
    if len(devices) == 1:
        return first
    noun, _, _ = first.rpartition(" ")
    return f"{noun}s {listing([device.index for device in devices])}"


def _joining(
    plans: Sequence[Plan], request: Request, holds: Mapping[int, ReservationWindow | None], called: _Names
) -> Iterator[str]:
    """Why a job that would share a device joins none of these."""
    need = request.need_bytes
    shared = [plan for plan in plans if plan.is_shared]
    if need is None or not shared:
        return
    roomy = [plan for plan in shared if plan.room >= need]
    for plan in roomy[:SHOWN]:
        name, hold = called.of(plan.view.device), holds[plan.order]
        if hold is not None:
            yield _reserved(plan, hold, request, called)
        elif plan.shadow is not None and not plan.is_open_beside_shadow(request):
            yield f"{name} is kept for job {plan.shadow.job}, which is ahead"
        else:
            yield f"{name} has as many jobs as may share it"
    if not roomy:
        most = max(plan.room for plan in shared)
        yield f"it needs {gib(need)} and at most {gib(max(0.0, most))} are left to share"


def _clause(plan: Plan, hold: ReservationWindow | None, request: Request, called: _Names) -> str:
    """Of a device that none of our jobs is on."""
    name = called.of(plan.view.device)
    if hold is not None:
        return _reserved(plan, hold, request, called)
    if said := plan.view.in_words(name):
        return said
    if request.need_bytes is not None and request.need_bytes > plan.room:
        return f"{name} has {gib(plan.room)} to share, and the job asks for {gib(request.need_bytes)}"
    return f"{name} is free"


def _reserved(plan: Plan, hold: ReservationWindow, request: Request, called: _Names) -> str:
    times = f"from {instant(hold.starts_at)} until {instant(hold.ends_at)}"
    limit = "" if request.demand.time_limit_seconds is not None else ", and the job has no time limit"
    return f"{called.of(plan.view.device)} is reserved for {plan.view.holder(hold)} {times}{limit}"
