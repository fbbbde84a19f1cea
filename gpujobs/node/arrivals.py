"""Data that comes to a box from the daemon's, in pieces: kept under its hash, for each user once, and only whole."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import functools
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gpujobs.errors import LauncherError, MachineError
from gpujobs.linux import durable
from gpujobs.linux.durable import DamagedError
from gpujobs.node import attempts
from gpujobs.paths import AttemptPaths, JobPaths, StatePaths
from gpujobs.protocol.boxes import Blob

EARLY_SECONDS = 20.0
"""That a piece waits for one before it, which may be lost."""

PARTIAL = ".partial-"
FREE_BYTES = 1 << 30
"""That stay free on a node: attempts must be able to write."""

FRESH_SECONDS = 300.0
"""Data that came, or was asked for, so lately may be for an attempt that is about to start."""


def lacking(paths: StatePaths, blobs: tuple[Blob, ...]) -> tuple[Blob, ...]:
    return tuple(blob for blob in blobs if not _is_here(paths.data(blob.uid, blob.sha256), blob.bytes))


def mark_read(paths: StatePaths, blobs: Iterable[Blob]) -> None:
    """What of it is here counts as read now, whatever the file system says of that."""
    now = time.time()
    for blob in blobs:
        place = paths.data(blob.uid, blob.sha256)
        with contextlib.suppress(OSError):
            os.utime(place, (now, place.lstat().st_mtime), follow_symlinks=False)


def arrived(paths: StatePaths, blob: Blob, node: str) -> int:
    """How much of it has come already. Raises LauncherError where the rest has no room."""
    place = paths.data(blob.uid, blob.sha256)
    if _is_here(place, blob.bytes):
        return blob.bytes
    size = size_of(_partial(place)) or 0
    _make_room(paths, blob.bytes - size + FREE_BYTES - shutil.disk_usage(paths.spool).free)
    free = shutil.disk_usage(paths.spool).free
    if free - (blob.bytes - size) < FREE_BYTES:
        raise LauncherError(
            f"{node} has {free / 2**30:.1f} GiB free in {paths.spool}; {blob.bytes / 2**30:.1f} GiB of data "
            "would leave "
            f"less than the {FREE_BYTES >> 30} GiB that must stay free"
        )
    return size


def _make_room(paths: StatePaths, excess_bytes: int) -> None:
    """Removes what nothing reads that lives here, the longest unread first, as far as it is needed, and nothing where
    that would not do. Whoever needs it again is sent it again."""
    if excess_bytes <= 0:
        return
    free = sorted(unused(paths), key=lambda one: one[1].st_atime)
    if sum(status.st_size for _, status in free) < excess_bytes:
        return
    for path, status in free:
        if excess_bytes > 0:
            path.unlink(missing_ok=True)
            excess_bytes -= status.st_size


def unused(paths: StatePaths) -> Iterator[tuple[Path, os.stat_result]]:
    """What no attempt reads that lives here. What has another name too is a model that a job applies."""
    in_use, fresh = set(_in_use(paths)), time.time() - FRESH_SECONDS
    for path in (paths.spool / "data").glob("*/*"):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue  # it is whole now, or has made way
        is_stale = max(status.st_mtime, status.st_atime) < fresh
        is_alone = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
        if is_alone and is_stale and str(path) not in in_use:
            yield path, status


def _in_use(paths: StatePaths) -> Iterator[str]:
    """The data of the attempts that live here."""
    for directory in (paths.spool / "jobs").glob("*"):
        job = JobPaths(directory)
        for name, _ in attempts.living(job):
            with contextlib.suppress(DamagedError):
                spec = durable.read_json(AttemptPaths(directory / name).spec) or {}
                yield from (file["path"] for file in spec.get("data", {}).values())


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
        _count_in(place, content, offset)
        if offset + len(content) < blob.bytes:
            return offset + len(content)
        _keep(place, descriptor, blob)
        return blob.bytes


def piece(paths: StatePaths, blob: Blob, offset: int, limit: int) -> bytes:
    """What has come of it there. Raises OSError."""
    place = paths.data(blob.uid, blob.sha256)
    for path in (_partial(place), place):  # the first is renamed when it is whole
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            file.seek(offset)
            return file.read(limit)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(place))


class InOrder:
    """Several pieces may be on their way at once, and come in any order: one that is early waits for those before."""

    def __init__(self, paths: StatePaths) -> None:
        self._paths = paths
        self._written = asyncio.Condition()
        self._count = 0
        """Of the pieces that were looked at, so that none is missed."""

    async def put(self, blob: Blob, offset: int, content: bytes) -> int:
        """As the function."""
        deadline = asyncio.get_running_loop().time() + EARLY_SECONDS
        while True:
            count = self._count
            size = await asyncio.to_thread(put, self._paths, blob, offset, content)
            async with self._written:
                self._count += size >= offset
                self._written.notify_all()
                left = deadline - asyncio.get_running_loop().time()
                if size >= offset or left <= 0:
                    return size
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(
                        self._written.wait_for(functools.partial(self._is_after, count)), left
                    )

    def _is_after(self, count: int) -> bool:
        return self._count != count


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
        if size_of(place) is not None:
            yield -1
            return


def _write(descriptor: int, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


_digests: dict[Path, tuple[int, Any]] = {}
"""Of what is coming: how much of it was counted in. Changed by who holds the file."""


def _count_in(place: Path, content: bytes, offset: int) -> None:
    counted, digest = _digests.pop(place, (0, hashlib.sha256()))
    if counted == offset:
        digest.update(content)
        _digests[place] = (offset + len(content), digest)


def _hash(place: Path, size: int) -> str:
    """What was counted in while it came, or, where some of it came to an agent before this one, of the file."""
    counted, digest = _digests.pop(place, (-1, None))
    if counted == size:
        return str(digest.hexdigest())
    with _partial(place).open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _keep(place: Path, descriptor: int, blob: Blob) -> None:
    partial = _partial(place)
    found = _hash(place, blob.bytes)
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
    return size_of(place) == size


def size_of(path: Path) -> int | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
