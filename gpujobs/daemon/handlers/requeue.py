"""`POST /v1/jobs/requeue`: jobs run once more."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web
from pydantic import Field

from gpujobs.daemon.handlers.changing import Action, IdsBody, Outcome, act
from gpujobs.daemon.jobs.requeues import Changes, requeue
from gpujobs.daemon.jobs.service import JobService
from gpujobs.jobfile.schema import MAX_TIME_LIMIT_SECONDS
from gpujobs.model import Caller, Job, State


class RequeueBody(IdsBody):
    hold: bool = False
    finish: bool = False
    no_after: bool = False
    fresh: bool = False
    """To begin anew, without a checkpoint."""
    limit_seconds: float | None = Field(default=None, ge=1, le=MAX_TIME_LIMIT_SECONDS)


async def _requeue(service: JobService, caller: Caller, jobs: Sequence[Job], body: RequeueBody) -> Outcome:
    changes = Changes(body.hold, body.finish, body.no_after, body.fresh, body.limit_seconds)
    requeued = await requeue(service, caller, jobs, changes)
    copied = zip(requeued.jobs, jobs, strict=True)
    notes = {copy.id: f"is job {job.id} once more" for copy, job in copied if copy.id != job.id}
    return Outcome(
        requeued.jobs,
        {job: "; ".join(filter(None, (notes.get(job), requeued.notes.get(job)))) for job in notes},
    )


def _is_ending(job: Job) -> str | None:
    if job.state is not State.COMPLETING:
        return None
    return f"job {job.id} is {job.state}; it can be queued again as soon as it has ended"


def _needs_no_requeue(job: Job) -> str | None:
    """Of a group or the like, those are queued again that have ended without success."""
    if job.state.is_final and job.state is not State.COMPLETED:
        return None
    return f"job {job.id} is {job.state}; name it by its number to queue it again"


ACTION = Action("requeue", RequeueBody, _requeue, _is_ending, _needs_no_requeue)


async def handle(request: web.Request) -> web.StreamResponse:
    return await act(request, ACTION)
