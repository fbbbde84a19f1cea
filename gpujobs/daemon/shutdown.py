"""When the daemon ends: at once, when nothing runs any more, or when nobody needs it."""

from __future__ import annotations

import asyncio

from gpujobs.daemon.dispatch import Dispatcher
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.jobs.service import JobService
from gpujobs.daemon.modes import Mode, StopMode
from gpujobs.daemon.observers import Observers
from gpujobs.daemon.tasks import Tasks
from gpujobs.model import State


class Shutdown:
    """`ended` is set when the daemon is to close."""

    def __init__(
        self,
        mode: Mode,
        cache: JobCache,
        dispatcher: Dispatcher,
        jobs: JobService,
        tasks: Tasks,
        changed: Observers[[]],
    ) -> None:
        self._mode = mode
        self._cache = cache
        self._dispatcher = dispatcher
        self._jobs = jobs
        self._tasks = tasks
        self._changed = changed
        self.ended = asyncio.Event()
        self._stop_when_idle = self._was_told_to_end = False

    def begin(self, mode: StopMode, actor: str) -> list[int]:
        """Returns the jobs that are running. An embedded daemon that others use meanwhile ends when their jobs
        have."""
        self._dispatcher.draining = mode is not StopMode.NOW
        running = self._cache.active()
        if mode is StopMode.CANCEL:
            for job in list(self._cache.jobs.values()):
                if job.state is not State.PENDING:
                    self._tasks.spawn(self._jobs.cancel_one(job, actor))
        elif mode is StopMode.NOW and self._mode is not Mode.EMBEDDED:
            self.ended.set()
        self._stop_when_idle = True
        self._changed.tell()
        return [job.id for job in running]

    def end(self) -> None:
        """At once, as a signal asks for."""
        self._was_told_to_end = True
        self.ended.set()

    def look(self) -> None:
        """Something has changed: nobody may need the daemon any more."""
        if self._stop_when_idle and not self.is_busy():
            self.ended.set()

    @property
    def ends_by_itself(self) -> bool:
        """It ends because nobody needs it any more, not since somebody wants it to."""
        return self._mode is Mode.EMBEDDED and not self._was_told_to_end and not self._dispatcher.draining

    def is_busy(self) -> bool:
        """Whether a stop that waits must wait on."""
        states = {job.state for job in self._cache.jobs.values() if not job.held}
        if self._dispatcher.draining:
            states.discard(State.PENDING)
        return bool(states)
