"""`GET /v1/gpus`: every device, asked at this moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from aiohttp import web

from gpujobs.daemon.api_json import device_event_json, nodes_json, occupancy_json
from gpujobs.daemon.devices.admission import describe_stray
from gpujobs.daemon.devices.drains import named
from gpujobs.daemon.devices.service import DeviceService
from gpujobs.daemon.keys import DEVICES, caller_of
from gpujobs.daemon.live.picture import as_seen_by
from gpujobs.model import Caller, Node
from gpujobs.policy import Occupancy
from gpujobs.protocol.codec import write
from gpujobs.protocol.instructions import Stray


async def handle(request: web.Request) -> web.Response:
    """`?device=` gives one alone, or those of one node, with their history."""
    devices, caller, name = request.app[DEVICES], caller_of(request), request.query.get("device")
    nodes = [as_seen_by(caller, node) for node in await devices.seen()]
    views = devices.occupancies(nodes)
    if name is None:
        return answer(caller, views, nodes, _strays(devices, caller))
    chosen = named(nodes, [name])
    found = [
        {
            **occupancy_json(view, caller),
            "events": [device_event_json(event, caller) for event in devices.events(view.device)],
        }
        for view in views
        if view.device in chosen
    ]
    mine = [node for node in nodes if any(device in node.devices for device in chosen)]
    return web.json_response({"devices": found, "nodes": nodes_json(mine)})


def _strays(devices: DeviceService, caller: Caller) -> list[dict[str, Any]]:
    """As of the last look; who sees no names is not told whose they are."""
    return [
        {"node": devices.nodes.own_name, **write(stray), "message": describe_stray(_shown(stray, caller))}
        for stray in devices.strays
        if caller.sees_names or caller.is_admin
    ]


def _shown(stray: Stray, caller: Caller) -> Stray:
    return stray if caller.sees_names else replace(stray, user=None)


def answer(
    caller: Caller, views: list[Occupancy], nodes: list[Node], strays: Sequence[dict[str, Any]] = ()
) -> web.Response:
    devices = [occupancy_json(view, caller) for view in views]
    return web.json_response({"devices": devices, "nodes": nodes_json(nodes), "unknown": list(strays)})
