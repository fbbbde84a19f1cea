"""What everybody has used: a cache of the store's attempts, decayed as fair share counts them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from gpujobs.policy.inputs.snapshot import Usage
from gpujobs.policy.users.fairshare import device_share, with_attempt
from gpujobs.store.usage import EndedUsage


class UsageCache:
    """`usage` is what a Snapshot takes: of ended attempts, by user."""

    def __init__(
        self, uses: Iterable[EndedUsage], charged: Mapping[str, Usage], half_life_seconds: float
    ) -> None:
        self._half_life_seconds = half_life_seconds
        self.usage: dict[str, Usage] = {}
        for use in uses:
            self.add(use)
        for user, usage in charged.items():
            self.charge(user, usage.gpu_seconds, usage.at)

    def add(self, use: EndedUsage) -> None:
        """An attempt has ended."""
        share = device_share(use.gpu_memory_bytes, use.device_memory_bytes)
        self.usage[use.user] = with_attempt(
            self.usage.get(use.user), share, use.started_at, use.ended_at, self._half_life_seconds
        )

    def charge(self, user: str, gpu_seconds: float, at: datetime) -> None:
        """Use that was no attempt of ours."""
        before = self.usage.get(user)
        if before is None:
            self.usage[user] = Usage(gpu_seconds, at)
            return
        at = max(at, before.at)
        self.usage[user] = Usage(before.decayed(at, self._half_life_seconds) + gpu_seconds, at)
