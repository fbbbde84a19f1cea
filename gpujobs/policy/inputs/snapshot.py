"""What a decision rests on: allocations, reservations, usage, and the queue."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from gpujobs.demand import WHOLE_DEVICE, Demand
from gpujobs.model import Node
from gpujobs.policy.inputs.pending_job import PendingJob
from gpujobs.policy.inputs.queue import Queue
from gpujobs.policy.inputs.rules import Rules


@dataclass(frozen=True, slots=True)
class Allocation:
    """A device that one of our jobs holds. `pid` is its trainer's, once it is known."""

    job: int
    node: str
    device_uuid: str
    pid: int | None = None
    user: str = ""
    started_at: datetime | None = None
    gpu_memory_bytes: int | None = None
    """What it has reserved of a shared device; None holds the device whole."""
    measured_bytes: int | None = None
    """What NVML says that its process uses, where it says so."""
    demand: Demand = WHOLE_DEVICE
    """Of its job."""
    group: int | None = None
    """Of a job whose group may have only so many running at once."""
    expected_end: datetime | None = None
    """From its progress or its time limit."""
    stopping: bool = False
    """It has been told to stop; the device will soon be free."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """A device kept for a user, or for the members of a UNIX group, from when to when."""

    id: int
    device_uuid: str
    starts_at: datetime
    ends_at: datetime
    user: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """GPU-seconds that a user's ended attempts have used, each decayed until `at`."""

    gpu_seconds: float
    at: datetime

    def decayed(self, now: datetime, half_life_seconds: float) -> float:
        return self.gpu_seconds * math.exp2(min(0.0, (self.at - now).total_seconds()) / half_life_seconds)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a decision rests on, and the reasons that it gives later: nothing in it may change but the
    queue, and that only by its owner. `waiting` is a Queue, or any sequence."""

    now: datetime
    waiting: Queue | Sequence[PendingJob]
    nodes: Sequence[Node]
    allocations: Sequence[Allocation] = ()
    drained: Mapping[str, str] = field(default_factory=dict)
    """UUIDs of devices that start nothing, with the reason."""
    usage: Mapping[str, Usage] = field(default_factory=dict)
    """By user."""
    rules: Rules = field(default_factory=Rules)
    reservations: Sequence[Reservation] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The UNIX groups of each user."""
    measured: Mapping[str, int] = field(default_factory=dict)
    """Peak memory in bytes of earlier jobs, by family."""
    near: Mapping[int, Collection[str]] = field(default_factory=dict)
    """By job: the nodes that have all of its data. Looked up for the jobs that find a device, and only for these;
    none for one that reads nothing."""

    def queue(self) -> Queue:
        return self.waiting if isinstance(self.waiting, Queue) else Queue(self.waiting)
