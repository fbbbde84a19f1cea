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
    clear_environment()
    _show(environment)
    os.environ.update(environment)


def change_environment(environment: Mapping[str, str]) -> None:
    """As `set_environment`, in a process with threads, which may look at what does not change meanwhile."""
    _show(environment)
    for key in set(os.environ) - environment.keys():
        del os.environ[key]
    for key, value in environment.items():
        if os.environ.get(key) != value:
            os.environ[key] = value


def _show(environment: Mapping[str, str]) -> None:
    start, end = (int(field) for field in stat_fields(os.getpid())[47:49])
    _fill(start, end, b"\0".join(f"{key}={value}".encode() for key, value in environment.items()))


def _fill(start: int, end: int, content: bytes) -> None:
    room = end - start
    if room > 0:
        ctypes.memmove(start, content[: room - 1].ljust(room, b"\0"), room)
