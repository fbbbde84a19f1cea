"""`POST /v1/gpus/resume`: devices get jobs again."""

from __future__ import annotations

from aiohttp import web

from gpujobs.daemon.access.policy import require_admin
from gpujobs.daemon.devices.drains import named
from gpujobs.daemon.handlers.drain import DevicesBody
from gpujobs.daemon.handlers.gpus import answer
from gpujobs.daemon.handlers.query import body_of
from gpujobs.daemon.keys import DEVICES, caller_of


async def handle(request: web.Request) -> web.Response:
    service, caller = request.app[DEVICES], caller_of(request)
    require_admin(caller, "resume devices")
    body = await body_of(request, DevicesBody)
    nodes = await service.seen()
    devices = named(nodes, body.devices)
    await service.resume(devices, caller.user)
    return answer(caller, service.occupancies(nodes), nodes)
