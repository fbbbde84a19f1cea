"""A job that waits and is ahead gets a shadow on the device that it can have soonest, so that small jobs
behind it do not keep refilling that device. Those which end in time, or fit beside it, still go there.

This is EASY backfilling: D. Lifka, "The ANL/IBM SP Scheduling System", JSSPP 1995, LNCS 949. There is one
shadow for each place that is asked for, and one for the jobs that take any.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from gpujobs.policy.devices.free_index import Pool
from gpujobs.policy.devices.plan import Plan, Shadow
from gpujobs.policy.devices.reservations import blocking_window
from gpujobs.policy.inputs.request import NEVER, Request, after

SOON = datetime.min.replace(tzinfo=UTC)
"""The end of a job that is stopping: before any other."""


def cast_shadow(pool: Pool, request: Request) -> None:
    """Keeps the device that can take the job soonest, if there is one and small jobs could refill any."""
    plans = pool.candidates(request.place)
    if not any(plan.is_shared for plan in plans):
        return
    best: tuple[datetime, int, int] | None = None
    for plan in plans:
        if plan.shadow is None and _can_ever_take(plan, request):
            soonest = (_free_at(plan, request), plan.jobs, plan.order)
            if (best is None or soonest < best) and not _is_reserved(plan, request, soonest[0]):
                best = soonest
    if best is not None:
        at, _, order = best
        pool.plans[order].shadow = Shadow(at, request.job, _spare(pool.plans[order], request, at))


def _can_ever_take(plan: Plan, request: Request) -> bool:
    return plan.is_yielding and (request.need_bytes is None or request.need_bytes <= plan.capacity)


def _free_at(plan: Plan, request: Request) -> datetime:
    """When, as far as is known, the device can take the job."""
    if request.need_bytes is None or not plan.is_shared:
        return max([at for at, _ in _ends(plan)])
    room = plan.room
    at = NEVER
    for at, held in sorted(_ends(plan)):
        room += held
        if room >= request.need_bytes:
            return at
    return at


def _spare(plan: Plan, request: Request, at: datetime) -> float:
    """What will be left then beside the job."""
    if request.need_bytes is None or not plan.is_shared:
        return 0.0
    return plan.room + sum(held for end, held in _ends(plan) if end <= at) - request.need_bytes


def _ends(plan: Plan) -> Iterator[tuple[datetime, float]]:
    """When each job on the device probably ends, and the bytes that it holds."""
    for request in plan.given:
        yield request.expected_end, plan.held_bytes(request)
    for one, planned in zip(plan.view.allocations, plan.memory.planned, strict=True):
        yield SOON if one.stopping else one.expected_end or NEVER, planned


def _is_reserved(plan: Plan, request: Request, at: datetime) -> bool:
    terms = plan.view.terms
    if not terms or at is NEVER:
        return False
    return (
        blocking_window(terms, request.user, request.groups, at, after(at, request.demand.time_limit_seconds))
        is not None
    )
