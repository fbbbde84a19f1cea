"""Since when devices are there, and how long something that is no job was on them: for the report.

Nothing is read for it. Strangers' time is known for as long as devices are read for another reason: while jobs are on
GPUs, while a job waits for a stranger to go, where the site charges strangers, and whenever somebody looks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime

from gpujobs.daemon.devices.strangers import DeviceKey, jobs_by_device, pids, strangers_on
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.writer import StoreWriter
from gpujobs.errors import StoreError
from gpujobs.measured.sums import MAX_GAP_SECONDS
from gpujobs.model import Device, DeviceKind, Job, Node, utc_now
from gpujobs.policy.devices.occupancy import IDLE_MEMORY_BYTES

SAVE_SECONDS = 60.0

log = logging.getLogger(__name__)


class PresenceMonitor:
    """`observe` sees every reading of the devices. `known`: the UUIDs of devices that were seen before. `clock` gives
    seconds that only go forward."""

    def __init__(
        self,
        cache: JobCache,
        writer: StoreWriter,
        known: Collection[str],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._cache = cache
        self._writer = writer
        self._clock = clock
        self._now = now
        self._known = set(known)
        self._lately: set[int] = set()
        self._busy: set[DeviceKey] = set()
        """Devices that our jobs were on at the last look."""

        self._looked: dict[DeviceKey, tuple[float, bool]] = {}
        """When a device was last read, and whether a stranger was there then."""

        self._seconds: dict[tuple[str, datetime], float] = {}
        self._saved = clock()
        self._try_at = clock()

    def observe(self, nodes: Iterable[Node]) -> None:
        ours, now = jobs_by_device(self._cache), self._clock()
        found = [(node.name, device) for node in nodes for device in node.devices]
        self._note_new({device.uuid for _, device in found} - self._known, now)
        for node, device in found:
            if device.kind is DeviceKind.GPU:
                self._count(node, device, ours.get((node, device.uuid), []), now)
        self._lately = {pid for jobs in ours.values() for pid in pids(jobs) if pid is not None}
        self._busy = set(ours)
        if self._seconds and now - self._saved > SAVE_SECONDS:
            self._when_possible(self.save, now)

    def _note_new(self, new: Collection[str], now: float) -> None:
        def note() -> None:
            self._writer.do(lambda store: store.presence.note_seen(sorted(new), self._now()))
            self._known.update(new)

        if new and now >= self._try_at:
            self._when_possible(note, now)

    def _when_possible(self, write: Callable[[], None], now: float) -> None:
        """Nobody who looks at the devices is to hear that a disk is full; it is tried again later."""
        try:
            write()
        except (StoreError, OSError) as error:
            self._try_at = now + SAVE_SECONDS
            log.error("what was seen of the devices is not written yet: %s", error)

    def _count(self, node: str, device: Device, jobs: Sequence[Job], now: float) -> None:
        """A stranger that is seen at two readings was there between them."""
        key = (node, device.uuid)
        is_there = device.fault is None and self._has_stranger(device, jobs, was_busy=key in self._busy)
        since, was_there = self._looked.get(key, (now, False))
        self._looked[key] = now, is_there
        if is_there and was_there and now - since <= MAX_GAP_SECONDS:
            hour = self._now().replace(minute=0, second=0, microsecond=0)
            of_hour = device.uuid, hour
            self._seconds[of_hour] = self._seconds.get(of_hour, 0.0) + now - since

    def _has_stranger(self, device: Device, jobs: Sequence[Job], *, was_busy: bool) -> bool:
        """Where none of ours is, nor was a moment ago, also one that the driver hides."""
        if jobs or was_busy:
            return bool(strangers_on(device, jobs, self._lately))
        return bool(device.processes) or (device.memory_used_bytes or 0) > IDLE_MEMORY_BYTES

    def save(self) -> None:
        self._saved = self._clock()
        self._writer.do(lambda store: store.presence.add_strangers(self._seconds))
        self._seconds = {}
