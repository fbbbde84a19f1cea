"""`POST /v1/reservations/ID/cancel`: a device is everybody's again."""

from __future__ import annotations

from aiohttp import web

from gpujobs.daemon.access.policy import require_admin
from gpujobs.daemon.handlers.reservations import answer
from gpujobs.daemon.keys import DEVICES, caller_of


async def handle(request: web.Request) -> web.Response:
    service, caller = request.app[DEVICES], caller_of(request)
    require_admin(caller, "cancel reservations")
    await service.unreserve(int(request.match_info["id"]), caller.user)
    return answer(service, caller, service.reservations())
