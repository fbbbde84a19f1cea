"""Which running jobs stop so that a waiting one of a higher class can start.

Only preemptible jobs of a lower class stop: as few as are needed, those started last first. What is being
freed already counts as free for the first that needs it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from gpujobs.policy.backfill import SOON
from gpujobs.policy.plan import Plan, Shadow
from gpujobs.policy.pool import Pool
from gpujobs.policy.request import Request
from gpujobs.policy.snapshot import Allocation


@dataclass(frozen=True, slots=True)
class Way:
    """A device that a job can have once `victims` have stopped; without any, what is needed is on its way."""

    plan: Plan
    victims: tuple[Allocation, ...]
    room: float
    """Bytes for packed jobs, then."""

    @property
    def rank(self) -> tuple[int, float, int]:
        """The best is the smallest: fewest victims, then those started last."""
        return len(self.victims), -min(map(_start, self.victims), default=0.0), self.plan.order


class Preemption:
    """Who could be stopped, in one decision."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._stopping: set[int] = set()
        """Jobs that stop, since before or by this decision."""
        self._plans: list[Plan] = []
        classes: list[int] = []
        for plan in pool.plans:
            if not plan.is_yielding:
                continue
            movable = [one for one in plan.view.allocations if one.preemptible or one.stopping]
            if movable:
                self._plans.append(plan)
                self._stopping.update([one.job for one in movable if one.stopping])
                classes += [one.priority for one in movable if not one.stopping]
        self.lowest_class = min(classes, default=None)
        """Of the jobs that could be stopped; None where there are none."""
        self._plans.sort(key=_cost)

    def make_way(self, request: Request) -> Way | None:
        """Claims a device for the job, if it can be had by stopping others. The caller stops them."""
        if self.lowest_class is None or request.priority <= self.lowest_class:
            return None
        ways = self._ways(request)
        # A whole device needs all of its jobs stopped, so that the first found in this order is the best.
        best = next(ways, None) if request.is_whole else min(ways, key=lambda way: way.rank, default=None)
        if best is not None:
            self._claim(best, request)
        return best

    def _claim(self, way: Way, request: Request) -> None:
        plan = way.plan
        plan.claimed = (*plan.claimed, request)
        room = way.room if plan.shadow is None else min(way.room, plan.shadow.spare_bytes)
        plan.shadow = Shadow(SOON, request.job, room - plan.held_bytes(request))
        self._stopping.update([one.job for one in way.victims])
        if request.is_whole:
            self._plans.remove(plan)

    def _ways(self, request: Request) -> Iterator[Way]:
        for plan in self._plans:
            if not plan.is_asked_for(request) or not plan.is_open_beside_shadow(request):
                continue
            if self._pool.is_allowed(plan, request) and (way := self._way(plan, request)) is not None:
                yield way

    def _way(self, plan: Plan, request: Request) -> Way | None:
        gone = {one.job for one in plan.view.allocations if one.job in self._stopping}
        if gone and self._is_enough(plan, request, gone):
            return self._with(plan, (), gone)
        victims: list[Allocation] = []
        for one in self._stoppable(plan, request.priority):
            victims.append(one)
            gone.add(one.job)
            if self._is_enough(plan, request, gone):
                return self._with(plan, self._spared(plan, request, victims, gone), gone)
        return None

    def _stoppable(self, plan: Plan, priority: int) -> list[Allocation]:
        found = [
            one
            for one in plan.view.allocations
            if one.preemptible and one.priority < priority and one.job not in self._stopping
        ]
        return sorted(found, key=lambda one: (_start(one), one.job), reverse=True)

    def _spared(
        self, plan: Plan, request: Request, victims: list[Allocation], gone: set[int]
    ) -> tuple[Allocation, ...]:
        """Without those who turned out not to be needed, once a bigger one had been added. Changes `gone`."""
        needed = []
        for one in victims:
            gone.remove(one.job)
            if not self._is_enough(plan, request, gone):
                gone.add(one.job)
                needed.append(one)
        return tuple(needed)

    def _is_enough(self, plan: Plan, request: Request, gone: set[int]) -> bool:
        is_empty, room = plan.left_without(gone)
        return is_empty if request.need_bytes is None else request.need_bytes <= room

    def _with(self, plan: Plan, victims: tuple[Allocation, ...], gone: set[int]) -> Way:
        return Way(plan, victims, plan.left_without(gone)[1])


def _start(allocation: Allocation) -> float:
    return -math.inf if allocation.started_at is None else allocation.started_at.timestamp()


def _cost(plan: Plan) -> tuple[int, float, int]:
    """What it takes to empty the device, about: jobs to stop, and how recently they started."""
    left = [one for one in plan.view.allocations if not one.stopping]
    return len(left), -min(map(_start, left), default=0.0), plan.order
