"""Long lists are read beside the event loop, which answers everybody else meanwhile."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager
from typing import TypeVar

from gpujobs.store.reader import Reader

THREADS = 2
"""Of all users together: they compute, and there is one interpreter."""

T = TypeVar("T")


class Moment:
    """The store as it was when this was made; for one reading."""

    def __init__(self, threads: ThreadPoolExecutor, opened: AbstractContextManager[Reader]) -> None:
        self._threads = threads
        self._opened = opened

    async def read(self, work: Callable[[Reader], T]) -> T:
        """What `work` returns, of which nothing may be of the event loop's. Whoever goes away meanwhile leaves the
        thread to its end: a connection is not closed under its feet."""

        def run() -> T:
            with self._opened as store:
                return work(store)

        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._threads, run))


class Apart:
    """One list at a time of each user: whoever asks for many waits for himself."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "lists")
        self._of: defaultdict[int, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(1))

    @asynccontextmanager
    async def moment(self, uid: int, store: Reader) -> AsyncIterator[Moment]:
        """Waits for the turn. What is looked at before anything else is awaited, such as the jobs of the cache, is of
        the same moment as what is read."""
        async with self._of[uid]:
            yield Moment(self._threads, store.frozen())

    async def run(self, work: Callable[[], T]) -> T:
        """For what only computes."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
