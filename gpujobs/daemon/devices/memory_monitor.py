"""What the processes of our jobs use of their devices' memory, as NVML shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.writer import StoreWriter
from gpujobs.model import Device, Job, Node, utc_now
from gpujobs.store.usage import UsageTable

RUNTIME_BYTES = 1 << 30
"""What the driver counts of a trainer beside its tensors (CUDA's context, its libraries, what the allocator holds
back), where none has been seen on any device yet."""

MOST_RUNTIME_BYTES = 4 << 30
"""The allocator's part is a trainer's own word, which is not believed beyond this."""


class MemoryMonitor:
    """`observe` sees every reading of the devices. `peaks` are by family: of jobs that have been on their device for
    `settle_seconds`, or have ended well. A trainer takes its memory as it goes, so that what one has taken that has
    just begun says nothing of what the next one needs."""

    def __init__(
        self, cache: JobCache, usage: UsageTable, writer: StoreWriter, settle_seconds: float = 60.0
    ) -> None:
        self._cache = cache
        self._writer = writer
        self.settle_seconds = settle_seconds
        self.peaks = usage.peaks()
        self.has_taken_over: Callable[[Job], bool] = lambda _: False
        """Whether a job's trainer had another before: it holds what that has taken, and its use teaches nothing."""
        self._now: dict[int, int] = {}
        self._most: dict[tuple[int, int], int] = {}
        self._runtime: dict[int, int] = {}
        """By user: it depends on a trainer's own word, which is to count for nobody else's jobs."""

    @property
    def current(self) -> Mapping[int, int]:
        """Bytes in use by running jobs, by job; without those that the driver does not tell."""
        return self._now

    def observe(self, nodes: Iterable[Node]) -> None:
        devices = {(node.name, device.uuid): device for node in nodes for device in node.devices}
        self._now = {}
        for job in self._cache.active():
            current = job.current
            device = devices.get((current.node, current.device_uuid)) if current else None
            if device is not None and (used := used_by(device, job)) is not None:
                self._now[job.id] = used
                if not self.has_taken_over(job):
                    self._note(job, used)
                    self._learn_runtime(job, used)

    def runtime_bytes(self, uid: int) -> int:
        """The most that was seen of what a trainer of this user takes beside its tensors; as long as nothing was seen,
        a usual value."""
        return self._runtime.get(uid, RUNTIME_BYTES)

    def with_runtime(self, tensors: Mapping[str, int], uid: int) -> dict[str, int]:
        """By family: what tensors take, and what is taken beside them by a trainer of this user."""
        return {family: size + self.runtime_bytes(uid) for family, size in tensors.items()}

    def _learn_runtime(self, job: Job, used: int) -> None:
        """What the driver counts less what the trainer's allocator says of itself."""
        own = (self._cache.progress.get(job.id) or {}).get("device_peak_bytes")
        if isinstance(own, int | float) and 0 < own <= used:
            found = min(used - int(own), MOST_RUNTIME_BYTES)
            self._runtime[job.uid] = max(found, self._runtime.get(job.uid, 0))

    def _note(self, job: Job, used: int) -> None:
        key = (job.id, job.attempt)
        self._most[key] = max(used, self._most.get(key, 0))
        if self._is_settled(job, utc_now()) or job.demand.family in self.peaks:
            self._learn(job, self._most[key])

    def ended(self, job: Job) -> None:
        """Keeps the peak of the attempt that has just ended."""
        self._now.pop(job.id, None)
        peak, current = self._most.pop((job.id, job.attempt), None), job.current
        if peak is None or current is None:
            return
        if current.exit_code == 0 or self._is_settled(job, current.ended_at or utc_now()):
            self._learn(job, peak)
            self._writer.do(lambda store: store.usage.set_peak(job.id, job.attempt, peak))

    def _is_settled(self, job: Job, at: datetime) -> bool:
        current = job.current
        return current is not None and (at - current.started_at).total_seconds() >= self.settle_seconds

    def _learn(self, job: Job, peak: int) -> None:
        if job.demand.family is not None:
            self.peaks[job.demand.family] = max(peak, self.peaks.get(job.demand.family, 0))


def used_by(device: Device, job: Job) -> int | None:
    """Bytes that the job's trainer uses of the device; None where it is not seen, or its use is not told."""
    pid = job.current.pid if job.current else None
    return next((p.memory_bytes for p in device.processes if p.pid == pid), None) if pid else None
