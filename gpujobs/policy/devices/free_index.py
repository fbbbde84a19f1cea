"""The devices of one decision, indexed so that finding one for a job takes no search through all.

Devices of equal reservations form a stock: free ones sorted by their order and by their room, shared ones
by their room. A site has few stocks, usually one.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from gpujobs.demand import ANYWHERE, Place
from gpujobs.model import DeviceKind, NodeStatus
from gpujobs.policy.devices.memory import settled_since
from gpujobs.policy.devices.occupancy import Occupancy
from gpujobs.policy.devices.plan import Plan, plan_of
from gpujobs.policy.devices.reservations import Terms, blocking_window, current
from gpujobs.policy.inputs.request import Request
from gpujobs.policy.inputs.snapshot import Snapshot

Shelf = list[tuple[float, int]]
"""(room, order) of devices, sorted."""


@dataclass(slots=True)
class FreeIndex:
    """The devices of equal reservations."""

    free: list[int] = field(default_factory=list)
    """Orders, sorted."""
    free_by_room: Shelf = field(default_factory=list)
    shared: Shelf = field(default_factory=list)


class Pool:
    def __init__(self, snapshot: Snapshot, views: Sequence[Occupancy]) -> None:
        self._now = snapshot.now
        self._max_jobs = snapshot.rules.packing.max_jobs
        usable = {node.name for node in snapshot.nodes if node.status is NodeStatus.OK}
        settled = settled_since(snapshot.now, snapshot.rules.packing)
        self.plans = [
            plan_of(order, view, view.device.node in usable, settled, snapshot.rules)
            for order, view in enumerate(views)
        ]
        # Equal reservations refuse the same jobs: whether one is allowed is asked once for a stock, not each device.
        self._stocks: dict[Terms, FreeIndex] = {}
        self._by_index: dict[int, list[Plan]] = {}
        self._candidates: dict[Place, Sequence[Plan]] = {ANYWHERE: self.plans}
        """By the places that were asked for so far: a decision changes none of them."""
        self._own: dict[str, Shelf] = {}
        """Shared devices with jobs of the user on them."""
        self._known_largest: tuple[float, bool] | None = None
        """(most room, whether any is free), until the next device is taken."""
        self._open = 0
        """How many devices can take another job."""
        for plan in self.plans:
            if plan.view.device.kind is DeviceKind.GPU:
                self._by_index.setdefault(plan.view.device.index, []).append(plan)
            self._shelve(plan)

    @property
    def has_room(self) -> bool:
        return self._open > 0

    @property
    def most_room(self) -> float:
        """The most that a packed job could have anywhere."""
        return self._largest[0]

    @property
    def has_free(self) -> bool:
        """Whether any device is free for a job that wants it whole."""
        return self._largest[1]

    @property
    def _largest(self) -> tuple[float, bool]:
        if self._known_largest is None:
            shelves = [
                shelf for stock in self._stocks.values() for shelf in (stock.shared, stock.free_by_room)
            ]
            most = max((shelf[-1][0] for shelf in shelves if shelf), default=0.0)
            self._known_largest = most, any(stock.free for stock in self._stocks.values())
        return self._known_largest

    def candidates(self, place: Place) -> Sequence[Plan]:
        """All devices that a job which asks for this place may get at some time."""
        known = self._candidates.get(place)
        if known is None:
            plans = self.plans if place.gpu is None else self._by_index.get(place.gpu, ())
            known = self._candidates[place] = [plan for plan in plans if plan.is_at(place)]
        return known

    def place(self, request: Request, *, on_own_only: bool = False) -> Plan | None:
        """The device on which the job may start now. `on_own_only`: beside the user's own jobs or nowhere.

        A packed job goes to the user's own shared devices first, then where it leaves least room.
        """
        if on_own_only:
            return self._beside_own(request)
        if request.place != ANYWHERE:
            return self._at_its_place(request)
        if request.need_bytes is None:
            return self._whole(request)
        return self._beside_own(request) or self._tightest(request)

    def take(self, plan: Plan, request: Request) -> None:
        """The job starts there."""
        self._known_largest = None
        self._unshelve(plan)  # before its room changes, by which it is found on the shelves
        plan.take(request)
        self._shelve(plan)

    def is_allowed(self, plan: Plan, request: Request) -> bool:
        """By the reservations of the device."""
        return self._allows(plan.view.terms, request)

    def _allows(self, terms: Terms, request: Request) -> bool:
        return (
            not terms
            or blocking_window(terms, request.user, request.groups, self._now, request.ends_by) is None
        )

    def _allowed_stocks(self, request: Request) -> Iterator[tuple[Terms, FreeIndex]]:
        return ((terms, stock) for terms, stock in self._stocks.items() if self._allows(terms, request))

    def _accepts(self, plan: Plan, request: Request) -> bool:
        return (
            plan.fits(request, self._max_jobs)
            and plan.is_at(request.place)
            and self.is_allowed(plan, request)
        )

    def _at_its_place(self, request: Request) -> Plan | None:
        """A device of those that were asked for: with a number, one on each node."""
        # The few devices of a place are searched through: an index for each place would cost more than it saves.
        found = [plan for plan in self.candidates(request.place) if self._accepts(plan, request)]
        return min(found, key=lambda p: (request.user not in p.users, p.room, p.order), default=None)

    def _beside_own(self, request: Request) -> Plan | None:
        entry = self._first(self._own.get(request.user, []), request)
        return None if entry is None else self.plans[entry[1]]

    def _first(self, shelf: Shelf, request: Request) -> tuple[float, int] | None:
        """Of those with enough room, the one with least, that accepts the job."""
        if request.need_bytes is None:
            return None
        start = bisect_left(shelf, (request.need_bytes, -1))  # -1: before the first order of just this room
        return next((e for e in islice(shelf, start, None) if self._accepts(self.plans[e[1]], request)), None)

    def _whole(self, request: Request) -> Plan | None:
        """The first free device: of those reserved for the user, then of those that are for everybody."""
        best: tuple[bool, bool, int] | None = None
        for terms, stock in self._allowed_stocks(request):
            if stock.free:
                hold = current(terms, self._now)  # allowed, so it is for this user
                # False is first: what is theirs now, then what is nobody's at any time, so that a device that will
                # be somebody's is left to jobs that fit before that and find no other.
                key = (hold is None, bool(terms), stock.free[0])
                best = key if best is None else min(best, key)
        return None if best is None else self.plans[best[2]]

    def _tightest(self, request: Request) -> Plan | None:
        found = [
            entry
            for _, stock in self._allowed_stocks(request)
            for shelf in (stock.shared, stock.free_by_room)
            if (entry := self._first(shelf, request)) is not None
        ]
        return self.plans[min(found)[1]] if found else None  # the least room, then the first in order

    def _shelve(self, plan: Plan) -> None:
        entry = (plan.room, plan.order)
        if plan.is_free:  # on two shelves: a whole job takes the first in order, a packed one the tightest
            stock = self._stocks.setdefault(plan.view.terms, FreeIndex())
            insort(stock.free, plan.order)
            insort(stock.free_by_room, entry)
        elif self._takes_more(plan):
            insort(self._stocks.setdefault(plan.view.terms, FreeIndex()).shared, entry)
            for user in plan.users:
                insort(self._own.setdefault(user, []), entry)
        else:
            return
        self._open += 1

    def _unshelve(self, plan: Plan) -> None:
        entry = (plan.room, plan.order)
        stock = self._stocks[plan.view.terms]
        if plan.is_free:
            del stock.free[bisect_left(stock.free, plan.order)]
            del stock.free_by_room[bisect_left(stock.free_by_room, entry)]
        else:
            del stock.shared[bisect_left(stock.shared, entry)]
            for user in plan.users:
                del self._own[user][bisect_left(self._own[user], entry)]
        self._open -= 1

    def _takes_more(self, plan: Plan) -> bool:
        return plan.is_shared and plan.room > 0 and plan.jobs < self._max_jobs
