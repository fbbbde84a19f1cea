"""`POST /v1/jobs/release`: held jobs may start."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from gpujobs.daemon.handlers.changing import Action, IdsBody, Outcome, act, does_not_wait
from gpujobs.daemon.jobs.service import JobService
from gpujobs.model import Caller, Job


async def _release(service: JobService, caller: Caller, jobs: Sequence[Job], body: IdsBody) -> Outcome:
    released = await service.set_held(jobs, False, caller.user)
    return Outcome(released, {job.id: "was not held" for job in jobs if not job.held})


def _is_not_held(job: Job) -> str | None:
    return does_not_wait(job) or (None if job.held else f"job {job.id} is not held")


ACTION = Action("release", IdsBody, _release, does_not_wait, _is_not_held)


async def handle(request: web.Request) -> web.StreamResponse:
    return await act(request, ACTION)
