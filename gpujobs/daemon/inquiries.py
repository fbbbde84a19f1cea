"""Attempts whose state is not known: the node is asked, again and again, until it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from gpujobs.daemon.again import pauses
from gpujobs.model import Job

MAX_PAUSE_SECONDS = 30.0


class Inquiries:
    """`ask` is called for an attempt that is asked about, and says whether to ask once more."""

    def __init__(self, ask: Callable[[int, int], Awaitable[bool]]) -> None:
        self._ask = ask
        self._tasks: dict[tuple[int, int], asyncio.Task[None]] = {}

    def begin(self, job: Job, after_seconds: float = 0.0) -> None:
        """Nothing where this attempt is asked about already."""
        key = (job.id, job.attempt)
        if key not in self._tasks:
            task = asyncio.get_running_loop().create_task(self._inquire(key, after_seconds))
            self._tasks[key] = task
            task.add_done_callback(lambda _: self._tasks.pop(key, None))

    async def _inquire(self, key: tuple[int, int], after_seconds: float) -> None:
        between: Iterator[float] = pauses(1.0, MAX_PAUSE_SECONDS)
        await asyncio.sleep(after_seconds)
        while await self._ask(*key):
            await asyncio.sleep(next(between))

    def end(self) -> None:
        for task in self._tasks.values():
            task.cancel()
