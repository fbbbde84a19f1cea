"""A control group (version 2) for each attempt: its end takes every process in it at once.

Where there is none, or it is not ours to make (a personal daemon), the supervisor's being a subreaper must do:
it finds what is left one by one, which a process that forks and exits faster than it is looked for escapes.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

REMOVE_TRIES = 20


@dataclass(frozen=True, slots=True)
class Cgroup:
    path: Path

    def add(self, pid: int) -> None:
        """Moves a process into it. What that forks is in it too, and only root gets out."""
        (self.path / "cgroup.procs").write_text(str(pid))

    def members(self) -> list[int]:
        return [int(line) for line in (self.path / "cgroup.procs").read_text().split()]

    def kill(self) -> None:
        """Sends SIGKILL to all in it; none of them can fork meanwhile (Linux 5.14)."""
        with contextlib.suppress(OSError):
            (self.path / "cgroup.kill").write_text("1")

    def remove(self) -> None:
        """Waits a moment for the killed to be gone; an empty group that stays behind does no harm."""
        for _ in range(REMOVE_TRIES):
            try:
                self.path.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.01)
            else:
                return


def make(name: str) -> Cgroup | None:
    """A new group below our own; None where it cannot be made, or could not be killed."""
    mount, own = _mount_point(), _own_group()
    if mount is None or own is None:
        return None
    group = Cgroup(mount / own / name)
    try:
        group.path.mkdir()
    except OSError:
        return None
    if not (group.path / "cgroup.kill").exists():
        group.remove()
        return None
    return group


def _mount_point() -> Path | None:
    """Of the version 2 hierarchy. The fields of a line: proc_pid_mountinfo(5)."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            return Path(before.split()[4])
    return None


def _own_group() -> Path | None:
    """Relative to the mount point."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::/"):
            return Path(line[4:])
    return None
