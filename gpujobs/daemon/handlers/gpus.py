"""`GET /v1/gpus`: every device, asked at this moment; `POST /v1/gpus/drain` and `resume`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from gpujobs.daemon.access.policy import require_admin
from gpujobs.daemon.api_json import device_event_json, nodes_json, occupancy_json
from gpujobs.daemon.daemon import Daemon, describe_stray
from gpujobs.daemon.devices.drains import named
from gpujobs.daemon.handlers.query import body_of
from gpujobs.daemon.keys import caller_of, daemon_of
from gpujobs.daemon.live.picture import as_seen_by
from gpujobs.daemon.patience import committed
from gpujobs.model import Caller, Device, Node
from gpujobs.policy import Occupancy, occupancies
from gpujobs.protocol.codec import write
from gpujobs.protocol.instructions import Stray


class DevicesBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    devices: list[str] = Field(min_length=1)
    reason: str = Field(default="", max_length=1000)


async def handle(request: web.Request) -> web.Response:
    """`?device=` gives one alone, with its history."""
    daemon, caller, name = daemon_of(request), caller_of(request), request.query.get("device")
    nodes = [as_seen_by(caller, node) for node in await daemon.nodes.seen()]
    views = _views(daemon, nodes)
    if name is None:
        return _answer(caller, views, nodes, _strays(daemon, caller))
    (device,) = named([view.device for view in views], [name])
    events = [device_event_json(event, caller) for event in daemon.store.devices.events(device.uuid)]
    (found,) = [occupancy_json(view, caller) for view in views if view.device == device]
    return web.json_response({"devices": [{**found, "events": events}], "nodes": nodes_json(nodes)})


async def drain(request: web.Request) -> web.Response:
    daemon, caller, body = await _change(request, "drain")
    nodes = await daemon.nodes.seen()
    reason = body.reason or f"by {caller.user}"
    devices = named(_devices(nodes), body.devices)
    await committed(lambda: daemon.drains.drain(devices, reason, caller.user))
    daemon.dispatcher.wake()
    return _answer(caller, _views(daemon, nodes), nodes)


async def resume(request: web.Request) -> web.Response:
    daemon, caller, body = await _change(request, "resume")
    nodes = await daemon.nodes.seen()
    devices = named(_devices(nodes), body.devices)
    await committed(lambda: daemon.drains.resume(devices, caller.user))
    daemon.dispatcher.wake()
    return _answer(caller, _views(daemon, nodes), nodes)


def _strays(daemon: Daemon, caller: Caller) -> list[dict[str, Any]]:
    """As of the last look; who sees no names is not told whose they are."""
    return [
        {"node": daemon.node_name, **write(stray), "message": describe_stray(_shown(stray, caller))}
        for stray in daemon.strays
        if caller.sees_names or caller.is_admin
    ]


def _shown(stray: Stray, caller: Caller) -> Stray:
    return stray if caller.sees_names else replace(stray, user=None)


async def _change(request: web.Request, verb: str) -> tuple[Daemon, Caller, DevicesBody]:
    caller = caller_of(request)
    require_admin(caller, f"{verb} devices")
    return daemon_of(request), caller, await body_of(request, DevicesBody)


def _devices(nodes: list[Node]) -> list[Device]:
    return [device for node in nodes for device in node.devices]


def _views(daemon: Daemon, nodes: list[Node]) -> list[Occupancy]:
    return occupancies(daemon.view.snapshot(nodes))


def _answer(
    caller: Caller, views: list[Occupancy], nodes: list[Node], strays: Sequence[dict[str, Any]] = ()
) -> web.Response:
    devices = [occupancy_json(view, caller) for view in views]
    return web.json_response({"devices": devices, "nodes": nodes_json(nodes), "unknown": list(strays)})
