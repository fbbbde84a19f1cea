"""Packed jobs that use more of a shared device than they reserved, where others would run out of memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gpujobs.daemon.snapshot_builder import SnapshotBuilder
from gpujobs.daemon.writer import StoreWriter
from gpujobs.model import Job, Node, StopReason
from gpujobs.policy.devices.memory import outgrown


class OutgrownMonitor:
    """`observe` sees every reading of the devices. Such a job is asked to `stop`, and gets more next time."""

    def __init__(
        self, snapshots: SnapshotBuilder, writer: StoreWriter, stop: Callable[[Job, StopReason, str], None]
    ) -> None:
        self._snapshots = snapshots
        self._writer = writer
        self._stop = stop

    def observe(self, nodes: Sequence[Node]) -> None:
        for one in outgrown(self._snapshots.snapshot(nodes)):
            job = self._reserve(one.job, one.reservation_bytes)
            message = (
                f"it used {one.used_bytes / 2**30:.1f} GiB of a shared device, more than it had reserved"
            )
            self._stop(job, StopReason.OUTGROWN, message)

    def _reserve(self, job: int, gpu_memory_bytes: int | None) -> Job:
        return self._writer.job(lambda store: store.set_reservation(job, gpu_memory_bytes))
