"""Room for uploaded data: what one user may keep, and what gives way to what is new."""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from gpujobs.errors import MachineError, UsageError
from gpujobs.model import utc_now
from gpujobs.paths import StatePaths
from gpujobs.siteconfig import Quotas
from gpujobs.store.store import Store

PARTIAL = ".upload-"
"""Begins the name of a file that is still arriving."""

FRESH = timedelta(hours=1)
"""What was uploaded so lately may belong to a submission that is still on its way."""


class Uploads:
    """`quotas` None: the daemon is the user's own, and so is the disk."""

    def __init__(self, store: Store, paths: StatePaths, quotas: Quotas | None) -> None:
        self._store = store
        self._paths = paths
        self.quotas = quotas
        self._arriving: Counter[int] = Counter()

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
        self._store.uploads.forget(uid, sha256)
        self._paths.data(uid, sha256).unlink(missing_ok=True)

    def remove_partial(self) -> None:
        """What a daemon that was killed has left of uploads."""
        for path in (self._paths.spool / "data").glob(f"*/{PARTIAL}*"):
            path.unlink(missing_ok=True)


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"
