"""What `ps` and /proc/PID/environ say about a forked process.

A fork keeps the argument and environment strings that its ancestor was executed with. They are rewritten in
place, so that they tell the truth; the launcher executes itself once with room for that.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping

from gpujobs.linux.process import clear_environment, stat_fields


def set_title(title: str) -> None:
    """Shows `title`, cut to the room there is, as the command line of this process."""
    start, end = (int(field) for field in stat_fields(os.getpid())[45:47])
    _fill(start, end, title.encode())


def set_environment(environment: Mapping[str, str]) -> None:
    """Makes `environment` the whole environment, also as /proc shows it (cut to the room there is)."""
    start, end = (int(field) for field in stat_fields(os.getpid())[47:49])
    clear_environment()
    _fill(start, end, b"\0".join(f"{key}={value}".encode() for key, value in environment.items()))
    os.environ.update(environment)


def _fill(start: int, end: int, content: bytes) -> None:
    room = end - start
    if room > 0:
        ctypes.memmove(start, content[: room - 1].ljust(room, b"\0"), room)
