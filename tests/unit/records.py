"""A job and its record."""

from __future__ import annotations

from gpujobs.demand import Demand
from gpujobs.model import Job, Reason, State, utc_now
from gpujobs.protocol.records import ExitRecord
from tests.specs import exit_record

JOB = Job(
    id=7,
    name="seven",
    uid=1000,
    user="a",
    state=State.COMPLETING,
    reason=Reason.NONE,
    message="",
    demand=Demand(),
    submitted_at=utc_now(),
    started_at=utc_now(),
    ended_at=None,
    attempt=1,
    retries=1,
    retries_used=0,
    held=False,
    cancel_requested=False,
)


def record(state: State, reason: Reason = Reason.NONE, **more: object) -> ExitRecord:
    return exit_record({"state": state, "reason": reason, "message": "why", **more})
