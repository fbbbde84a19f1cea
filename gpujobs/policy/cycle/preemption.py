"""Which running jobs stop so that a waiting one of a higher class can start.

Only preemptible jobs of a lower class stop: as few as are needed, those started last first. What is being
freed already counts as free for the first that needs it.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from gpujobs.policy.cycle.backfill import SOON
from gpujobs.policy.devices.free_index import Pool, Shelf
from gpujobs.policy.devices.plan import Plan, Shadow
from gpujobs.policy.inputs.request import Request
from gpujobs.policy.inputs.snapshot import Allocation


@dataclass(frozen=True, slots=True)
class Way:
    """A device that a job can have once `victims` have stopped; without any, what is needed is on its way."""

    plan: Plan
    victims: tuple[Allocation, ...]

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
        self._coming: Shelf = []
        """(room, order) of devices that are being freed: what of them is not claimed."""
        self.lowest_class: int | None = None
        """Of the jobs that could be stopped; None where there are none."""
        found: list[tuple[float, int]] = []
        for plan in pool.plans:
            if plan.is_yielding:
                found += self._look_at(plan)
        self._latest = {order: latest for latest, order in sorted(found, key=lambda one: (-one[0], one[1]))}
        """The start of the job started last of those that could stop, by the device's order; the last first."""

    def _look_at(self, plan: Plan) -> Iterator[tuple[float, int]]:
        stopping = [one.job for one in plan.view.allocations if one.stopping]
        if stopping:
            self._stopping.update(stopping)
            insort(self._coming, (self._room(plan), plan.order))
        stoppable = [one for one in plan.view.allocations if one.demand.preemptible and not one.stopping]
        if stoppable:
            lowest = min(one.demand.priority for one in stoppable)
            self.lowest_class = lowest if self.lowest_class is None else min(self.lowest_class, lowest)
            yield max(map(_start, stoppable)), plan.order

    def make_way(self, request: Request) -> Way | None:
        """Claims a device for the job, if it can be had by stopping others. The caller stops them."""
        if self.lowest_class is None or request.priority <= self.lowest_class:
            return None
        way = self._way_without_victims(request) or self._way_with_victims(request)
        if way is not None:
            self._claim(way, request)
        return way

    def _claim(self, way: Way, request: Request) -> None:
        plan = way.plan
        before = (self._room(plan), plan.order)
        place = bisect_left(self._coming, before)
        if self._coming[place : place + 1] == [before]:
            del self._coming[place]
        self._stopping.update([one.job for one in way.victims])
        plan.claimed = (*plan.claimed, request)
        room = self._room(plan)
        spare = math.inf if plan.shadow is None else plan.shadow.spare_bytes - plan.held_bytes(request)
        plan.shadow = Shadow(SOON, request.job, min(room, spare))
        if request.is_whole:
            self._latest.pop(plan.order, None)
        else:
            insort(self._coming, (room, plan.order))

    def _way_without_victims(self, request: Request) -> Way | None:
        need = 0 if request.need_bytes is None else request.need_bytes
        for _, order in islice(self._coming, bisect_left(self._coming, (need, -1)), None):
            plan = self._pool.plans[order]
            if self._is_open(plan, request) and self._is_enough(plan, request, self._stopping):
                return Way(plan, ())
        return None

    def _way_with_victims(self, request: Request) -> Way | None:
        best: Way | None = None
        for order, latest in self._latest.items():
            # No way with one victim is better from here on.
            if best is not None and best.rank < (1, -latest, 0):
                break
            plan = self._pool.plans[order]
            if self._is_open(plan, request) and (victims := self._victims(plan, request)):
                way = Way(plan, victims)
                best = way if best is None or way.rank < best.rank else best
        return best

    def _is_open(self, plan: Plan, request: Request) -> bool:
        return (
            plan.is_at(request.place)
            and plan.is_open_beside_shadow(request)
            and self._pool.is_allowed(plan, request)
        )

    def _victims(self, plan: Plan, request: Request) -> tuple[Allocation, ...]:
        """Empty where not even all of them would be enough."""
        gone = {one.job for one in plan.view.allocations if one.job in self._stopping}
        victims: list[Allocation] = []
        for one in self._stoppable(plan, request.priority):
            victims.append(one)
            gone.add(one.job)
            if self._is_enough(plan, request, gone):
                return tuple(self._needed(plan, request, victims, gone))
        return ()

    def _stoppable(self, plan: Plan, priority: int) -> list[Allocation]:
        found = [
            one
            for one in plan.view.allocations
            if one.demand.preemptible and one.demand.priority < priority and one.job not in self._stopping
        ]
        return sorted(found, key=lambda one: (_start(one), one.job), reverse=True)

    def _needed(
        self, plan: Plan, request: Request, victims: list[Allocation], gone: set[int]
    ) -> Iterator[Allocation]:
        """Without those who turned out to be too many, once a bigger one had been added."""
        for one in victims:
            if self._is_enough(plan, request, gone - {one.job}):
                gone.remove(one.job)
            else:
                yield one

    def _is_enough(self, plan: Plan, request: Request, gone: set[int]) -> bool:
        is_empty, room = plan.left_without(gone)
        return is_empty if request.need_bytes is None else request.need_bytes <= room

    def _room(self, plan: Plan) -> float:
        """What is left of the device for another claim, once those who stop have gone."""
        return plan.left_without(self._stopping)[1]


def _start(allocation: Allocation) -> float:
    return -math.inf if allocation.started_at is None else allocation.started_at.timestamp()
