"""What a head leaves behind when it is killed, and heads that do not come to an end. Imports no Ray."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from pathlib import Path

import psutil

from gpujobs.errors import MachineError
from gpujobs.linux import durable

TAKE_OVER_SECONDS = 20.0
"""A head whose daemon has gone needs a second or two to stop Ray."""


STRANGER_SECONDS = 2.0
"""That somebody who is no head may have the lock: it may just be looked at."""


def end_session(session: int) -> None:
    """Kills the processes of a head's session. Ray's own follow a head that ends orderly; two of its
    agents go on, with their ports, when it was killed."""
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if pid != os.getpid() and os.getsid(pid) == session:
                os.kill(pid, signal.SIGKILL)


def end_ray_of(token: Path) -> None:
    """Kills the processes of a Ray that was started with this token file, which is of this state directory alone:
    whoever started it was killed, and it keeps its ports."""
    ours = f"RAY_AUTH_TOKEN_PATH={token}".encode()
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            if pid != os.getpid() and ours in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                os.kill(pid, signal.SIGKILL)


def become_only_head(path: Path, seconds: float = TAKE_OVER_SECONDS) -> None:
    """Locks `path` until this process ends. The head of a daemon that was killed may still be stopping
    its Ray, and would at its end remove the directory that ours has begun to use: so it is waited for,
    and killed when `seconds` have passed. Raises MachineError where it is locked by somebody else, whom we
    must not kill."""
    durable.make_way(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    began = time.monotonic()
    while not _is_locked_by_us(descriptor):
        waited, holder = time.monotonic() - began, holder_of(descriptor)
        if holder is not None and not is_head(holder) and waited > STRANGER_SECONDS:
            raise MachineError(_locked_by(path, holder))
        if waited > seconds and holder is not None and is_head(holder):
            end_session(holder)
        elif waited > seconds + STRANGER_SECONDS:
            raise MachineError(_locked_by(path, holder))
        time.sleep(0.02)
    os.pwrite(descriptor, f"{os.getpid():<12}".encode(), 0)


def holder_of(descriptor: int) -> int | None:
    """The process that holds the lock (flock) of an open file, as the kernel says; None where it does not."""
    status = os.fstat(descriptor)
    file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()  # 1: FLOCK ADVISORY WRITE 4711 08:01:1234 0 EOF
        if len(fields) > 5 and fields[1] == "FLOCK" and fields[5] == file and int(fields[4]) > 0:
            return int(fields[4])
    return None


def is_head(pid: int) -> bool:
    """Of ours: what may be killed, if it does not end."""
    try:
        return b"gpujobs.cluster" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _locked_by(path: Path, pid: int | None) -> str:
    if pid is None:
        return f"{path} is locked by a process that cannot be seen from here; end it, or restart the machine"
    try:
        name = psutil.Process(pid).name()
    except psutil.Error:
        name = "unknown"
    return f"{path} is locked by process {pid} ({name}), which is no head of gpujobs; end it"


def _is_locked_by_us(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
