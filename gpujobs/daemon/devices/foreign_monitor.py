"""Processes of others on devices that our jobs use.

Between the probe and a trainer's start somebody may have been faster: an attempt that meets a stranger as it
begins goes back to the queue, and loses no retry. Later ones are reported to both sides, never ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from gpujobs.daemon.devices.strangers import jobs_by_device, pids, strangers_on
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.writer import StoreWriter
from gpujobs.model import Device, Job, Node, Process, StopReason, utc_now
from gpujobs.policy import label
from gpujobs.store.store import DAEMON, Store

MEETING = timedelta(seconds=10)
"""So long after the trainer's first line a stranger counts as one that came at the same time."""

Stop = Callable[[Job, StopReason, str], None]
"""Asks an attempt to end, with the reason in words."""


class ForeignProcessMonitor:
    """`observe` sees every reading of the devices. Without `names_people` nobody is told of whom the others are.
    `are_welcome`: jobs are started beside them, so that none goes back to the queue for them."""

    def __init__(
        self,
        writer: StoreWriter,
        cache: JobCache,
        stop: Stop,
        *,
        names_people: bool = True,
        are_welcome: bool = False,
    ) -> None:
        self._writer = writer
        self._cache = cache
        self._stop = stop
        self.names_people = names_people
        self._are_welcome = are_welcome
        self._reported: dict[tuple[int, int], set[int]] = {}
        """By job and attempt: the pids that it has been told of."""

        self._lately: set[int] = set()
        """Pids of our trainers at the last look: one that has ended since may still be in the reading."""

        self._present: dict[str, list[str]] = {}
        """By user: what those should know whose processes are where jobs are."""

    def notices(self, user: str) -> list[str]:
        return self._present.get(user, [])

    def observe(self, nodes: Iterable[Node]) -> None:
        self._present = {}
        ours = jobs_by_device(self._cache)
        self._reported = {
            (job.id, job.attempt): self._reported.get((job.id, job.attempt), set())
            for jobs in ours.values()
            for job in jobs
        }
        for node in nodes:
            for device in node.devices:
                self._compare(device, ours.get((node.name, device.uuid), []))
        self._lately = {pid for jobs in ours.values() for pid in pids(jobs) if pid is not None}

    def _compare(self, device: Device, jobs: list[Job]) -> None:
        strangers = strangers_on(device, jobs, self._lately) if jobs else None
        if strangers is None:
            return
        self._remember(device, jobs, strangers)
        for job in jobs:
            self._cache.set_notice(job.id, self._describe(device, strangers[0]) if strangers else None)
            for stranger in strangers:
                self._meet(job, device, stranger)

    def _remember(self, device: Device, jobs: list[Job], strangers: list[Process]) -> None:
        users = ", ".join(
            f"job {job.id} of {job.user}" if self.names_people else f"job {job.id}" for job in jobs
        )
        for process in strangers:
            self._present.setdefault(process.user or "", []).append(
                f"your process {process.pid} is on {label(device)}, which {users} uses; "
                "a job of your own would get a device for itself"
            )

    def _meet(self, job: Job, device: Device, stranger: Process) -> None:
        known = self._reported[job.id, job.attempt]
        if stranger.pid in known:
            return
        what = self._describe(device, stranger)

        def note(store: Store) -> None:
            store.note(job.id, "stranger", what)
            store.devices.note(device.uuid, "stranger", DAEMON, f"{what}, as job {job.id} is")

        self._writer.do(note)
        known.add(stranger.pid)
        if not self._are_welcome and _has_just_begun(job, utc_now()) and not job.cancel_requested:
            self._stop(job, StopReason.STRANGER, f"it met {what}")

    def _describe(self, device: Device, process: Process) -> str:
        owner = f" of {process.user}" if process.user and self.names_people else ""
        return f"pid {process.pid}{owner} on {label(device)}"


def _has_just_begun(job: Job, now: datetime) -> bool:
    current = job.current
    return current is not None and current.running_at is not None and now - current.running_at < MEETING
