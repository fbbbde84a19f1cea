"""A daemon that is there, and does not answer at its socket: found by the lock of its state directory."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpujobs.client import Client, connect
from gpujobs.config.settings import resolve
from gpujobs.errors import DaemonUnreachableError
from gpujobs.linux import statelock
from gpujobs.linux.statelock import Holder
from gpujobs.paths import StatePaths

ANSWER_SECONDS = 3.0
"""A daemon that is starting has its lock a second before its socket, and one whose socket was removed makes it
again."""

END_SECONDS = 30.0


def locked(flags: Mapping[str, Any]) -> tuple[Path, Holder] | None:
    """The state directory that a daemon holds, and who it is; None where none does."""
    modes = ["personal", "site"] if os.getuid() == 0 else ["personal"]
    for directory in dict.fromkeys(resolve(flags, mode=mode).state_dir for mode in modes):
        if (found := statelock.holder(StatePaths(directory).lock)) is not None:
            return directory, found
    return None


def connect_when_up(
    flags: Mapping[str, Any], sockets: Sequence[Path], error: DaemonUnreachableError
) -> Client:
    """After `error`: a client of a daemon that answers in a moment. Raises what is known of one that does not."""
    found = locked(flags)
    if found is None or found[1].word == "closing":
        raise error
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.05)
        try:
            return connect(sockets)
        except DaemonUnreachableError:
            continue
    raise DaemonUnreachableError(describe(*found, sockets)) from error


def describe(directory: Path, holder: Holder, sockets: Sequence[Path]) -> str:
    tried = ", ".join(map(str, sockets))
    pid = holder.pid or "PID"
    return (
        f"a daemon (pid {holder.pid or 'unknown'}) holds {directory}, but does not answer at {tried}: it listens at "
        f"another place, or hangs. `gpujobs stop` ends it, or `kill {pid}`; jobs that run go on"
    )


def end(directory: Path, holder: Holder) -> bool:
    """Asks the process that holds the lock to end, and waits until it has. False where it is not known, or is no
    daemon of gpujobs."""
    if holder.pid is None:
        return False
    try:
        descriptor = os.pidfd_open(holder.pid)
    except ProcessLookupError:
        return False
    try:
        if b"gpujobs" not in Path(f"/proc/{holder.pid}/cmdline").read_bytes():
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    finally:
        os.close(descriptor)
    deadline = time.monotonic() + END_SECONDS
    lock = StatePaths(directory).lock
    while (now := statelock.holder(lock)) is not None and now.pid == holder.pid:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
