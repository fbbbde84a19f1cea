"""`POST /v1/jobs/prioritize`: another priority for jobs that have not ended."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web
from pydantic import Field

from gpujobs.daemon.handlers.changing import Action, IdsBody, Outcome, act, after_all
from gpujobs.daemon.jobs.service import JobService
from gpujobs.model import MAX_PRIORITY, Caller, Job


class PriorityBody(IdsBody):
    priority: int = Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY)


async def _prioritize(
    service: JobService, caller: Caller, jobs: Sequence[Job], body: PriorityBody
) -> Outcome:
    changed = await service.prioritize(jobs, body.priority, caller)
    return Outcome(changed, after_all(changed, f"priority {body.priority}"))


def _has_no_priority(job: Job) -> str | None:
    ended = f"job {job.id} is {job.state}; only a job that has not ended has a priority"
    return ended if job.state.is_final else None


ACTION = Action("prioritize", PriorityBody, _prioritize, _has_no_priority, _has_no_priority)


async def handle(request: web.Request) -> web.StreamResponse:
    return await act(request, ACTION)
