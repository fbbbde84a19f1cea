"""A state directory that is removed while its box works. What is not there any more says nothing of what runs: so
nothing is answered, what runs is ended, and the box begins anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from gpujobs.errors import MachineError
from gpujobs.linux.inotify import Watch
from gpujobs.paths import StatePaths

LOOK_SECONDS = 5.0
"""Where the kernel has no watch left."""

END_SECONDS = 20.0


class StateGoneError(MachineError):
    """Nothing that is known of this box's attempts can be believed."""


class State:
    """As it is when a box begins to work."""

    def __init__(self, paths: StatePaths) -> None:
        self._paths = paths
        self._places = (paths.identity, paths.spool / "jobs", paths.spool / "data", paths.run)
        # Open, so that nothing in its place has the same number. (A directory is not: its end would be told to nobody.)
        self._identity = _opened(paths.identity)
        self._inodes = [_inode(path) for path in self._places]

    def end_all(self) -> int:
        """As the function, also where the directory was moved: the kernel knows what it is called now."""
        places = {self._paths.root}
        if self._identity is not None:
            places.add(Path(f"/proc/self/fd/{self._identity}").readlink().parent)
        return end_all(*places)

    def close(self) -> None:
        if self._identity is not None:
            os.close(self._identity)
            self._identity = None

    def require(self) -> None:
        """Raises StateGoneError where something of it was removed, or has another's in its place."""
        for path, inode in zip(self._places, self._inodes, strict=True):
            if inode is not None and _inode(path) != inode:
                raise StateGoneError(
                    f"{path} was removed, or replaced, while this box worked: what runs here cannot be told any more"
                )

    async def gone(self) -> StateGoneError:
        """Returns when it is."""
        watches = [watch for path in self._places if (watch := _watch(path)) is not None]
        is_watched = len(watches) == len(self._places)
        try:
            while True:
                try:
                    self.require()
                except StateGoneError as error:
                    return error
                await _any_of(watches, None if is_watched else LOOK_SECONDS)
        finally:
            for watch in watches:
                watch.close()


def _watch(path: Path) -> Watch | None:
    try:
        return Watch(path)
    except OSError:
        return None


async def _any_of(watches: list[Watch], seconds: float | None) -> None:
    changes = [asyncio.create_task(watch.changed()) for watch in watches]
    try:
        if changes:
            await asyncio.wait(changes, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        for change in changes:
            change.cancel()


def end_all(*roots: Path) -> int:
    """Kills what works in the directories of attempts below these, be they gone: supervisors, trainers, and what they
    have started. Returns how many that were. Raises MachineError where some do not end."""
    ended: set[int] = set()
    deadline = time.monotonic() + END_SECONDS
    while found := set(_working_in(roots)):
        ended |= found
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise MachineError(
                f"process {min(found)} works for an attempt below {roots[0]}, and cannot be ended"
            )
        time.sleep(0.05)
    return len(ended)


def _working_in(roots: Iterable[Path]) -> Iterator[int]:
    tops = "|".join(re.escape(str(root)) for root in roots)
    place = re.compile(rf"({tops})/.+/\d+/(work|attempt-\d+)(/| \(deleted\)$|$)")
    for pid in psutil.pids():
        if pid == os.getpid() or not _works_in(pid, place):
            continue
        yield pid
        with contextlib.suppress(psutil.Error):
            yield from (child.pid for child in psutil.Process(pid).children(recursive=True))


def _works_in(pid: int, place: re.Pattern[str]) -> bool:
    """By its directory and what it has open, which the kernel names as they were called when they are gone."""
    process = Path(f"/proc/{pid}")
    try:
        links = [process / "cwd", *(process / "fd").iterdir()]
    except OSError:
        return False
    for link in links:
        with contextlib.suppress(OSError):
            if place.match(str(link.readlink())):
                return True
    return False


def _opened(path: Path) -> int | None:
    try:
        return os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
