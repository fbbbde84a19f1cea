"""inotify(7): being told that a name in the file system leads elsewhere. Python's library has no function for it."""

from __future__ import annotations

import asyncio
import ctypes
import os
from pathlib import Path

IN_ATTRIB = 0x4
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800
IN_DONT_FOLLOW = 0x2000000

_libc = ctypes.CDLL(None, use_errno=True)


class Watch:
    """Of a file, and of the directories above it: one of those may be moved, removed or unmounted."""

    def __init__(self, path: Path) -> None:
        """Raises OSError where the kernel has no watch left."""
        self._descriptor = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), path)
        self._changed = asyncio.Event()
        # A file that is open is not deleted, only its count of names changes.
        self._add(path, IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_DONT_FOLLOW)
        for directory in path.parents:
            if os.access(directory, os.R_OK):
                self._add(directory, IN_DELETE_SELF | IN_MOVE_SELF)
        asyncio.get_running_loop().add_reader(self._descriptor, self._read)

    def _add(self, path: Path, mask: int) -> None:
        try:
            _checked(_libc.inotify_add_watch(self._descriptor, os.fsencode(path), mask), path)
        except FileNotFoundError:
            self._changed.set()  # it has gone already

    def _read(self) -> None:
        os.read(self._descriptor, 65536)
        self._changed.set()

    async def changed(self) -> None:
        """Something has happened since this was last asked."""
        await self._changed.wait()
        self._changed.clear()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)


def unlinked(path: Path) -> int:
    """A descriptor of which there is something to read when the file at `path`, which somebody holds open, may have
    lost its name. Raises OSError where the kernel has no watch left."""
    descriptor = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), path)
    try:
        _checked(_libc.inotify_add_watch(descriptor, os.fsencode(path), IN_ATTRIB | IN_DELETE_SELF), path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _checked(result: int, path: Path) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"inotify: {os.strerror(code)}", str(path))
    return result
