"""A job that waits, as the policy sees it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gpujobs.demand import WHOLE_DEVICE, Demand


@dataclass(frozen=True, slots=True)
class PendingJob:
    """A PENDING job: what it asks for, and how it stands. `id` grows with the order of submission."""

    id: int
    demand: Demand = WHOLE_DEVICE
    user: str = ""
    submitted_at: datetime | None = None
    held: bool = False
    waits_for: tuple[int, ...] = ()
    """Jobs that must end first, of those that have not ended."""
    waits_for_failure: tuple[int, ...] = ()
    """Those of `waits_for` that must end without success."""
    group: int | None = None
    """Of a job whose group may have only `demand.at_most` running at once."""
    expected_seconds: float | None = None
    """How long it will probably run, where that is known better than by its limit."""
