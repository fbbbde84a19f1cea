"""The jobs that have not ended in the order in which people look at them, kept up to date job by job: a picture of ten
thousand sorts nothing."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from itertools import chain

from gpujobs.model import Job, State
from gpujobs.view.order import Turn, turn


class Lines:
    """`jobs`: those that have not ended, by id, which whoever keeps them changes before `put` is told."""

    def __init__(self, jobs: Mapping[int, Job]) -> None:
        self._jobs = jobs
        self._all: list[Turn] = []
        self._of_user: dict[int, list[Turn]] = {}
        self._known: dict[int, tuple[int, Turn, tuple[str, State]]] = {}
        """By id: whose it is, its place, and as what it is counted."""
        self.by_user_and_state: Counter[tuple[str, State]] = Counter()
        self._groups: dict[int, set[int]] = {}
        self._alone = 0
        for job in sorted(jobs.values(), key=turn):
            self._add(job)

    def put(self, job: Job) -> None:
        if job.id in self._known:
            self._remove(job)
        if job.id in self._jobs:
            self._add(job)

    @property
    def groups(self) -> AbstractSet[int]:
        """Those of which a job has not ended."""
        return self._groups.keys()

    def members(self, group: int) -> list[Job]:
        """Those that have not ended, by their numbers."""
        return [self._jobs[id] for id in sorted(self._groups.get(group, ()))]

    @property
    def rows(self) -> int:
        """So many there are where each group has one."""
        return self._alone + len(self._groups)

    def for_user(self, uid: int) -> Iterator[Job]:
        """All of them, the user's first. Ends where a job comes or goes meanwhile."""
        own = self._of_user.get(uid, [])
        others = (place for place in self._all if self._known[place[-1]][0] != uid)
        return (self._jobs[id] for *_, id in chain(own, others))

    def _add(self, job: Job) -> None:
        place = turn(job)
        counted = job.user, job.state
        self._known[job.id] = job.uid, place, counted
        self.by_user_and_state[counted] += 1
        insort(self._all, place)
        insort(self._of_user.setdefault(job.uid, []), place)
        if job.group_id is None:
            self._alone += 1
        else:
            self._groups.setdefault(job.group_id, set()).add(job.id)

    def _remove(self, job: Job) -> None:
        uid, place, counted = self._known.pop(job.id)
        self.by_user_and_state[counted] -= 1
        if not self.by_user_and_state[counted]:
            del self.by_user_and_state[counted]
        for line in (self._all, self._of_user[uid]):
            del line[bisect_left(line, place)]
        if not self._of_user[uid]:
            del self._of_user[uid]
        if job.group_id is None:
            self._alone -= 1
            return
        members = self._groups[job.group_id]
        members.remove(job.id)
        if not members:
            del self._groups[job.group_id]
