"""The end of the terminal itself. The kernel tells it (SIGHUP) only to whom the terminal controls; to others reading
then ends at once, again and again, which textual takes for no input."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable

PATIENCE_SECONDS = 3.0


def watch(terminal: int, end: Callable[[], object]) -> None:
    """Calls `end`, in a thread, once nobody is at the other side of this file descriptor. The process ends soon after,
    whatever becomes of that call."""
    threading.Thread(target=_wait, args=(terminal, end), name="hangup", daemon=True).start()


def _wait(terminal: int, end: Callable[[], object]) -> None:
    poll = select.poll()
    poll.register(terminal, 0)  # POLLHUP and POLLERR are always told
    poll.poll()
    last = threading.Timer(PATIENCE_SECONDS, os._exit, (128 + signal.SIGHUP,))
    last.daemon = True
    last.start()
    end()
