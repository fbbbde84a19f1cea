"""What the processes of our jobs use of their devices' memory, as NVML shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gpujobs.daemon.board import Board
from gpujobs.model import Device, Job, Node
from gpujobs.store.usage import UsageTable


class Measurements:
    """`look` sees every reading of the devices. `peaks` are by family, of jobs that run and that ended."""

    def __init__(self, board: Board, usage: UsageTable) -> None:
        self._board = board
        self._usage = usage
        self.peaks = usage.peaks()
        self._now: dict[int, int] = {}
        self._most: dict[tuple[int, int], int] = {}

    @property
    def current(self) -> Mapping[int, int]:
        """Bytes in use by running jobs, by job; without those that the driver does not tell."""
        return self._now

    def look(self, nodes: Iterable[Node]) -> None:
        devices = {(node.name, device.uuid): device for node in nodes for device in node.devices}
        self._now = {}
        for job in self._board.active():
            current = job.current
            device = devices.get((current.node, current.device_uuid)) if current else None
            if device is not None and (used := used_by(device, job)) is not None:
                self._note(job, used)

    def _note(self, job: Job, used: int) -> None:
        self._now[job.id] = used
        key = (job.id, job.attempt)
        self._most[key] = max(used, self._most.get(key, 0))
        if job.family is not None:
            self.peaks[job.family] = max(used, self.peaks.get(job.family, 0))

    def ended(self, job: int, attempt: int) -> None:
        """Keeps the peak of an attempt."""
        self._now.pop(job, None)
        peak = self._most.pop((job, attempt), None)
        if peak is not None:
            self._usage.set_peak(job, attempt, peak)


def used_by(device: Device, job: Job) -> int | None:
    """Bytes that the job's trainer uses of the device; None where it is not seen, or its use is not told."""
    pid = job.current.pid if job.current else None
    return next((p.memory_bytes for p in device.processes if p.pid == pid), None) if pid else None
