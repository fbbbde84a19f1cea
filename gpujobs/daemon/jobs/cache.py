"""The daemon's view of the jobs that have not ended: a cache of the store, and who watches it.

It holds what the store does not need to know: the progress of running jobs and the policy's
latest reasons. All of it can be thrown away and rebuilt.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import Any

from gpujobs.daemon.jobs.lines import Lines
from gpujobs.daemon.jobs.pending_index import PendingIndex
from gpujobs.model import Job, Reason, State
from gpujobs.policy import PendingReason, Queue
from gpujobs.policy.reasons.pending_reasons import PendingReasons

WATCHED_WAITS = 100
"""Of a queue that is watched as a whole: about what fits a screen."""


UNDECIDED = PendingReason(Reason.PRIORITY, "the next decision looks at it")


class Watcher:
    """The ids of jobs that have changed since they were last taken. Never grows beyond them."""

    def __init__(self, ids: frozenset[int] | None) -> None:
        self.ids = ids
        self._changed: dict[int, None] = {}
        self._wake = asyncio.Event()

    def tell(self, job: int) -> None:
        if self.ids is None or job in self.ids:
            self._changed[job] = None
            self._wake.set()

    async def changed(self) -> list[int]:
        await self._wake.wait()
        self._wake.clear()
        ids, self._changed = list(self._changed), {}
        return ids


class JobCache:
    def __init__(self, unfinished: Iterable[Job]) -> None:
        self.jobs: dict[int, Job] = {job.id: job for job in unfinished}
        self.waits: Mapping[int, PendingReason] = {}
        self.progress: dict[int, Mapping[str, Any]] = {}
        self.notices: dict[int, str] = {}
        """Of running jobs: what their owners should know, though nothing is wrong with the job."""
        self.lacking: dict[int, str] = {}
        """Of waiting jobs: which of their data is gone."""
        self.troubles: dict[int, str] = {}
        """What keeps a job's next step from being recorded, or from being known."""
        self.away: dict[str, datetime] = {}
        """Nodes that cannot be reached, since when."""
        self.released: set[int] = set()
        """Jobs whose attempt has ended, which could not be recorded yet: they hold no device any more."""
        self.stopping: set[int] = set()
        """Jobs whose attempt has been asked to end."""
        self._active = {job.id for job in self.jobs.values() if job.state.holds_device}
        self._unfit: dict[str | int, dict[str, str]] = {}
        self._lineup = PendingIndex(self.jobs, self._unfit)
        for job in self.jobs.values():
            self._lineup.put(job)
        self.lines = Lines(self.jobs)
        self.ended: Counter[State] = Counter()
        """How many have ended since this was made, by how."""
        self._coming: Counter[int] = Counter()
        self._watchers: set[Watcher] = set()
        self._told: dict[int, PendingReason] = {}
        """Of the jobs that somebody watches: why they wait, as it was told."""
        self._words: dict[int, PendingReason | None] = {}
        """Why jobs wait, as somebody has asked since the last change: each is made once, however many ask."""
        self._undecided: set[int] = set()
        """Waiting jobs that have come, or have changed, since the policy's latest word."""

    @property
    def queue(self) -> Queue:
        return self._lineup.queue

    def put(self, job: Job) -> None:
        """Takes over what the store has just committed."""
        self._words.clear()
        if job.state.holds_device:
            self._active.add(job.id)
        else:
            self._active.discard(job.id)
            self.released.discard(job.id)
            self.troubles.pop(job.id, None)
            self.stopping.discard(job.id)
            self.notices.pop(job.id, None)
            self.progress.pop(job.id, None)  # the store has the last of an attempt that has ended
        if job.state is not State.PENDING:
            self.lacking.pop(job.id, None)
        if job.state.is_final:
            self._end(job)
        else:
            self.jobs[job.id] = job
            self._lineup.put(job)
            self._undecided.add(job.id)
        self.lines.put(job)
        self.tell(job.id)

    def _end(self, job: Job) -> None:
        if self.jobs.pop(job.id, None) is not None:
            self.ended[job.state] += 1
        self._lineup.put(job)
        dependents = [self.jobs[one] for one in self._lineup.dependents_of(job.id) if one in self.jobs]
        self._lineup.ended(job.id, dependents)

    def set_progress(self, job: int, progress: Mapping[str, Any]) -> None:
        if job in self._active:
            self.progress[job] = progress
            self.tell(job)

    def set_trouble(self, job: int, trouble: str | None) -> None:
        if job not in self.jobs or self.troubles.get(job) == trouble:
            return
        if trouble is None:
            del self.troubles[job]
        else:
            self.troubles[job] = trouble
        self.tell(job)

    def release(self, job: int, attempt: int) -> None:
        """Its trainer has ended: the device is free, though the store does not know yet."""
        current = self.jobs.get(job)
        if current is not None and current.attempt == attempt and current.state.holds_device:
            self.released.add(job)
            self.tell(job)

    def set_notice(self, job: int, notice: str | None) -> None:
        if self.notices.get(job) == notice:
            return
        if notice is None:
            del self.notices[job]
        else:
            self.notices[job] = notice
        self.tell(job)

    def set_away(self, node: str, since: datetime | None) -> None:
        """What runs there is as it was last known; None: it is back."""
        if self.away.get(node) == since:
            return
        if since is None:
            del self.away[node]
        else:
            self.away[node] = since
        for job in self.active():
            if job.current is not None and job.current.node == node:
                self.tell(job.id)

    def away_since(self, job: Job) -> datetime | None:
        """Since when the node is away that a job holds a device of."""
        holds = job.state.holds_device and job.current is not None
        return self.away.get(job.current.node) if holds and job.current is not None else None

    def set_unfit(self, whose: str | int, node: str, why: str | None) -> None:
        """Jobs of this user, or this one, cannot run there; None: they may be tried again."""
        nodes = self._unfit.setdefault(whose, {})
        if why is None:
            nodes.pop(node, None)
        else:
            nodes[node] = why
        for job in self.jobs.values():
            if whose in (job.user, job.id) and job.state is State.PENDING:
                self._lineup.put(job)

    def set_waits(self, waits: Mapping[int, PendingReason]) -> None:
        """The policy's latest word. Those who watch hear of their jobs that wait for something else now; of the
        whole queue, of the first ones: each reason is made only when it is asked for."""
        before, self.waits = self._told, waits
        self._words.clear()
        self._undecided.clear()
        if not self._watchers:
            return
        self._told = {}
        first = [job.id for job in islice(self.queue, WATCHED_WAITS)]
        for watcher in self._watchers:
            for job in first if watcher.ids is None else watcher.ids & self.jobs.keys():
                if job not in self._told and (wait := waits.get(job)) is not None:
                    self._told[job] = wait  # made once, however many watch
                if job in self._told and before.get(job) != self._told[job]:
                    watcher.tell(job)

    def wait_of(self, job: int) -> PendingReason | None:
        """Why it waits. What is not decided yet is not guessed from what was decided about others."""
        if job in self._undecided and job in self.queue and self.queue.is_ready(job):
            return UNDECIDED
        if job not in self._words:
            self._words[job] = self.waits.get(job)
        return self._words[job]

    def waits_by_reason(self) -> Counter[Reason]:
        """How many jobs wait for what, as of the latest decision."""
        if isinstance(self.waits, PendingReasons):
            return self.waits.counts()
        return Counter(wait.reason for id in self.waits if (wait := self.wait_of(id)) is not None)

    def waiting_of(self, uid: int) -> int:
        """How many jobs of a user wait, or are about to."""
        waiting = sum(job.uid == uid and job.state is State.PENDING for job in self.jobs.values())
        return waiting + self._coming[uid]

    @contextmanager
    def coming(self, uid: int, count: int) -> Iterator[Callable[[int], None]]:
        """So many jobs of a user are about to wait, so that what is asked meanwhile counts them. Gives what is to be
        called with the number of those that do."""
        left = count
        self._coming[uid] += count

        def here(some: int) -> None:
            nonlocal left
            left -= some
            self._coming[uid] -= some

        try:
            yield here
        finally:
            here(left)

    def active(self) -> list[Job]:
        """Jobs that hold a device, in the order of their ids."""
        return [self.jobs[id] for id in sorted(self._active)]

    def tell(self, job: int) -> None:
        for watcher in self._watchers:
            watcher.tell(job)

    def watch(self, ids: frozenset[int] | None) -> Watcher:
        watcher = Watcher(ids)
        self._watchers.add(watcher)
        return watcher

    def unwatch(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)

    @property
    def is_watched(self) -> bool:
        return bool(self._watchers)
