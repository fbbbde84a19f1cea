"""`POST /v1/web/link`: a link to the pages that logs its asker in, once; on the socket alone."""

from __future__ import annotations

from urllib.parse import urlencode

from aiohttp import web

from gpujobs.daemon.keys import WEB, caller_of
from gpujobs.errors import MachineError
from gpujobs.model import iso


async def link(request: web.Request) -> web.Response:
    door = request.app[WEB]
    if not door.url:
        raise MachineError(door.why)
    token, until = door.guard.sessions.link(caller_of(request))
    url = f"{door.url}/login?{urlencode({'token': token})}"
    return web.json_response({"url": url, "expires_at": iso(until)})
