"""Waiting for a store that somebody else has locked, where a user waits for the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gpujobs.daemon.jobs.again import pauses
from gpujobs.errors import StoreError
from gpujobs.store.database import is_locked

T = TypeVar("T")

LOCKED_SECONDS = 10.0
"""Longer than a copy of the store, or somebody's look into it with another program, keeps it locked."""


async def while_locked(work: Callable[[], Awaitable[T]], seconds: float = LOCKED_SECONDS) -> T:
    """What `work` returns, which changes nothing where it fails. It is done again as long as the store is locked; the
    others are served between two tries. Raises the last StoreError after so many seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    for pause in pauses(0.1, 1.0):
        try:
            return await work()
        except StoreError as error:
            if not is_locked(error) or loop.time() + pause > deadline:
                raise
        await asyncio.sleep(pause)
    raise AssertionError("the pauses have no end")
