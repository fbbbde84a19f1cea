"""A waiting job's demand, with what follows from it in one decision."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from gpujobs.demand import Demand, Place
from gpujobs.policy.inputs.queue import Signature

NEVER = datetime.max.replace(tzinfo=UTC)
"""The end of what has no known end."""


class Request(NamedTuple):
    job: int
    user: str
    groups: Sequence[str]
    demand: Demand
    need_bytes: int | None
    """Of a shared device; None asks for a whole one."""
    ends_by: datetime
    """If it starts now: by its time limit, or NEVER."""
    expected_end: datetime
    """If it starts now, as far as is known; or NEVER."""
    signature: Signature

    @property
    def priority(self) -> int:
        return self.demand.priority

    @property
    def place(self) -> Place:
        return self.signature.place

    @property
    def is_whole(self) -> bool:
        return self.need_bytes is None


def after(now: datetime, seconds: float | None) -> datetime:
    """NEVER for None, and for what is beyond the calendar."""
    if seconds is None:
        return NEVER
    try:
        return now + timedelta(seconds=seconds)
    except OverflowError:
        return NEVER
