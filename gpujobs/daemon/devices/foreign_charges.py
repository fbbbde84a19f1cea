"""GPU time of processes that are not jobs, charged to their users where the site says so (`foreign: charge`)."""

from __future__ import annotations

import time
from collections.abc import Sequence

from gpujobs.daemon.devices.usage import UsageCache
from gpujobs.daemon.writer import StoreWriter
from gpujobs.model import utc_now
from gpujobs.policy import Occupancy, Usage
from gpujobs.policy.users.fairshare import foreign_seconds
from gpujobs.store.store import Store
from gpujobs.store.usage import UsageTable

MAX_GAP_SECONDS = 30.0
"""Between two readings; what happened in a longer pause nobody knows."""

SAVE_SECONDS = 60.0


class ForeignCharge:
    """`observe` sees the occupancy of every reading of the devices."""

    def __init__(
        self, usage: UsageCache, table: UsageTable, writer: StoreWriter, half_life_seconds: float
    ) -> None:
        self._usage = usage
        self._writer = writer
        self._half_life_seconds = half_life_seconds
        self._totals = table.foreign()
        self._looked = self._saved = time.monotonic()

    def observe(self, views: Sequence[Occupancy]) -> None:
        now = time.monotonic()
        elapsed, self._looked = min(now - self._looked, MAX_GAP_SECONDS), now
        at = utc_now()
        for user, seconds in foreign_seconds(views, elapsed).items():
            self._usage.charge(user, seconds, at)
            before = self._totals.get(user, Usage(0.0, at))
            self._totals[user] = Usage(before.decayed(at, self._half_life_seconds) + seconds, at)
        if now - self._saved > SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        self._saved = time.monotonic()
        self._writer.do(self._save)

    def _save(self, store: Store) -> None:
        for user, usage in self._totals.items():
            store.usage.set_foreign(user, usage)
