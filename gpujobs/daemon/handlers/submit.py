"""`POST /v1/jobs`: job files come in; `POST /v1/requests/withdraw` takes a submission back."""

from __future__ import annotations

from aiohttp import web

from gpujobs.daemon.handlers.query import body_of
from gpujobs.daemon.jobs.queries import JobQueries
from gpujobs.daemon.jobs.submissions import Needs, SubmissionBody, WithdrawBody, require_request_key
from gpujobs.daemon.jobs.submit import Submitted
from gpujobs.daemon.keys import JOB_QUERIES, SUBMISSIONS, caller_of
from gpujobs.model import Caller


async def handle(request: web.Request) -> web.Response:
    caller, body = caller_of(request), await body_of(request, SubmissionBody)
    made = await request.app[SUBMISSIONS].submit(caller, body, require_request_key(body))
    if isinstance(made, Needs):
        return web.json_response(made.to_wire())
    return _created(request.app[JOB_QUERIES], caller, made)


def _created(queries: JobQueries, caller: Caller, made: Submitted) -> web.Response:
    jobs = [queries.json(job, caller) for job in made.jobs]
    return web.json_response({"jobs": jobs, "notices": list(made.notices)}, status=201)


async def withdraw(request: web.Request) -> web.Response:
    caller, body = caller_of(request), await body_of(request, WithdrawBody)
    jobs = await request.app[SUBMISSIONS].withdraw(caller, body.request_key)
    return web.json_response({"jobs": [request.app[JOB_QUERIES].json(job, caller) for job in jobs]})
