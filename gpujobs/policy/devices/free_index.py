"""The devices of one decision, indexed so that finding one for a job takes no search through all.

For each place that jobs ask for (any device, those of a node, GPUs of a name), devices of equal reservations form a
stock: free ones sorted by their order and by their room, shared ones by their room. A place has few, usually one.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice, takewhile
from operator import attrgetter

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


FEW = 32
"""Devices that are looked at one by one."""

_order = attrgetter("order")


@dataclass(slots=True)
class FreeIndex:
    """The devices of equal reservations."""

    free: list[int] = field(default_factory=list)
    """Orders, sorted."""
    free_by_room: Shelf = field(default_factory=list)
    shared: Shelf = field(default_factory=list)


class Stocks:
    """What can take another job of the devices of one place. Equal reservations refuse the same jobs: whether one is
    allowed is asked once for a stock, not for each device."""

    def __init__(self) -> None:
        self.by_terms: dict[Terms, FreeIndex] = {}
        self._known_largest: tuple[float, bool] | None = None
        """(most room, whether any is free), until the next device is taken."""

    @property
    def largest(self) -> tuple[float, bool]:
        """The most that a packed job could have here, and whether any device is free for one that wants it whole."""
        if self._known_largest is None:
            stocks = self.by_terms.values()
            shelves = [shelf for stock in stocks for shelf in (stock.shared, stock.free_by_room)]
            most = max((shelf[-1][0] for shelf in shelves if shelf), default=0.0)
            self._known_largest = most, any(stock.free for stock in stocks)
        return self._known_largest

    def put(self, plan: Plan) -> None:
        self._known_largest = None
        stock, entry = self.by_terms.setdefault(plan.view.terms, FreeIndex()), (plan.room, plan.order)
        if plan.is_free:  # on two shelves: a whole job takes the first in order, a packed one the tightest
            insort(stock.free, plan.order)
            insort(stock.free_by_room, entry)
        else:
            insort(stock.shared, entry)

    def remove(self, plan: Plan) -> None:
        """Before its room changes, by which it is found on the shelves."""
        self._known_largest = None
        stock, entry = self.by_terms[plan.view.terms], (plan.room, plan.order)
        if plan.is_free:
            del stock.free[bisect_left(stock.free, plan.order)]
            del stock.free_by_room[bisect_left(stock.free_by_room, entry)]
        else:
            del stock.shared[bisect_left(stock.shared, entry)]


class Pool:
    def __init__(self, snapshot: Snapshot, views: Sequence[Occupancy]) -> None:
        self._now = snapshot.now
        self._max_jobs = snapshot.rules.packing.max_jobs
        self._near = snapshot.near if len(snapshot.nodes) > 1 else {}
        usable = {node.name for node in snapshot.nodes if node.status is NodeStatus.OK}
        settled = settled_since(snapshot.now, snapshot.rules.packing)
        self.plans = [
            plan_of(order, view, view.device.node in usable, settled, snapshot.rules)
            for order, view in enumerate(views)
        ]
        self._candidates: dict[Place, Sequence[Plan]] = {ANYWHERE: self.plans}
        """By the places that were asked for so far: a decision changes none of them."""
        self._everywhere = Stocks()
        self._stocks: dict[Place, Stocks] = {}
        """By the places, other than anywhere, for which a device was sought so far."""
        self._narrower: dict[int, list[Stocks]] = {}
        """Those beside `_everywhere` that each device belongs to, by its order."""
        self._own: dict[str, Shelf] = {}
        """Shared devices with jobs of the user on them."""
        self._open: dict[int, Plan] = {}
        """The devices that can take another job, by order."""
        for plan in self.plans:
            self._shelve(plan)

    @cached_property
    def _by_index(self) -> dict[int, list[Plan]]:
        found: dict[int, list[Plan]] = {}
        for plan in self.plans:
            if plan.view.device.kind is DeviceKind.GPU:
                found.setdefault(plan.view.device.index, []).append(plan)
        return found

    @cached_property
    def _by_node(self) -> dict[str, list[Plan]]:
        found: dict[str, list[Plan]] = {}
        for plan in self.plans:
            found.setdefault(plan.view.device.node, []).append(plan)
        return found

    @property
    def has_room(self) -> bool:
        return bool(self._open)

    def most_room(self, place: Place) -> float:
        """The most that a packed job could have of a device of this place."""
        return self._stocks_at(place).largest[0]

    def has_free(self, place: Place) -> bool:
        """Whether any device of this place is free for a job that wants it whole."""
        return self._stocks_at(place).largest[1]

    def candidates(self, place: Place) -> Sequence[Plan]:
        """All devices that a job which asks for this place may get at some time."""
        known = self._candidates.get(place)
        if known is None:
            plans = self._roughly(place)
            is_exact = place == Place(nodes=place.nodes)
            known = plans if is_exact else [plan for plan in plans if plan.is_at(place)]
            self._candidates[place] = known
        return known

    def _roughly(self, place: Place) -> Sequence[Plan]:
        """In their order, without most of those that are not of this place."""
        if len(place.nodes) == 1:
            return self._by_node.get(place.nodes[0], ())
        if place.nodes:
            found = chain.from_iterable(self._by_node.get(node, ()) for node in place.nodes)
            return sorted(found, key=_order)
        return self.plans if place.gpu is None else self._by_index.get(place.gpu, ())

    def _stocks_at(self, place: Place) -> Stocks:
        if place is ANYWHERE:  # asked thousands of times in a decision: spares the hash of a place
            return self._everywhere
        known = self._stocks.get(place)
        if known is None:
            known = self._stocks[place] = Stocks()
            # What is closed now stays so, since a decision only gives.
            for plan in self._open_at(place):
                self._narrower.setdefault(plan.order, []).append(known)
                known.put(plan)
        return known

    def _open_at(self, place: Place) -> list[Plan]:
        if len(self._open) < FEW and not place.nodes:
            return [plan for plan in self._open.values() if plan.is_at(place)]
        return [plan for plan in self.candidates(place) if plan.order in self._open]

    def place(self, request: Request, *, on_own_only: bool = False) -> Plan | None:
        """The device on which the job may start now. `on_own_only`: beside the user's own jobs or nowhere.

        A packed job goes to the user's own shared devices first, then where it leaves least room. Of devices that are
        equally good, one is taken of a node that has the job's data.
        """
        if on_own_only:
            return self._beside_own(request)
        if request.need_bytes is None:
            return self._whole(request)
        return self._beside_own(request) or self._tightest(request)

    def take(self, plan: Plan, request: Request) -> None:
        """The job starts there."""
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
        stocks = self._stocks_at(request.place).by_terms
        return ((terms, stock) for terms, stock in stocks.items() if self._allows(terms, request))

    def _accepts(self, plan: Plan, request: Request) -> bool:
        return (
            plan.fits(request, self._max_jobs)
            and plan.is_at(request.place)
            and self.is_allowed(plan, request)
        )

    def _beside_own(self, request: Request) -> Plan | None:
        found = self._first(self._own.get(request.user, []), request)
        return None if found is None else self.plans[found[2]]

    def _first(self, shelf: Shelf, request: Request) -> tuple[float, bool, int] | None:
        """Of those with enough room, the one with least, that accepts the job: (room, is far, order)."""
        if request.need_bytes is None:
            return None
        start = bisect_left(shelf, (request.need_bytes, -1))  # -1: before the first order of just this room
        entries = islice(shelf, start, None)
        found = next((entry for entry in entries if self._accepts(self.plans[entry[1]], request)), None)
        if found is None:
            return None
        near = self._near.get(request.job)
        if not near or self._is_at_one_of(found[1], near):
            return found[0], False, found[1]
        for room, order in takewhile(lambda entry: entry[0] == found[0], entries):
            if self._is_at_one_of(order, near) and self._accepts(self.plans[order], request):
                return room, False, order
        return found[0], True, found[1]

    def _is_at_one_of(self, order: int, nodes: Container[str]) -> bool:
        return self.plans[order].view.device.node in nodes

    def _whole(self, request: Request) -> Plan | None:
        """The first free device: of those reserved for the user, then of those that are for everybody."""
        best: tuple[bool, bool, bool, int] | None = None
        for terms, stock in self._allowed_stocks(request):
            if stock.free:
                hold = current(terms, self._now)  # allowed, so it is for this user
                # False is first: what is theirs now, then what is nobody's at any time, so that a device that will
                # be somebody's is left to jobs that fit before that and find no other.
                key = (hold is None, bool(terms), *self._nearest(stock.free, request))
                best = key if best is None else min(best, key)
        return None if best is None else self.plans[best[3]]

    def _nearest(self, free: Sequence[int], request: Request) -> tuple[bool, int]:
        """(is far, order) of the first of them whose node has the job's data, else of the first."""
        near = self._near.get(request.job)
        if not near:
            return False, free[0]
        first = next((order for order in free if self._is_at_one_of(order, near)), None)
        return (True, free[0]) if first is None else (False, first)

    def _tightest(self, request: Request) -> Plan | None:
        found = [
            entry
            for _, stock in self._allowed_stocks(request)
            for shelf in (stock.shared, stock.free_by_room)
            if (entry := self._first(shelf, request)) is not None
        ]
        # The least room, then near, then the first in order.
        return self.plans[min(found)[2]] if found else None

    def _shelve(self, plan: Plan) -> None:
        if not self._is_open(plan):
            return
        for stocks in self._stocks_of(plan):
            stocks.put(plan)
        if not plan.is_free:
            for user in plan.users:
                insort(self._own.setdefault(user, []), (plan.room, plan.order))
        self._open[plan.order] = plan

    def _unshelve(self, plan: Plan) -> None:
        for stocks in self._stocks_of(plan):
            stocks.remove(plan)
        if not plan.is_free:
            for user in plan.users:
                del self._own[user][bisect_left(self._own[user], (plan.room, plan.order))]
        del self._open[plan.order]

    def _stocks_of(self, plan: Plan) -> tuple[Stocks, ...]:
        return (self._everywhere, *self._narrower.get(plan.order, ()))

    def _is_open(self, plan: Plan) -> bool:
        """Whether it can take another job."""
        return plan.is_free or (plan.is_shared and plan.room > 0 and plan.jobs < self._max_jobs)
