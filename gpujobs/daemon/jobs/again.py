"""What could not be recorded is kept, and tried again until it is: the disk is full, or the store is locked."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator

from gpujobs.errors import StoreError
from gpujobs.store.store import StaleTransitionError

FIRST_SECONDS = 0.5
MAX_SECONDS = 10.0

log = logging.getLogger(__name__)

Step = Callable[[], object]
"""A change that is whole or not at all, so that it may be done again."""


def pauses(first: float = FIRST_SECONDS, most: float = MAX_SECONDS) -> Iterator[float]:
    """Seconds to wait before each further try."""
    while True:
        yield first
        first = min(first * 2, most)


class Again:
    """The steps of a job that have failed, and those that came after them, in their order.

    `on_trouble` is told of each try that fails, why, and None when all is recorded. A step that came too late
    (StaleTransitionError) is handed to `on_stale`, and is done with."""

    def __init__(
        self, *, on_trouble: Callable[[int, str | None], None], on_stale: Callable[[int, str], None]
    ) -> None:
        self._on_trouble = on_trouble
        self._on_stale = on_stale
        self._waiting: dict[int, deque[tuple[str, Step]]] = {}
        self._pauses: dict[int, Iterator[float]] = {}

    def do(self, job: int, what: str, step: Step) -> bool:
        """Now, or as soon as it can be done after what the job still waits for. Whether it is done."""
        waiting = self._waiting.get(job)
        if waiting is not None:
            waiting.append((what, step))
            return False
        if self._try(job, what, step):
            return True
        self._waiting[job] = deque([(what, step)])
        self._pauses[job] = pauses()
        self._later(job)
        return False

    def waits(self, job: int) -> bool:
        return job in self._waiting

    def _later(self, job: int) -> None:
        asyncio.get_running_loop().call_later(next(self._pauses[job]), self._continue, job)

    def _continue(self, job: int) -> None:
        waiting = self._waiting[job]
        while waiting:
            if not self._try(job, *waiting[0]):
                self._later(job)
                return
            waiting.popleft()
        del self._waiting[job], self._pauses[job]
        self._on_trouble(job, None)

    def _try(self, job: int, what: str, step: Step) -> bool:
        try:
            try:
                step()
            except StaleTransitionError as stale:
                log.info("job %d: %s came late: %s", job, what, stale)
                self._on_stale(job, what)
        except Exception as error:  # whatever it is, the event is not to be lost
            surprise = None if isinstance(error, StoreError | OSError) else error
            log.error("job %d: %s is not recorded yet: %s", job, what, error, exc_info=surprise)
            self._on_trouble(job, f"{what} is not recorded yet, and tried again: {error}")
            return False
        return True
