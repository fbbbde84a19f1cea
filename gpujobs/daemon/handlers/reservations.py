"""`GET /v1/reservations`: devices that are kept for a user or a group for some time."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gpujobs.daemon.api_json import term_json
from gpujobs.daemon.devices.service import DeviceService
from gpujobs.daemon.keys import DEVICES, caller_of
from gpujobs.model import Caller, Device
from gpujobs.policy import Reservation


async def handle(request: web.Request) -> web.Response:
    service = request.app[DEVICES]
    return answer(service, caller_of(request), service.reservations())


def answer(
    service: DeviceService, caller: Caller, found: list[Reservation], status: int = 200
) -> web.Response:
    devices = {device.uuid: device for device in service.nodes.devices}
    return web.json_response(
        {
            "reservations": [reservation_json(one, devices.get(one.device_uuid), caller) for one in found],
            "nodes": [node.name for node in service.nodes.known],
        },
        status=status,
    )


def reservation_json(one: Reservation, device: Device | None, caller: Caller) -> dict[str, Any]:
    return {
        "id": one.id,
        "device": {
            "uuid": one.device_uuid,
            "kind": device.kind if device else None,
            "index": device.index if device else None,
            "node": device.node if device else None,
        },
        **term_json(one, caller),
    }
