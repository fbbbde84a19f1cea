"""What running jobs make of their devices: each reading of the devices is a sample, at whatever pace they are read.

Only sums are kept. They are written once a minute and at an attempt's end, so that a daemon that is started again
goes on with them; the time in which none was there is not counted, but for the energy of a device that counts itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from gpujobs.daemon.devices.memory_monitor import used_by
from gpujobs.daemon.devices.strangers import jobs_by_device, pids, strangers_on
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.writer import StoreWriter
from gpujobs.errors import StoreError
from gpujobs.measured.sums import NONE, Sample, Sums, added, read, written
from gpujobs.model import Attempt, Device, DeviceKind, Job, Node
from gpujobs.store.store import Store

SAVE_SECONDS = 60.0
INSTANCE = "MIG-"
"""An instance has no power of its own: what is read there is the whole GPU's."""

log = logging.getLogger(__name__)

Key = tuple[int, int]
"""Job and attempt."""


@dataclass(frozen=True, slots=True)
class _Sampled:
    sums: Sums
    last: Sample | None
    at: float


class DeviceSampler:
    """`observe` sees every reading of the devices. `clock`: seconds that only go forward."""

    def __init__(
        self, cache: JobCache, writer: StoreWriter, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cache = cache
        self._writer = writer
        self._clock = clock
        self._lately: set[int] = set()
        self._saved = clock()
        self._sampled = {
            (job.id, job.attempt): _Sampled(read(job.current.device_use), None, clock())
            for job in cache.active()
            if job.current is not None and job.current.device_use is not None
        }

    def observe(self, nodes: Iterable[Node]) -> None:
        now, ours = self._clock(), jobs_by_device(self._cache)
        for node in nodes:
            for device in node.devices:
                jobs = ours.get((node.name, device.uuid), [])
                if jobs and device.kind is DeviceKind.GPU and device.fault is None:
                    self._add(device, jobs, now)
        self._lately = {pid for jobs in ours.values() for pid in pids(jobs) if pid is not None}
        if now - self._saved > SAVE_SECONDS:
            self._save_when_possible()

    def _add(self, device: Device, jobs: list[Job], now: float) -> None:
        strangers = bool(strangers_on(device, jobs, self._lately))
        for job in jobs:
            sample = sample_of(device, job, len(jobs), strangers=strangers)
            before = self._sampled.get((job.id, job.attempt), _Sampled(NONE, None, now))
            sums = added(before.sums, sample, before.last, now - before.at)
            self._sampled[job.id, job.attempt] = _Sampled(sums, sample, now)

    def _save_when_possible(self) -> None:
        """Nobody who looks at the devices is to hear that a disk is full."""
        try:
            self.save()
        except (StoreError, OSError) as error:
            log.error("what was sampled is not written yet: %s", error)

    def save(self) -> None:
        """Of all attempts under way, for a daemon that goes on with them."""
        self._saved = self._clock()
        jobs = self._cache.jobs
        self._sampled = {
            key: one
            for key, one in self._sampled.items()
            if key[0] in jobs and jobs[key[0]].attempt == key[1]
        }
        if self._sampled:
            self._writer.do(lambda store: _save(store, self._sampled))

    def ended(self, job: Job) -> None:
        """The attempt has just ended: its sums are whole."""
        key = job.id, job.attempt
        if key in self._sampled:
            self._writer.do(lambda store: _save(store, {key: self._sampled[key]}))
            del self._sampled[key]

    def of(self, attempt: Attempt) -> Sums | None:
        """So far, or in the end; None where nothing was sampled."""
        one = self._sampled.get((attempt.job, attempt.number))
        if one is not None:
            return one.sums
        return stored(attempt)


def stored(attempt: Attempt) -> Sums | None:
    """As the store has them."""
    return None if attempt.device_use is None else read(attempt.device_use)


def sample_of(device: Device, job: Job, jobs: int, *, strangers: bool) -> Sample:
    is_whole = not device.uuid.startswith(INSTANCE)
    return Sample(
        load_percent=device.utilization_percent,
        power_watts=device.power_watts if is_whole else None,
        energy_joules=device.energy_joules if is_whole else None,
        memory_bytes=used_by(device, job),
        jobs=jobs,
        strangers=strangers,
    )


def _save(store: Store, found: Mapping[Key, _Sampled]) -> None:
    for (job, attempt), one in found.items():
        store.usage.set_device_use(job, attempt, written(one.sums))
