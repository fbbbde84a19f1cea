"""What Linux tells about processes. Standard library only."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import signal
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

KEYCTL_JOIN_SESSION_KEYRING = 1
SYS_KEYCTL = {"x86_64": 250, "aarch64": 219}
"""Its number by architecture; libc has no function for it."""

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    """Raises OSError where the kernel refuses."""
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}, {value}): {os.strerror(code)}")


def new_session_keyring() -> None:
    """Leaves the inherited session keyring, with the keys of who has started the daemon, for an empty one. A
    kernel without keyrings has none to leave."""
    number = SYS_KEYCTL.get(platform.machine())
    if number is None:
        return
    if _libc.syscall(ctypes.c_long(number), ctypes.c_long(KEYCTL_JOIN_SESSION_KEYRING), None) < 0:
        code = ctypes.get_errno()
        if code != errno.ENOSYS:
            raise OSError(code, f"keyctl: {os.strerror(code)}")


def clear_environment() -> None:
    """Empties os.environ and makes libc forget the strings of the initial environment area."""
    os.environ.clear()
    _libc.clearenv()


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from `state` (field 3) on; the command's name may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def start_ticks(pid: int) -> int:
    """When the process started, in clock ticks since boot: with the pid and boot id it is unique."""
    return int(stat_fields(pid)[19])


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int) -> dict[str, int]:
    return {"pid": pid, "start_ticks": start_ticks(pid)}


def children(parent: int) -> list[int]:
    """Pids of the direct children of a process, zombies included."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if int(stat_fields(int(entry.name))[1]) == parent:
                    found.append(int(entry.name))
            except (OSError, IndexError):
                continue
    return found


def own_children(parent: int) -> list[int]:
    """As `children`, without a look at every process where the kernel has the list."""
    try:
        lists = [path.read_text() for path in Path(f"/proc/{parent}/task").glob("*/children")]
    except OSError:
        lists = []
    return [int(pid) for pid in " ".join(lists).split()] if lists else children(parent)


def kill_children(seconds: float) -> bool:
    """Ends and reaps every child of this process, and what falls to it as their subreaper. False where some
    are left after so long: stuck in a driver, or forking faster than they are found."""
    deadline = time.monotonic() + seconds
    while True:
        for pid in children(os.getpid()):
            _kill_group(pid)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)


def _kill_group(pid: int) -> None:
    """With its process group, which cannot fork its way out meanwhile. Only descendants of ours are in it: a
    group is within one session, and theirs begin with them. Our own group is not killed."""
    with contextlib.suppress(ProcessLookupError):
        if os.getpgid(pid) == os.getpgrp():
            os.kill(pid, signal.SIGKILL)
        else:
            os.killpg(os.getpgid(pid), signal.SIGKILL)


def close_all_except(*keep: int) -> None:
    """Closes every descriptor from 3 on but these."""
    for entry in list(Path("/proc/self/fd").iterdir()):
        number = int(entry.name)
        if number > 2 and number not in keep:
            try:
                os.close(number)
            except OSError:  # the directory that was listed
                continue


def oom_kills() -> int:
    """The kernel's count of processes killed for memory: the machine's plus this cgroup's."""
    count = 0
    for path in (Path("/proc/vmstat"), *_memory_events()):
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        count += sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return count


def _memory_events() -> list[Path]:
    try:
        text = Path("/proc/self/cgroup").read_text()
    except OSError:
        return []
    groups = [line[4:].strip("/") for line in text.splitlines() if line.startswith("0::/")]
    return [Path("/sys/fs/cgroup") / group / "memory.events" for group in groups]
