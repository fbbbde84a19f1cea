"""Attempts whose events nobody has recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from gpujobs.daemon.daemon import Daemon

DONE = {"state": "COMPLETED", "reason": "", "message": "", "exit": {"code": 0, "signal": None}}


FAILED = {"state": "FAILED", "reason": "TrainingError", "message": "x", "exit": {"code": 1, "signal": None}}


def run(daemon: Daemon, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async def within() -> Any:
        try:
            return await work()
        finally:
            daemon.attempts.close()

    return asyncio.run(within())
