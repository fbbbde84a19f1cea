"""What the policy is shown: the daemon's caches put together as a Snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from gpujobs.daemon.devices.drains import Drains
from gpujobs.daemon.devices.membership import Membership
from gpujobs.daemon.devices.memory_monitor import MemoryMonitor
from gpujobs.daemon.devices.usage import UsageCache
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.model import Job, Node, State, utc_now
from gpujobs.policy import Allocation, Rules, Snapshot
from gpujobs.store.reservations import Reservations


class SnapshotBuilder:
    def __init__(
        self,
        cache: JobCache,
        drains: Drains,
        usage: UsageCache,
        memory: MemoryMonitor,
        membership: Membership,
        reservations: Reservations,
        rules: Rules,
    ) -> None:
        self.rules = rules
        self._cache = cache
        self._drains = drains
        self._usage = usage
        self._memory = memory
        self._membership = membership
        self._reservations = reservations

    def snapshot(self, nodes: Sequence[Node]) -> Snapshot:
        """As of this moment, with the devices as they were just read."""
        now = utc_now()
        self._cache.queue.advance(now)
        return Snapshot(
            now=now,
            waiting=self._cache.queue,
            nodes=nodes,
            allocations=self.allocations(),
            drained=self._drains.reasons,
            usage=self._usage.usage,
            rules=self.rules,
            reservations=self._reservations.current(),
            groups=self._membership.groups,
            measured=self._memory.peaks,
        )

    def awaited_from(self, node: str) -> list[int]:
        """Jobs that have ended there, whose results have not come yet."""
        return [
            job.id
            for job in self._cache.jobs.values()
            if job.state is State.COMPLETING and job.current is not None and job.current.node == node
        ]

    def allocations(self) -> list[Allocation]:
        return [self._allocation(job) for job in self._cache.active() if job.id not in self._cache.released]

    def _allocation(self, job: Job) -> Allocation:
        current = job.current
        assert current is not None
        return Allocation(
            job=job.id,
            node=current.node,
            device_uuid=current.device_uuid,
            pid=current.pid,
            user=job.user,
            started_at=current.started_at,
            gpu_memory_bytes=current.gpu_memory_bytes,
            measured_bytes=self._memory.current.get(job.id),
            demand=job.demand,
            group=job.limited_group,
            expected_end=expected_end(job, self._cache.progress.get(job.id)),
            stopping=job.id in self._cache.stopping or job.cancel_requested,
        )


def expected_end(job: Job, progress: Mapping[str, Any] | None) -> datetime | None:
    """From what a running job reports of its progress, but not after its time limit; None where both are
    unknown."""
    current = job.current
    begun = None if current is None else current.running_at or current.started_at
    limit = job.demand.time_limit_seconds
    latest = None if begun is None or limit is None else begun + timedelta(seconds=limit)
    eta = (progress or {}).get("eta_seconds")
    if not isinstance(eta, int | float) or eta < 0:
        return latest
    by_progress = utc_now() + timedelta(seconds=min(eta, MAX_ETA_SECONDS))
    return by_progress if latest is None else min(by_progress, latest)


MAX_ETA_SECONDS = 10.0 * 366 * 86400
"""Beyond it, a trainer's word is no instant."""
