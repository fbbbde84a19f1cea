"""The one place of the daemon that changes the store.

A change goes three ways, always in this order: it is committed, the cache takes over what was committed, and the
journal tells of it. All other parts of the daemon only read the store; a test holds them to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.patience import while_locked
from gpujobs.model import Job
from gpujobs.store.store import Store

T = TypeVar("T")


class StoreWriter:
    """`on_commit` hears of each commit. A change is a function of the store that is whole or not at all; within it
    nothing is awaited. Raises what the change raises, and StoreError where it cannot be committed."""

    def __init__(self, store: Store, cache: JobCache, on_commit: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._cache = cache
        self._on_commit = on_commit

    def do(self, change: Callable[[Store], T]) -> T:
        """One transaction, on the disk when this returns. For what changes no job that has not ended."""
        with self._store.together():
            done = change(self._store)
        self._on_commit()
        return done

    def job(self, change: Callable[[Store], Job]) -> Job:
        job = self.do(change)
        self._cache.put(job)
        return job

    def jobs(self, change: Callable[[Store], Sequence[Job]]) -> list[Job]:
        """All of them or none; the cache hears of them when they are on the disk, not before."""
        jobs = self.do(change)
        for job in jobs:
            self._cache.put(job)
        return list(jobs)

    async def patient(self, change: Callable[[], T]) -> T:
        """What `change` returns, which makes one of the calls above: where somebody waits for the answer, a store that
        is locked is waited for. A request that makes several is patient with each of them, for it must not begin anew
        when some are made."""

        async def work() -> T:
            return change()

        return await while_locked(work)
