"""What systemd is told: sd_notify(3), and that the event loop is alive (sd_watchdog_enabled(3))."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

log = logging.getLogger(__name__)


def notify_systemd(state: str) -> None:
    """Nothing where systemd did not start us; a supervisor that is gone is no error either."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        try:
            notify.connect("\0" + address[1:] if address.startswith("@") else address)
            notify.send(state.encode())
        except OSError as error:
            log.warning("systemd was not told %s: %s", state.partition("\n")[0], error)


def interval_seconds(environ: Mapping[str, str]) -> float | None:
    """How often to tell, which is twice in the time that systemd waits; None where it does not wait for us."""
    pid, microseconds = environ.get("WATCHDOG_PID", str(os.getpid())), environ.get("WATCHDOG_USEC", "")
    if pid != str(os.getpid()) or not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    return int(microseconds) / 2e6


@asynccontextmanager
async def fed() -> AsyncIterator[None]:
    """Tells systemd meanwhile, from the event loop: one that hangs is silent, and is started anew."""
    seconds = interval_seconds(os.environ)
    task = None if seconds is None else asyncio.create_task(_feed(seconds))
    try:
        yield
    finally:
        if task is not None:
            task.cancel()


async def _feed(seconds: float) -> None:
    while True:
        notify_systemd("WATCHDOG=1")
        await asyncio.sleep(seconds)
