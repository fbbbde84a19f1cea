"""Submissions on their way: each key is worked on once, and one that its user takes back makes no jobs."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator

from gpujobs.errors import UsageError

MAX_WITHDRAWN = 10_000

Key = tuple[int, str]
"""uid and request key."""


class Requests:
    def __init__(self) -> None:
        self._working: dict[Key, asyncio.Event] = {}
        self._withdrawn: OrderedDict[Key, None] = OrderedDict()

    @contextlib.asynccontextmanager
    async def work(self, uid: int, key: str) -> AsyncIterator[None]:
        """From before the first look at a submission until its answer. Raises UsageError where it was taken back."""
        await self.settled(uid, key)
        if (uid, key) in self._withdrawn:
            raise UsageError(
                "this submission was taken back by its user; submit it again with another request_key"
            )
        done = self._working[uid, key] = asyncio.Event()
        try:
            yield
        finally:
            del self._working[uid, key]
            done.set()

    async def settled(self, uid: int, key: str) -> None:
        """Returns when nobody works on it."""
        while (working := self._working.get((uid, key))) is not None:
            await working.wait()

    def withdraw(self, uid: int, key: str) -> None:
        """Should it still come, it is refused."""
        self._withdrawn[uid, key] = None
        while len(self._withdrawn) > MAX_WITHDRAWN:
            self._withdrawn.popitem(last=False)
