"""Whose turn it is: the next job of each user in a heap, the best score first.

Within one user the order is priority, then submission. Between users it is the score, which falls for a
user with each device that a decision gives. Only the heads of lines are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heapify, heappop, heapreplace
from typing import NamedTuple

from gpujobs.policy.cycle.unschedulable import Unschedulable
from gpujobs.policy.inputs.pending_job import PendingJob
from gpujobs.policy.inputs.queue import Line, Queue, Signature
from gpujobs.policy.users.accounts import Account, Accounts


class Head(NamedTuple):
    """The next job of a line. Ids differ, so that no more than the first two are ever compared."""

    rank: int
    """The priority, negated: the smallest is first."""
    id: int
    place: int
    """In the line."""
    line: Line
    kind: Signature
    """What the jobs of the line ask for."""


class UserTurn(NamedTuple):
    """The next job of a user, by which users come one after the other."""

    rank: float
    """The score, negated."""
    id: int
    user: str


class FairOrder:
    def __init__(
        self,
        queue: Queue,
        accounts: Accounts,
        refusals: Unschedulable,
        is_hopeless: Callable[[Signature], bool],
    ) -> None:
        self._queue = queue
        self._accounts = accounts
        self._refusals = refusals
        self._is_hopeless = is_hopeless
        self._heads: dict[str, list[Head]] = {}
        """A heap for each user whose turn it has been."""
        self._users = [self._turn(user, jobs.order[0][1]) for user, jobs in queue.users.items()]
        """A heap."""
        heapify(self._users)

    def next(self) -> tuple[PendingJob, Account] | None:
        """The job whose turn it is. `served`, `refused` or `leave` says what came of it."""
        while self._users:
            _, id, user = self._users[0]
            account = self._accounts[user]
            heads = self._open(account)
            if heads and heads[0].id == id:
                return self._queue[id], account
            self._requeue()
        return None

    def served(self) -> None:
        """The job has a device, or is going to have one: on to the next in its line."""
        heads = self._heads[self._users[0].user]
        _, _, place, line, kind = heads[0]
        if place + 1 < len(line):
            heapreplace(heads, Head(*line[place + 1], place + 1, line, kind))
        else:
            heappop(heads)
        self._requeue()

    def refused(self) -> None:
        """Neither the job nor any behind it in its line can start."""
        heappop(self._heads[self._users[0].user])
        self._requeue()

    def leave(self) -> None:
        """The user can start nothing more."""
        heappop(self._users)

    def _open(self, account: Account) -> list[Head]:
        """The user's lines, without those that ask for what has been refused."""
        closed = self._refusals.closed_to(account)
        heads = self._heads.get(account.user)
        if heads is None:
            lines = self._queue.users[account.user].lines.items()
            heads = [
                Head(*line[0], 0, line, kind)
                for kind, line in lines
                if closed.get(kind, -math.inf) < -line[0][0] and not self._is_hopeless(kind)
            ]
            heapify(heads)
            self._heads[account.user] = heads
        while heads and closed.get(heads[0].kind, -math.inf) >= -heads[0].rank:
            heappop(heads)
        return heads

    def _requeue(self) -> None:
        user = self._users[0].user
        heads = self._heads[user]
        if heads:
            heapreplace(self._users, self._turn(user, heads[0].id))
        else:
            heappop(self._users)

    def _turn(self, user: str, id: int) -> UserTurn:
        return UserTurn(-self._accounts.score(self._accounts[user], self._queue[id]), id, user)
