"""Waiting jobs whose uploaded data is gone: they are held and say so, until the same bytes are uploaded again."""

from __future__ import annotations

import logging

from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.jobs.uploads import Uploads
from gpujobs.model import Job, State
from gpujobs.store.store import DAEMON, Store

BATCH = 200

SHOWN = 10
"""So many of the jobs that wait are named in the log."""

log = logging.getLogger(__name__)


class Lacking:
    def __init__(self, store: Store, board: JobCache, uploads: Uploads) -> None:
        self._store = store
        self._board = board
        self._uploads = uploads

    def look(self) -> None:
        """Holds the jobs that wait and whose data is gone, and lets go those whose data is back, as after a start
        without the spool's file system. What many share is looked at once."""
        for held in [job for job in self._board.jobs.values() if job.held and job.state is State.PENDING]:
            if self._was_held_here(held.id) and self._lack(held) is None:
                self._board.put(self._store.set_held(held.id, False, DAEMON))
        if all(self._uploads.is_here(*one) for one in self._store.uploads.awaited()):
            return
        waiting = [job.id for job in self._board.jobs.values() if job.state is State.PENDING]
        for first in range(0, len(waiting), BATCH):
            with self._store.together():  # one commit for many: each is on the disk before it counts
                for job in waiting[first : first + BATCH]:
                    self._hold_if_lacking(job)
        if self._board.lacking:
            some = ", ".join(map(str, list(self._board.lacking)[:SHOWN]))
            log.warning("%d jobs wait for data that is gone: %s ...", len(self._board.lacking), some)

    def may_start(self, job: int) -> bool:
        """Whether all of its data is here. False, with the job held, where it is not."""
        known = self._board.lacking.get(job)
        message = self._hold_if_lacking(job)
        if message is not None and message != known:
            log.warning("job %d waits: %s", job, message)
        return message is None

    def _hold_if_lacking(self, job: int) -> str | None:
        """What it lacks; None where nothing is missing."""
        current = self._board.jobs.get(job)
        if current is None or (message := self._lack(current)) is None:
            return None
        self._board.lacking[job] = message
        if not current.held:
            self._store.note(job, "warning", message)
            self._board.put(self._store.set_held(job, True, DAEMON))
        return message

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
        for job in [self._board.jobs[number] for number in self._board.lacking if number in self._board.jobs]:
            needs = {one.sha256 for one in self._store.data(job.id)}
            if job.uid == uid and sha256 in needs and self._lack(job) is None:
                del self._board.lacking[job.id]
                if job.held and self._was_held_here(job.id):
                    job = self._store.set_held(job.id, False, DAEMON)
                self._board.put(job)

    def _was_held_here(self, job: int) -> bool:
        """And not by a person as well."""
        kinds = ("held", "released")
        changes = [event for event in self._store.events(job) if event.kind in kinds]
        return bool(changes) and changes[-1].actor == DAEMON
