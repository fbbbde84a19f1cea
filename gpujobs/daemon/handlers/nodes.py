"""`GET /v1/nodes`, `POST /v1/nodes/token`, `POST /v1/nodes/remove`: the boxes of this queue."""

from __future__ import annotations

import os

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from gpujobs.daemon.access.policy import require_admin
from gpujobs.daemon.handlers.query import body_of
from gpujobs.daemon.keys import DEVICES, SITE, caller_of
from gpujobs.errors import NotPermittedError
from gpujobs.model import iso
from gpujobs.protocol import codec


class NameBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: str


async def handle(request: web.Request) -> web.Response:
    service = request.app[DEVICES]
    jobs = service.nodes_of_jobs()
    rooms = await service.nodes.rooms()
    return web.json_response(
        {
            "nodes": [
                {
                    "name": node.name,
                    "status": node.status,
                    "message": service.nodes.message(node),
                    "since": iso(node.since),
                    "devices": [device.uuid for device in node.devices],
                    "jobs": jobs.get(node.name, []),
                    "disk_free_bytes": rooms[node.name].free_bytes if node.name in rooms else None,
                    "disk_total_bytes": rooms[node.name].total_bytes if node.name in rooms else None,
                }
                for node in service.nodes.known
            ]
        }
    )


async def token(request: web.Request) -> web.Response:
    """For the daemon's own user and root: whoever has it can run anything as that user, here and there."""
    site, caller = request.app[SITE], caller_of(request)
    if caller.uid not in (0, os.geteuid()):
        raise NotPermittedError(
            f"{caller.user} may not have the cluster's token; it is for the daemon's own user and root"
        )
    return web.json_response({"token": codec.write(site.node_token())})


async def remove(request: web.Request) -> web.Response:
    require_admin(caller_of(request), "remove nodes")
    body = await body_of(request, NameBody)
    request.app[DEVICES].remove_node(body.name)
    return web.json_response({"nodes": [node.name for node in request.app[DEVICES].nodes.known]})
