"""Work that goes on beside what has begun it, and ends with the daemon."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any
from weakref import WeakValueDictionary

log = logging.getLogger(__name__)


class Tasks:
    """asyncio keeps no task alive that nobody holds, and says nothing of one that fails: both happen here."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def later(self, seconds: float, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        asyncio.get_running_loop().call_later(seconds, lambda: self.spawn(work()))

    def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a task of the daemon failed", exc_info=task.exception())


class Locks:
    """One for each job, there for as long as somebody holds it or waits for it. Where it is forgotten with the end of
    the work, a newcomer is let in beside whoever has waited."""

    def __init__(self) -> None:
        self._of: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    def of(self, job: int) -> asyncio.Lock:
        return self._of.setdefault(job, asyncio.Lock())

    def __len__(self) -> int:
        return len(self._of)
