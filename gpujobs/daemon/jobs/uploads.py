"""Room for uploaded data: what one user may keep, and what gives way to what is new."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import shutil
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path

from gpujobs.config.site import Quotas
from gpujobs.daemon.observers import Observers
from gpujobs.daemon.writer import StoreWriter
from gpujobs.errors import MachineError, UsageError
from gpujobs.model import utc_now
from gpujobs.paths import StatePaths
from gpujobs.store.store import Store

PARTIAL = ".upload-"
"""Begins the name of a file that is still arriving."""

FRESH = timedelta(hours=1)
"""What was uploaded so lately may belong to a submission that is still on its way."""


log = logging.getLogger(__name__)


class Uploads:
    """`quotas` None: the daemon is the user's own, and so is the disk."""

    def __init__(self, store: Store, writer: StoreWriter, paths: StatePaths, quotas: Quotas | None) -> None:
        self._store = store
        self._writer = writer
        self._paths = paths
        self.quotas = quotas
        self._arriving: Counter[int] = Counter()
        self.arrivals = Observers[[int, str]]()
        """Who hears of data that is here: of which uid, and its SHA-256."""

    @property
    def are_given_away(self) -> bool:
        """Whether a file belongs to its user, who is not the daemon's."""
        return self.quotas is not None

    @contextlib.contextmanager
    def room(self, uid: int, size_bytes: int) -> Iterator[None]:
        """Sets room for an upload aside. Raises UsageError where it is above the user's quota, also when all
        that is not in use has made way; MachineError where the disk is nearly full."""
        if self.quotas is not None:
            self._require_disk(size_bytes, self.quotas.free_disk)
            self._make_way(uid, size_bytes, self.quotas.data)
        self._arriving[uid] += size_bytes
        try:
            yield
        finally:
            self._arriving[uid] -= size_bytes

    def _require_disk(self, size_bytes: int, reserve_bytes: int) -> None:
        free = shutil.disk_usage(self._paths.spool).free - sum(self._arriving.values())
        if free - size_bytes < reserve_bytes:
            raise MachineError(
                f"{self._paths.spool} has {_gib(free)} free; {_gib(size_bytes)} more would leave less than the "
                f"{_gib(reserve_bytes)} that must stay free ([quotas] free_disk); use the data in_place"
            )

    def _make_way(self, uid: int, size_bytes: int, quota_bytes: int) -> None:
        excess = self._store.uploads.bytes_of(uid) + self._arriving[uid] + size_bytes - quota_bytes
        if excess <= 0:
            return
        unused = self._store.uploads.unused(uid, utc_now() - FRESH)
        if sum(size for _, size in unused) < excess:
            raise UsageError(
                f"the data of your jobs takes {_gib(self._store.uploads.bytes_of(uid))}; {_gib(size_bytes)} more is "
                f"above the {_gib(quota_bytes)} of each user ([quotas] data); use the data in_place, or "
                "wait until jobs have ended"
            )
        for sha256, size in unused:
            if excess > 0:
                self._forget(uid, sha256)
                excess -= size

    def _forget(self, uid: int, sha256: str) -> None:
        self._writer.do(lambda store: store.uploads.forget(uid, sha256))
        path = self._paths.data(uid, sha256)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def is_here(self, uid: int, sha256: str, size_bytes: int | None = None) -> bool:
        """Whether this user has uploaded it and it is still there, as a file of its size."""
        known = self._store.uploads.size(uid, sha256)
        expected = known if size_bytes is None else size_bytes
        return known is not None and _size(self._paths.data(uid, sha256)) == expected

    def has(self, uid: int, sha256: str) -> bool:
        return self._store.uploads.has(uid, sha256)

    def place(self, uid: int, sha256: str) -> Path:
        return self._paths.data(uid, sha256)

    def add(self, uid: int, sha256: str, size_bytes: int) -> None:
        """A file is whole, and on the disk under its name."""
        self._writer.do(lambda store: store.uploads.add(uid, sha256, size_bytes))

    async def look(self, uid: int, hashes: Iterable[str]) -> None:
        """Forgets what is not what was uploaded, so that it is asked for again: by its size, and where a job has
        ended with an error of its data since, by its hash."""
        for sha256 in hashes:
            if self._store.uploads.has(uid, sha256) and not await self._is_whole(uid, sha256):
                log.warning(
                    "data %s of uid %d is gone or damaged in the spool; it is asked for again", sha256, uid
                )
                self._forget(uid, sha256)

    async def _is_whole(self, uid: int, sha256: str) -> bool:
        if not self.is_here(uid, sha256):
            return False
        if not self._store.uploads.is_suspect(uid, sha256):
            return True
        found = await asyncio.to_thread(_hash, self._paths.data(uid, sha256))
        if not self.is_here(uid, sha256):
            return False  # it has made way meanwhile
        if not self._store.uploads.is_suspect(uid, sha256):
            return True  # somebody else has looked, or uploaded it again
        if found == sha256:
            self.add(uid, sha256, _size(self._paths.data(uid, sha256)) or 0)
        return found == sha256

    def remove_partial(self) -> None:
        """What a daemon that was killed has left of uploads."""
        for path in (self._paths.spool / "data").glob(f"*/{PARTIAL}*"):
            path.unlink(missing_ok=True)


def _size(path: Path) -> int | None:
    """None where there is no regular file."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _hash(path: Path) -> str | None:
    try:
        with path.open("rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"
