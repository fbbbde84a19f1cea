"""Processes that are started again when they end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

LASTING_SECONDS = 30.0
"""A process that lived this long starts its back-off afresh."""

MAX_BACKOFF_SECONDS = 60.0

log = logging.getLogger(__name__)


async def keep(
    name: str, run: Callable[[], Awaitable[str]], on_end: Callable[[str, float], None] | None = None
) -> None:
    """Runs until it is cancelled. `run` starts the process and returns how it ended; `on_end` is told that, and
    in how many seconds the next one is started."""
    backoff = 0.5
    while True:
        began = time.monotonic()
        try:
            message = await run()
        except Exception as error:  # one start that fails, on a full disk say, is not the last one
            log.exception("the %s cannot be started", name)
            message = f"it cannot be started: {error}"
        backoff = 0.5 if time.monotonic() - began > LASTING_SECONDS else min(backoff * 2, MAX_BACKOFF_SECONDS)
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
