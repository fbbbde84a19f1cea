"""Long loops on the event loop, and those who wait meanwhile."""

from __future__ import annotations

import asyncio
import time

WORK_SECONDS = 0.02
"""A person does not notice it."""


class Pauses:
    """`await pauses.due()` within a loop lets the others in whenever it has worked for long enough."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    async def due(self) -> None:
        if time.monotonic() - self._since > WORK_SECONDS:
            await asyncio.sleep(0)
            self._since = time.monotonic()
