"""`POST /v1/check`: what a training of these job files would say, without queueing them."""

from __future__ import annotations

from aiohttp import web

from gpujobs.daemon.handlers.query import body_of
from gpujobs.daemon.jobs.submissions import Needs, SubmissionBody
from gpujobs.daemon.keys import SUBMISSIONS, caller_of


async def handle(request: web.Request) -> web.Response:
    body = await body_of(request, SubmissionBody)
    checked = await request.app[SUBMISSIONS].check(caller_of(request), body)
    if isinstance(checked, Needs):
        return web.json_response(checked.to_wire())
    return web.json_response({"files": checked.files, "left_out": checked.left_out})
