"""What found no place in a decision.

A decision only gives, so nothing that asks for as much, for as long and in no higher class finds a place
later in it. This is what makes it enough to look at the heads of lines, and often at few of them.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from functools import cached_property
from typing import NamedTuple

from gpujobs.demand import Place
from gpujobs.policy.devices.memory import need_bytes
from gpujobs.policy.inputs.queue import Queue, Signature
from gpujobs.policy.inputs.request import Request
from gpujobs.policy.inputs.snapshot import Snapshot
from gpujobs.policy.users.accounts import Account


class Kind(NamedTuple):
    """Demands that only differ in how much, and for how long."""

    place: Place
    is_whole: bool


class Point(NamedTuple):
    """How much of a device is asked for, and for how long."""

    bytes: float
    seconds: float


Closed = dict[Signature, int]
"""The highest class in which what a signature asks for was refused."""

Entitlement = frozenset[tuple[str | None, str | None]]
"""The holders of reservations that a user is one of: mostly none. Equal ones see the same devices."""


class ParetoFront:
    """Refused points, without those that ask for more than another: bytes rise and seconds fall."""

    def __init__(self) -> None:
        self._bytes: list[float] = []
        self._seconds: list[float] = []

    def covers(self, point: Point) -> bool:
        """Whether a point was added that asks for no more than this one."""
        place = bisect_right(self._bytes, point.bytes)
        return place > 0 and self._seconds[place - 1] <= point.seconds

    def add(self, point: Point) -> None:
        """One that is not covered."""
        place = end = bisect_right(self._bytes, point.bytes)
        if place and self._bytes[place - 1] == point.bytes:
            place -= 1
        while end < len(self._bytes) and self._seconds[end] >= point.seconds:
            end += 1
        self._bytes[place:end] = [point.bytes]
        self._seconds[place:end] = [point.seconds]


class Unschedulable:
    def __init__(self, snapshot: Snapshot, queue: Queue) -> None:
        self._measured = snapshot.measured
        self._queue = queue
        self._demands: dict[Signature, tuple[Kind, Point]] = {}
        self._holders = {(one.user, one.group) for one in snapshot.reservations}
        self._entitlements: dict[str, Entitlement] = {}
        self._closed: dict[Entitlement, Closed] = {}
        self._frontiers: dict[tuple[Entitlement, Kind], dict[int, ParetoFront]] = {}
        """By class."""
        self.places: set[Place] = set()
        """Where something was refused."""

    def closed_to(self, account: Account) -> Closed:
        """What is refused to the user without looking."""
        return self._closed.setdefault(self._entitlement(account), {})

    def cover(self, request: Request, account: Account) -> bool:
        """Whether something was refused that asked for no more than this does."""
        kind, point = self._demand(request.signature)
        for priority, frontier in self._frontiers.get((self._entitlement(account), kind), {}).items():
            if request.priority <= priority and frontier.covers(point):
                self._close(request, account)
                return True
        return False

    def add(self, request: Request, account: Account, *, whatever_limit: bool) -> None:
        """`whatever_limit`: its time limit had no part in it."""
        kind, point = self._demand(request.signature)
        if whatever_limit:
            point = Point(point.bytes, 0.0)
        by_class = self._frontiers.setdefault((self._entitlement(account), kind), {})
        by_class.setdefault(request.priority, ParetoFront()).add(point)
        self._close(request, account)
        self.places.add(request.place)
        if not self._holders and _is_within(point, self._least.get(kind, point)):
            self._least.pop(kind, None)

    @property
    def cover_all(self) -> bool:
        """Whether nothing in the queue can find a place any more, as far as this is known."""
        return bool(self.places) and not self._least

    @cached_property
    def _least(self) -> dict[Kind, Point]:
        """The least that any job in the queue asks for, of each kind that is not yet refused altogether."""
        least: dict[Kind, Point] = {}
        for signature in self._queue.kinds:
            kind, point = self._demand(signature)
            known = least.get(kind, point)
            least[kind] = Point(min(point.bytes, known.bytes), min(point.seconds, known.seconds))
        return least

    def _demand(self, signature: Signature) -> tuple[Kind, Point]:
        """Kept, since thousands of jobs have few signatures."""
        known = self._demands.get(signature)
        if known is None:
            known = self._demands[signature] = self._new_demand(signature)
        return known

    def _new_demand(self, signature: Signature) -> tuple[Kind, Point]:
        need, limit = need_bytes(signature, self._measured), signature.limit_seconds
        point = Point(math.inf if need is None else need, math.inf if limit is None else limit)
        return Kind(signature.place, need is None), point

    def _close(self, request: Request, account: Account) -> None:
        closed = self.closed_to(account)
        closed[request.signature] = max(closed.get(request.signature, request.priority), request.priority)

    def _entitlement(self, account: Account) -> Entitlement:
        if not self._holders:
            return frozenset()
        found = self._entitlements.get(account.user)
        if found is None:
            groups = account.groups
            found = frozenset((u, g) for u, g in self._holders if u == account.user or g in groups)
            self._entitlements[account.user] = found
        return found


def _is_within(less: Point, more: Point) -> bool:
    return less.bytes <= more.bytes and less.seconds <= more.seconds
