"""Waiting jobs whose uploaded data is gone: they are held and say so, until the same bytes are uploaded again."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.jobs.uploads import Uploads
from gpujobs.daemon.writer import StoreWriter
from gpujobs.model import Job, State
from gpujobs.store.store import DAEMON, Store

BATCH = 200

SHOWN = 10
"""So many of the jobs that wait are named in the log."""

log = logging.getLogger(__name__)


class Lacking:
    def __init__(self, store: Store, writer: StoreWriter, cache: JobCache, uploads: Uploads) -> None:
        self._store = store
        self._writer = writer
        self._cache = cache
        self._uploads = uploads

    def look(self) -> None:
        """Holds the jobs that wait and whose data is gone, and lets go those whose data is back, as after a start
        without the spool's file system. What many share is looked at once."""
        for held in [job for job in self._cache.jobs.values() if job.held and job.state is State.PENDING]:
            if self._was_held_here(held.id) and self._lack(held) is None:
                self._release(held.id)
        if all(self._uploads.is_here(*one) for one in self._store.uploads.awaited()):
            return
        waiting = [job.id for job in self._cache.jobs.values() if job.state is State.PENDING]
        for first in range(0, len(waiting), BATCH):
            self._hold_lacking(waiting[first : first + BATCH])
        if self._cache.lacking:
            some = ", ".join(map(str, list(self._cache.lacking)[:SHOWN]))
            log.warning("%d jobs wait for data that is gone: %s ...", len(self._cache.lacking), some)

    def may_start(self, job: int) -> bool:
        """Whether all of its data is here. False, with the job held, where it is not."""
        known = self._cache.lacking.get(job)
        self._hold_lacking([job])
        message = self._cache.lacking.get(job)
        if message is not None and message != known:
            log.warning("job %d waits: %s", job, message)
        return message is None

    def _hold_lacking(self, numbers: Sequence[int]) -> None:
        """Takes note of what each of them lacks. Those that lack something are held, all in one commit: a disk takes
        one where it takes a hundred."""
        jobs = [self._cache.jobs[number] for number in numbers if number in self._cache.jobs]
        lacks = [(job, lack) for job in jobs if (lack := self._lack(job)) is not None]
        for job in jobs:
            self._cache.lacking.pop(job.id, None)
        self._cache.lacking |= {job.id: lack for job, lack in lacks}
        free = {job.id: lack for job, lack in lacks if not job.held}
        if free:
            self._writer.jobs(lambda store: [_held(store, job, lack) for job, lack in free.items()])

    def _lack(self, job: Job) -> str | None:
        for one in self._store.data(job.id):
            if one.in_place is None and not self._uploads.is_here(job.uid, one.sha256, one.bytes):
                return (
                    f"its data file {one.path} is no longer in the spool, or not whole; it starts when the file is "
                    "uploaded again: submit it once more"
                )
        return None

    def arrived(self, uid: int, sha256: str) -> None:
        """Data is here: those that were held for it alone go on."""
        for job in [self._cache.jobs[number] for number in self._cache.lacking if number in self._cache.jobs]:
            needs = {one.sha256 for one in self._store.data(job.id)}
            if job.uid == uid and sha256 in needs and self._lack(job) is None:
                del self._cache.lacking[job.id]
                if job.held and self._was_held_here(job.id):
                    self._release(job.id)
                else:
                    self._cache.put(job)

    def _release(self, job: int) -> None:
        self._writer.job(lambda store: store.set_held(job, False, DAEMON))

    def _was_held_here(self, job: int) -> bool:
        """And not by a person as well."""
        kinds = ("held", "released")
        changes = [event for event in self._store.events(job) if event.kind in kinds]
        return bool(changes) and changes[-1].actor == DAEMON


def _held(store: Store, job: int, lack: str) -> Job:
    store.note(job, "warning", lack)
    return store.set_held(job, True, DAEMON)
