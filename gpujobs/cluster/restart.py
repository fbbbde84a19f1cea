"""Processes that are started again when they end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

LASTING_SECONDS = 30.0
"""A process that lived this long starts its back-off afresh, as one does that has served."""

AT_ONCE = 3
"""So many times in a row, where none has lasted: what dies of its work would else be started on and on."""

FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 0.5, 60.0


class Ended(NamedTuple):
    """How a process ended, in words; whether it had done before what it is there for."""

    message: str
    has_served: bool = False


log = logging.getLogger(__name__)


async def keep(
    name: str, run: Callable[[], Awaitable[Ended]], on_end: Callable[[str, float], None] | None = None
) -> None:
    """Runs until it is cancelled. `run` starts the process and returns how it ended; `on_end` is told that, and
    in how many seconds the next one is started."""
    backoff, served = FIRST_BACKOFF_SECONDS, 0
    while True:
        began = time.monotonic()
        try:
            message, has_served = await run()
        except Exception as error:  # one start that fails, on a full disk say, is not the last one
            log.exception("the %s cannot be started", name)
            message, has_served = f"it cannot be started: {error}", False
        has_lasted = time.monotonic() - began > LASTING_SECONDS
        served = 0 if has_lasted else served + has_served
        is_well = has_lasted or (has_served and served <= AT_ONCE)
        backoff = FIRST_BACKOFF_SECONDS if is_well else min(backoff * 2, MAX_BACKOFF_SECONDS)
        log.warning("the %s ended (%s); starting another in %.1f s", name, message, backoff)
        if on_end is not None:
            on_end(message, backoff)
        await asyncio.sleep(backoff)


async def end(process: asyncio.subprocess.Process, seconds: float = 10.0) -> None:
    """Ours end by themselves when their connection closes; one that does not is killed."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), seconds)
    except TimeoutError:
        process.kill()
        await process.wait()
