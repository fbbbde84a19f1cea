"""Attempts whose state is not known: the node is asked, again and again, until it is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from gpujobs.daemon.jobs.again import pauses
from gpujobs.model import Job

MAX_PAUSE_SECONDS = 30.0


class Inquiries:
    """`ask` is called for an attempt that is asked about, and says whether to ask once more."""

    def __init__(self, ask: Callable[[int, int], Awaitable[bool]]) -> None:
        self._ask = ask
        self._tasks: dict[tuple[int, int], tuple[asyncio.Task[None], asyncio.Event]] = {}

    def begin(self, job: Job, after_seconds: float = 0.0) -> None:
        """One that is asked about already is asked about at once where nothing is to be waited for."""
        key = (job.id, job.attempt)
        if key not in self._tasks:
            hurry = asyncio.Event()
            task = asyncio.get_running_loop().create_task(self._inquire(key, after_seconds, hurry))
            self._tasks[key] = (task, hurry)
            task.add_done_callback(lambda _: self._tasks.pop(key, None))
        elif not after_seconds:
            self._tasks[key][1].set()

    async def _inquire(self, key: tuple[int, int], after_seconds: float, hurry: asyncio.Event) -> None:
        between = pauses(1.0, MAX_PAUSE_SECONDS)
        await _wait(hurry, after_seconds)
        while await self._ask(*key):
            await _wait(hurry, next(between))

    def end(self) -> None:
        for task, _ in self._tasks.values():
            task.cancel()


async def _wait(hurry: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(hurry.wait(), seconds)
    hurry.clear()
