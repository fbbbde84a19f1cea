"""`POST /v1/jobs/hold`: jobs that wait stay where they are."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from gpujobs.daemon.handlers.changing import Action, IdsBody, Outcome, act, does_not_wait
from gpujobs.daemon.jobs.service import JobService
from gpujobs.model import Caller, Job, State


async def _hold(service: JobService, caller: Caller, jobs: Sequence[Job], body: IdsBody) -> Outcome:
    held = await service.set_held(jobs, True, caller.user)
    notes = {job.id: "was held already" for job in jobs if job.held}
    begun = {job.id: "it was too late to hold it" for job in held if job.state is not State.PENDING}
    return Outcome(held, notes | begun)


def _is_held(job: Job) -> str | None:
    return does_not_wait(job) or (f"job {job.id} is held already" if job.held else None)


ACTION = Action("hold", IdsBody, _hold, does_not_wait, _is_held)


async def handle(request: web.Request) -> web.StreamResponse:
    return await act(request, ACTION)
