"""`POST /v1/gpus/drain`: devices get no more jobs."""

from __future__ import annotations

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from gpujobs.daemon.access.policy import require_admin
from gpujobs.daemon.devices.drains import named
from gpujobs.daemon.handlers.gpus import answer
from gpujobs.daemon.handlers.query import body_of
from gpujobs.daemon.keys import DEVICES, caller_of


class DevicesBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    devices: list[str] = Field(min_length=1)
    reason: str = Field(default="", max_length=1000)


async def handle(request: web.Request) -> web.Response:
    service, caller = request.app[DEVICES], caller_of(request)
    require_admin(caller, "drain devices")
    body = await body_of(request, DevicesBody)
    nodes = await service.seen()
    devices = named(nodes, body.devices)
    await service.drain(devices, body.reason or f"by {caller.user}", caller.user)
    return answer(caller, service.occupancies(nodes), nodes)
