"""The waiting jobs in order, kept up to date by whoever changes them, so that a decision sorts nothing."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heappop, heappush

from gpujobs.policy.inputs.pending_job import GpuMemory, PendingJob

Line = list[tuple[int, int]]
"""(-priority, id) of jobs of one user, sorted: the order in which they start."""

Signature = tuple[int | None, tuple[str | None, int | None] | int | None, float | None, int | None]
"""All in a job that matters for where it may start: the GPU asked for, the memory, the time limit, and its group
where that may have only so many running at once."""


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
        self._apart: set[int] = set()
        self._begins: list[tuple[datetime, int]] = []
        """A heap; what has left the queue or was replaced is dropped when it comes to the top."""
        for job in jobs:
            self.add(job)

    def add(self, job: PendingJob) -> None:
        """Raises ValueError if a job of this id is in the queue."""
        if job.id in self._jobs:
            raise ValueError(f"job {job.id} is in the queue already")
        self._jobs[job.id] = job
        if job.held or job.waits_for or job.begin_at is not None:
            self._apart.add(job.id)
        else:
            self._line_up(job)
        if job.begin_at is not None:
            heappush(self._begins, (job.begin_at, job.id))

    def remove(self, id: int) -> PendingJob:
        """Raises KeyError if there is no such job."""
        job = self._jobs.pop(id)
        if id in self._apart:
            self._apart.remove(id)
            return job
        kind = signature(job)
        mine = self.users[job.user]
        mine.remove((-job.priority, id), kind)
        if not mine.order:
            del self.users[job.user]
        self.kinds[kind] -= 1
        if not self.kinds[kind]:
            del self.kinds[kind]
        return job

    def replace(self, job: PendingJob) -> None:
        """For one that was held or released, whose dependencies ended, whose priority changed."""
        self.remove(job.id)
        self.add(job)

    def advance(self, now: datetime) -> None:
        """Lines up the jobs whose time to begin has come."""
        while self._begins and self._begins[0][0] <= now:
            begin_at, id = heappop(self._begins)
            job = self._jobs.get(id)
            if job is None or id not in self._apart or job.begin_at != begin_at:
                continue
            if not job.held and not job.waits_for:
                self._apart.remove(id)
                self._line_up(job)

    def is_behind(self, now: datetime) -> bool:
        """Whether `advance` may change it."""
        return bool(self._begins) and self._begins[0][0] <= now

    def next_begin(self, now: datetime) -> datetime | None:
        """The earliest time to begin after `now`."""
        self.advance(now)
        while self._begins:
            begin_at, id = self._begins[0]
            job = self._jobs.get(id)
            if job is not None and job.begin_at == begin_at:
                return begin_at
            heappop(self._begins)
        return None

    def copy(self) -> Queue:
        other = Queue()
        other.users = {user: jobs.copy() for user, jobs in self.users.items()}
        other.kinds = self.kinds.copy()
        other._jobs = self._jobs.copy()
        other._apart = self._apart.copy()
        other._begins = self._begins.copy()
        return other

    def is_ready(self, id: int) -> bool:
        """Whether nothing in the job itself keeps it from starting."""
        return id not in self._apart

    def ready(self) -> Iterator[PendingJob]:
        return (job for job in self._jobs.values() if job.id not in self._apart)

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

    def _line_up(self, job: PendingJob) -> None:
        kind = signature(job)
        self.users.setdefault(job.user, UserJobs()).add((-job.priority, job.id), kind)
        self.kinds[kind] += 1


def signature(job: PendingJob) -> Signature:
    memory: tuple[str | None, int | None] | int | None
    if job.exclusive or job.gpu_memory_bytes is None:
        memory = None
    elif isinstance(job.gpu_memory_bytes, GpuMemory):
        memory = (job.family, job.estimate_bytes)
    else:
        memory = job.gpu_memory_bytes
    return job.requested_gpu, memory, job.time_limit_seconds, job.group
