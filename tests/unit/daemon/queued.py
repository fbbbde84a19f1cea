"""Jobs that queue."""

from __future__ import annotations

from gpujobs.demand import Demand
from gpujobs.model import Job, Reason, State, utc_now


def job(id: int, state: State = State.PENDING, group: int | None = None, priority: int = 0) -> Job:
    return Job(
        id=id, name=f"j{id}", uid=1, user="a", state=state, reason=Reason.NONE, message="", demand=Demand(priority),
        submitted_at=utc_now(), started_at=None, ended_at=None, attempt=0, retries=0, retries_used=0, held=False,
        cancel_requested=False, group=None if group is None else "g", group_id=group,
    )  # fmt: skip
