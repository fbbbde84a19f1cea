"""The daemon's view of the jobs that have not ended: a cache of the store, and who watches it.

It holds what the store does not need to know: the progress of running jobs and the policy's
latest reasons. All of it can be thrown away and rebuilt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from gpujobs.daemon.identity import may_act_on
from gpujobs.daemon.wire import job_json
from gpujobs.model import Caller, Job, State
from gpujobs.policy import Allocation, Wait, WaitingJob


class Watcher:
    """The ids of jobs that have changed since they were last taken. Never grows beyond them."""

    def __init__(self, ids: frozenset[int] | None) -> None:
        self._ids = ids
        self._changed: dict[int, None] = {}
        self._wake = asyncio.Event()

    def tell(self, job: int) -> None:
        if self._ids is None or job in self._ids:
            self._changed[job] = None
            self._wake.set()

    async def changed(self) -> list[int]:
        await self._wake.wait()
        self._wake.clear()
        ids, self._changed = list(self._changed), {}
        return ids


class Board:
    def __init__(self, unfinished: Iterable[Job]) -> None:
        self.jobs: dict[int, Job] = {job.id: job for job in unfinished}
        self.waits: Mapping[int, Wait] = {}
        self.progress: dict[int, Mapping[str, Any]] = {}
        self._watchers: set[Watcher] = set()

    def put(self, job: Job) -> None:
        """Takes over what the store has just committed."""
        if job.state.is_final:
            self.jobs.pop(job.id, None)
            self.progress.pop(job.id, None)
        else:
            self.jobs[job.id] = job
            if job.state is State.PENDING:
                self.progress.pop(job.id, None)
        self.tell(job.id)

    def set_progress(self, job: int, progress: Mapping[str, Any]) -> None:
        if job in self.jobs:
            self.progress[job] = progress
            self.tell(job)

    def set_waits(self, waits: Mapping[int, Wait]) -> None:
        """Watchers hear of a job whose reason is another one, not of each job that moved up."""
        before = self.waits
        self.waits = waits
        if not self._watchers:
            return
        for job, wait in waits.items():
            earlier = before.get(job)
            if earlier is None or earlier.reason is not wait.reason:
                self.tell(job)

    def json(self, job: Job, caller: Caller) -> dict[str, Any]:
        """As `caller` is to see it."""
        wait, progress = self.waits.get(job.id), self.progress.get(job.id)
        return job_json(job, wait, progress, shows_sweep=may_act_on(caller, job))

    def waiting(self) -> list[WaitingJob]:
        """PENDING jobs, with those of their dependencies that have not ended."""
        return [
            WaitingJob(
                job.id,
                job.priority,
                job.requested_gpu,
                job.held,
                tuple(after for after in job.after if after in self.jobs),
            )
            for job in self.jobs.values()
            if job.state is State.PENDING
        ]

    def allocations(self) -> list[Allocation]:
        return [
            Allocation(job.id, job.current.node, job.current.device_uuid, job.current.pid)
            for job in self.jobs.values()
            if job.state.holds_device and job.current
        ]

    def active(self) -> list[Job]:
        """Jobs that hold a device, in the order of their ids."""
        return sorted((j for j in self.jobs.values() if j.state.holds_device), key=lambda j: j.id)

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
