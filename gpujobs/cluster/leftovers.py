"""What a head leaves behind when it is killed, and heads that do not come to an end. Imports no Ray."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from pathlib import Path

import psutil

from gpujobs import durable

TAKE_OVER_SECONDS = 20.0
"""A head whose daemon has gone needs a second or two to stop Ray."""


def end_session(session: int) -> None:
    """Kills the processes of a head's session. Ray's own follow a head that ends orderly; two of its
    agents go on, with their ports, when it was killed."""
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if pid != os.getpid() and os.getsid(pid) == session:
                os.kill(pid, signal.SIGKILL)


def become_only_head(path: Path, seconds: float = TAKE_OVER_SECONDS) -> None:
    """Locks `path` until this process ends. The head of a daemon that was killed may still be stopping
    its Ray, and would at its end remove the directory that ours has begun to use: so it is waited for,
    and killed when `seconds` have passed."""
    durable.make_way(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + seconds
    while not _is_locked_by_us(descriptor):
        holder = os.pread(descriptor, 20, 0).strip()
        if holder and time.monotonic() > deadline:
            end_session(int(holder))
        time.sleep(0.02)
    os.pwrite(descriptor, f"{os.getpid():<12}".encode(), 0)


def _is_locked_by_us(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
