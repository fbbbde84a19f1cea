"""`POST /v1/jobs/limit`: another time limit for jobs that have not ended."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web
from pydantic import Field

from gpujobs.daemon.handlers.changing import Action, IdsBody, Outcome, act, after_all, has_ended
from gpujobs.daemon.jobs.limits import change_limit
from gpujobs.daemon.jobs.service import JobService
from gpujobs.jobfile.schema import MAX_TIME_LIMIT_SECONDS
from gpujobs.model import Caller, Job
from gpujobs.policy.inputs.text import duration


class LimitBody(IdsBody):
    limit_seconds: float | None = Field(ge=1, le=MAX_TIME_LIMIT_SECONDS)
    """None: without a limit."""


async def _limit(service: JobService, caller: Caller, jobs: Sequence[Job], body: LimitBody) -> Outcome:
    changed = await change_limit(service, caller, jobs, body.limit_seconds)
    said = "no time limit" if body.limit_seconds is None else f"time limit {duration(body.limit_seconds)}"
    return Outcome(changed, after_all(changed, said))


ACTION = Action("limit", LimitBody, _limit, has_ended, has_ended)


async def handle(request: web.Request) -> web.StreamResponse:
    return await act(request, ACTION)
