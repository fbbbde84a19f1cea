"""The waiting jobs in order, kept up to date by whoever changes them, so that a decision sorts nothing."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heappop, heappush
from typing import NamedTuple

from gpujobs.demand import Place
from gpujobs.policy.inputs.pending_job import PendingJob

Line = list[tuple[int, int]]
"""(-priority, id) of jobs of one user, sorted: the order in which they start."""


class Signature(NamedTuple):
    """All in a job that matters for where it may start."""

    place: Place
    memory: tuple[str | None, int | None] | int | None
    """Bytes of a shared device; (family, estimate) where they are found by these; None: a whole device."""
    limit_seconds: float | None
    group: int | None
    """Where that may have only so many running at once."""


@dataclass(slots=True)
class UserJobs:
    """One user's jobs that could start now: all in one line, and those that ask for the same in lines."""

    order: Line = field(default_factory=list)
    lines: dict[Signature, Line] = field(default_factory=dict)

    def add(self, entry: tuple[int, int], kind: Signature) -> None:
        insort(self.order, entry)
        insort(self.lines.setdefault(kind, []), entry)

    def remove(self, entry: tuple[int, int], kind: Signature) -> None:
        del self.order[bisect_left(self.order, entry)]
        line = self.lines[kind]
        del line[bisect_left(line, entry)]
        if not line:
            del self.lines[kind]

    def copy(self) -> UserJobs:
        return UserJobs(self.order.copy(), {kind: line.copy() for kind, line in self.lines.items()})


class Queue:
    """Waiting jobs by user and signature. Held, dependent and not yet begun ones sit apart.

    `add`, `remove` and `replace` make O(log n) comparisons.
    """

    def __init__(self, jobs: Iterable[PendingJob] = ()) -> None:
        self.users: dict[str, UserJobs] = {}
        """Of the users who have any."""
        self.kinds: Counter[Signature] = Counter()
        """How many of the jobs that could start now ask for what."""
        self._jobs: dict[int, PendingJob] = {}
        self._signatures: dict[int, Signature] = {}
        """Of those that could start now, by job: each is made once."""
        self._known: dict[Signature, Signature] = {}
        """Those of `kinds`, so that equal ones are one object: a decision looks thousands of them up, which is
        quick where these are a few places in memory."""
        self._apart: set[int] = set()
        self._begins: list[tuple[datetime, int]] = []
        """A heap of what begins later; what has left the queue or was replaced never is at the top."""
        for job in jobs:
            self.add(job)

    def add(self, job: PendingJob) -> None:
        """Raises ValueError if a job of this id is in the queue."""
        if job.id in self._jobs:
            raise ValueError(f"job {job.id} is in the queue already")
        self._jobs[job.id] = job
        begin_at = job.demand.begin_at
        if job.held or job.waits_for or begin_at is not None:
            self._apart.add(job.id)
        else:
            self._line_up(job)
        if begin_at is not None:
            heappush(self._begins, (begin_at, job.id))

    def remove(self, id: int) -> PendingJob:
        """Raises KeyError if there is no such job."""
        job = self._jobs.pop(id)
        if id in self._apart:
            self._apart.remove(id)
            self._drop_gone()
            return job
        kind = self._signatures.pop(id)
        mine = self.users[job.user]
        mine.remove((-job.demand.priority, id), kind)
        if not mine.order:
            del self.users[job.user]
        self.kinds[kind] -= 1
        if not self.kinds[kind]:
            del self.kinds[kind], self._known[kind]
        return job

    def replace(self, job: PendingJob) -> None:
        """For one that was held or released, whose dependencies ended, whose priority changed."""
        self.remove(job.id)
        self.add(job)

    def advance(self, now: datetime) -> None:
        """Lines up the jobs whose time to begin has come."""
        while self._begins and self._begins[0][0] <= now:
            id = heappop(self._begins)[1]
            job = self._jobs[id]
            if id in self._apart and not job.held and not job.waits_for:
                self._apart.remove(id)
                self._line_up(job)
            self._drop_gone()

    def advanced(self, now: datetime) -> Queue:
        """As `advance`, without a change: a copy where there is something to line up, else the queue itself."""
        if not self._begins or self._begins[0][0] > now:
            return self
        other = self.copy()
        other.advance(now)
        return other

    @property
    def next_begin(self) -> datetime | None:
        """The earliest time to begin that is still to come, as of the latest `advance`."""
        return self._begins[0][0] if self._begins else None

    def copy(self) -> Queue:
        other = Queue()
        other.users = {user: jobs.copy() for user, jobs in self.users.items()}
        other.kinds = self.kinds.copy()
        other._jobs = self._jobs.copy()
        other._signatures = self._signatures.copy()
        other._known = self._known.copy()
        other._apart = self._apart.copy()
        other._begins = self._begins.copy()
        return other

    def is_ready(self, id: int) -> bool:
        """Whether nothing in the job itself keeps it from starting."""
        return id not in self._apart

    def signature_of(self, job: PendingJob) -> Signature:
        """Of a job in the queue."""
        return self._signatures.get(job.id) or signature(job)

    def ready(self) -> Iterator[PendingJob]:
        return (job for job in self._jobs.values() if job.id not in self._apart)

    def apart(self) -> Iterator[PendingJob]:
        """Those that something in themselves keeps from starting."""
        return (self._jobs[id] for id in self._apart)

    @property
    def has_ready(self) -> bool:
        return len(self._apart) < len(self._jobs)

    def __getitem__(self, id: int) -> PendingJob:
        return self._jobs[id]

    def __contains__(self, id: object) -> bool:
        return id in self._jobs

    def __iter__(self) -> Iterator[PendingJob]:
        return iter(self._jobs.values())

    def __len__(self) -> int:
        return len(self._jobs)

    def _drop_gone(self) -> None:
        """What has left the queue, or was replaced, from the top of the heap."""
        while self._begins:
            begin_at, id = self._begins[0]
            if id in self._jobs and self._jobs[id].demand.begin_at == begin_at:
                return
            heappop(self._begins)

    def _line_up(self, job: PendingJob) -> None:
        made = signature(job)
        kind = self._signatures[job.id] = self._known.setdefault(made, made)
        self.users.setdefault(job.user, UserJobs()).add((-job.demand.priority, job.id), kind)
        self.kinds[kind] += 1


def signature(job: PendingJob) -> Signature:
    asked = job.demand
    memory: tuple[str | None, int | None] | int | None
    if asked.exclusive or asked.gpu_memory is None:
        memory = None
    elif asked.gpu_memory == "auto":
        memory = (asked.family, asked.estimate_bytes)
    else:
        memory = asked.gpu_memory
    return Signature(asked.place, memory, asked.time_limit_seconds, job.group)
