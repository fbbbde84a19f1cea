"""The lock of a state directory: one daemon each, and who it is. Standard library only."""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path

from gpujobs.errors import MachineError, UsageError

WAIT_SECONDS = 15.0
"""A daemon that is closing (Ray takes a second or two) holds the lock until its end."""


LOOK_SECONDS = 0.2
"""Somebody who looks whether there is a daemon (`holder`) has it for a moment."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock, as far as it is known: `word` is serving or closing."""

    pid: int | None
    word: str


def take(path: Path) -> int:
    """The descriptor that holds the lock. One that is closing is waited for. Raises UsageError that names the daemon
    that runs."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise MachineError(f"{path}: {error.strerror}; the state directory must be writable") from error
    began = time.monotonic()
    while not _try(descriptor):
        found, waited = _said(descriptor), time.monotonic() - began
        if waited > (WAIT_SECONDS if found.word == "closing" else LOOK_SECONDS):
            os.close(descriptor)
            pid = found.pid or "unknown"
            raise UsageError(f"a daemon (pid {pid}) already serves {path.parent}; `gpujobs stop` ends it")
        time.sleep(0.05)
    note(descriptor, "serving")
    return descriptor


def holder(path: Path) -> Holder | None:
    """Who holds it; None where nobody does, or where the caller may not look."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _said(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def note(descriptor: int, word: str) -> None:
    """`serving PID` or `closing PID`, for whoever finds the lock taken."""
    os.pwrite(descriptor, f"{word} {os.getpid():<12}\n".encode(), 0)


def _said(descriptor: int) -> Holder:
    word, _, pid = os.pread(descriptor, 40, 0).decode(errors="replace").strip().partition(" ")
    return Holder(int(pid) if pid.strip().isdecimal() else None, word)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
