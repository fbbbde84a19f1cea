"""What a decision says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from gpujobs.model import Reason


@dataclass(frozen=True, slots=True)
class Start:
    """`gpu_memory_bytes`: what the job has reserved of a shared device; None holds the device whole."""

    job: int
    node: str
    device_uuid: str
    gpu_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Preempt:
    """`job` stops at a checkpoint and goes back to the queue, so that `for_job` can start."""

    job: int
    for_job: int


@dataclass(frozen=True, slots=True)
class PendingReason:
    """Why a job waits; `message` is for people."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    starts: tuple[Start, ...]
    waits: Mapping[int, PendingReason]
    """Of every other job in the queue. A reason is made when it is asked for."""
    preemptions: tuple[Preempt, ...] = ()
    next_change_at: datetime | None = None
    """When time alone changes the decision: a job may begin, a reservation begins or ends, a start has
    settled. None where only an event can change it."""
