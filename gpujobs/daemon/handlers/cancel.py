"""`POST /v1/jobs/cancel`: jobs end, those that wait at once."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from gpujobs.daemon.handlers.changing import Action, IdsBody, Outcome, act, has_ended, nothing
from gpujobs.daemon.jobs.service import JobService
from gpujobs.model import Caller, Job


async def _cancel(service: JobService, caller: Caller, jobs: Sequence[Job], body: IdsBody) -> Outcome:
    notes = {job.id: f"had already ended: {job.state}" for job in jobs if job.state.is_final}
    return Outcome(await service.cancel(jobs, caller.user, body.reason), notes)


ACTION = Action("cancel", IdsBody, _cancel, nothing, has_ended)


async def handle(request: web.Request) -> web.StreamResponse:
    return await act(request, ACTION)
