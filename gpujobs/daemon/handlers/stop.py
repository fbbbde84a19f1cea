"""`POST /v1/stop`: the daemon ends; what runs goes on, unless asked otherwise."""

from __future__ import annotations

import json
import os

from aiohttp import web

from gpujobs.daemon.handlers.query import json_of
from gpujobs.daemon.keys import SITE, caller_of
from gpujobs.daemon.modes import StopMode
from gpujobs.errors import NotPermittedError, UsageError


async def handle(request: web.Request) -> web.StreamResponse:
    site, caller = request.app[SITE], caller_of(request)
    if caller.uid not in (0, os.geteuid()):
        raise NotPermittedError(f"{caller.user} may not stop this daemon; it is for its administrators")
    body = await json_of(request)
    try:
        mode = StopMode(body.get("mode", "now"))
    except (AttributeError, ValueError):
        raise UsageError(f"{body}: expected a mode out of {', '.join(StopMode)}") from None
    running = site.stop(mode, caller.user)
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(json.dumps({"stopping": True, "running": running}).encode() + b"\n")
    if mode is not StopMode.NOW:
        await site.stopped()
    return response
