"""A job that waits, as the policy sees it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class GpuMemory(Enum):
    AUTO = "auto"
    """As much as earlier jobs of the same family needed, else as was estimated, else a whole device."""


@dataclass(frozen=True, slots=True)
class PendingJob:
    """A PENDING job, as far as the policy cares. `id` grows with the order of submission."""

    id: int
    priority: int
    requested_gpu: int | None = None
    held: bool = False
    waits_for: tuple[int, ...] = ()
    """Jobs that must end first, of those that have not ended."""
    waits_for_failure: tuple[int, ...] = ()
    """Those of `waits_for` that must end without success."""
    group: int | None = None
    """Of a job whose group may have only `at_most` running at once."""
    at_most: int | None = None
    user: str = ""
    submitted_at: datetime | None = None
    gpu_memory_bytes: int | GpuMemory | None = None
    """What the job asks for where it agrees to share a device; None asks for a whole one."""
    estimate_bytes: int | None = None
    """For GpuMemory.AUTO, as long as nothing has been measured."""
    family: str | None = None
    """The same for jobs that need the same memory: model shape, batch, length."""
    exclusive: bool = False
    """A whole device whatever is asked for: another try after running out of memory."""
    preemptible: bool = False
    time_limit_seconds: float | None = None
    expected_seconds: float | None = None
    """How long it will probably run, where that is known better than by its limit."""
    begin_at: datetime | None = None
    """Not before."""
