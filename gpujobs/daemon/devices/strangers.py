"""Which processes on a device are none of our jobs', as far as it can be told at this moment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.model import Device, Job, Process

DeviceKey = tuple[str, str]
"""Node and UUID."""


def jobs_by_device(cache: JobCache) -> dict[DeviceKey, list[Job]]:
    """Of those that hold a device."""
    found: dict[DeviceKey, list[Job]] = {}
    for job in cache.active():
        if job.current is not None:
            found.setdefault((job.current.node, job.current.device_uuid), []).append(job)
    return found


def pids(jobs: Iterable[Job]) -> set[int | None]:
    """None among them: which process is a starting trainer's is not known yet."""
    return {job.current.pid for job in jobs if job.current is not None}


def strangers_on(device: Device, jobs: Sequence[Job], lately: Collection[int]) -> list[Process] | None:
    """None where it cannot be told, while a trainer starts. `lately`: pids of our trainers a moment ago, of which one
    that has ended may still be in the reading."""
    ours = pids(jobs)
    if None in ours:
        return None
    return [p for p in device.processes if p.pid not in ours and p.pid not in lately and not is_hidden(p)]


def is_hidden(process: Process) -> bool:
    """Not of this machine's pid namespace: it may well be our own trainer under another number."""
    return process.user is None and process.command is None
