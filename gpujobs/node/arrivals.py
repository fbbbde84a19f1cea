"""Data that comes to a box from the daemon's, in pieces: kept under its hash, for each user once, and only whole."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from gpujobs.errors import LauncherError, MachineError
from gpujobs.linux import durable
from gpujobs.paths import StatePaths
from gpujobs.protocol.instructions import Blob

PARTIAL = ".partial-"
FREE_BYTES = 1 << 30
"""That stay free on a node: attempts must be able to write."""


def lacking(paths: StatePaths, blobs: tuple[Blob, ...]) -> tuple[Blob, ...]:
    return tuple(blob for blob in blobs if not _is_here(paths.data(blob.uid, blob.sha256), blob.bytes))


def arrived(paths: StatePaths, blob: Blob, node: str) -> int:
    """How much of it has come already. Raises LauncherError where the rest has no room."""
    place = paths.data(blob.uid, blob.sha256)
    if _is_here(place, blob.bytes):
        return blob.bytes
    size = _size(_partial(place)) or 0
    free = shutil.disk_usage(paths.spool).free
    if free - (blob.bytes - size) < FREE_BYTES:
        raise LauncherError(
            f"{node} has {free / 2**30:.1f} GiB free in {paths.spool}; {blob.bytes / 2**30:.1f} GiB of data "
            "would leave "
            f"less than the {FREE_BYTES >> 30} GiB that must stay free"
        )
    return size


def put(paths: StatePaths, blob: Blob, offset: int, content: bytes) -> int:
    """Takes a piece where the one before it ends; returns how much there is now. Blocks. Raises MachineError where
    the whole is not what it should be: it is thrown away then, and comes again."""
    place = paths.data(blob.uid, blob.sha256)
    with _held(place) as descriptor:
        if _is_here(place, blob.bytes):
            return blob.bytes
        size = os.fstat(descriptor).st_size
        if size != offset:  # somebody else brings it too
            return size
        _write(descriptor, content, offset)
        if offset + len(content) < blob.bytes:
            return offset + len(content)
        _keep(place, descriptor, blob)
        return blob.bytes


@contextlib.contextmanager
def _held(place: Path) -> Iterator[int]:
    """The file that grows, for one writer at a time."""
    place.parent.mkdir(mode=0o711, exist_ok=True)
    while True:
        partial = _partial(place)
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:  # else it was whole while we waited, and has its name
                yield descriptor
                return
        finally:
            os.close(descriptor)
        if _size(place) is not None:
            yield -1
            return


def _write(descriptor: int, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _keep(place: Path, descriptor: int, blob: Blob) -> None:
    partial = _partial(place)
    with partial.open("rb", buffering=0) as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != blob.sha256 or os.fstat(descriptor).st_size != blob.bytes:
        partial.unlink()
        raise MachineError(f"data {blob.sha256[:12]} has come damaged; it is asked for again")
    os.fchmod(descriptor, 0o400)
    if os.geteuid() == 0:
        os.fchown(descriptor, blob.uid, -1)
    os.fsync(descriptor)
    durable.rename(partial, place)


def _partial(place: Path) -> Path:
    return place.with_name(PARTIAL + place.name)


def _is_here(place: Path, size: int) -> bool:
    return _size(place) == size


def _size(path: Path) -> int | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
