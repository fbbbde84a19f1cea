"""`POST /v1/jobs/finish`: trainings end after their epochs, with a model."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from gpujobs.daemon.handlers.changing import Action, IdsBody, Outcome, act, after_all
from gpujobs.daemon.jobs.service import JobService
from gpujobs.model import Caller, Job, State


async def _finish(service: JobService, caller: Caller, jobs: Sequence[Job], body: IdsBody) -> Outcome:
    changed = await service.finish(jobs, caller.user)
    at_its_end = {
        job.id: f"is {job.state}: it is at its end" for job in changed if job.state is State.COMPLETING
    }
    return Outcome(changed, after_all(changed, "ends after its epoch") | at_its_end)


def _cannot_finish(job: Job) -> str | None:
    if job.state is State.COMPLETED:
        return f"job {job.id} has already ended: {job.state}"
    if job.state.is_final:
        return (
            f"job {job.id} has already ended: {job.state}; `gpujobs requeue --finish {job.id}` makes a model of its "
            "last checkpoint"
        )
    if job.state is State.COMPLETING:
        return f"job {job.id} is {job.state}: it is at its end"
    if job.state is State.PENDING and not job.attempt and job.continues is None:
        return f"job {job.id} has not begun; there is nothing to finish"
    return None


ACTION = Action("finish", IdsBody, _finish, _cannot_finish, _cannot_finish)


async def handle(request: web.Request) -> web.StreamResponse:
    return await act(request, ACTION)
