"""`GET /v1/nodes`, and below it `tokens`, `token`, `remove`, `revoke`, `renew`: the boxes of this queue, and who may be
one."""

from __future__ import annotations

import os
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from gpujobs.cluster.passes import Token
from gpujobs.daemon.access.policy import require_admin
from gpujobs.daemon.handlers.query import body_of
from gpujobs.daemon.keys import DEVICES, SITE, caller_of
from gpujobs.errors import NotFoundError, NotPermittedError, UsageError
from gpujobs.model import iso
from gpujobs.protocol import codec


class NameBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: str


class TokenBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    valid_seconds: float | None = Field(default=None, ge=1, le=10 * 366 * 86400)
    once: bool = False


class RevokeBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: str | None = None
    token: str | None = None


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
    _require_own(request, "may not have the cluster's token; it is")
    body = await body_of(request, TokenBody)
    made = request.app[SITE].node_token(body.valid_seconds, once=body.once)
    note = None if made.note is None else _token(made.note)
    return web.json_response({"token": codec.write(made.file), "note": note})


def _require_own(request: web.Request, what: str) -> None:
    caller = caller_of(request)
    if caller.uid not in (0, os.geteuid()):
        raise NotPermittedError(f"{caller.user} {what} for the daemon's own user and root")


async def tokens(request: web.Request) -> web.Response:
    require_admin(caller_of(request), "see the token files")
    return web.json_response({"tokens": [_token(one) for one in request.app[SITE].tokens()]})


def _token(one: Token) -> dict[str, Any]:
    return {
        "id": one.short,
        "made_at": one.made_at,
        "until": one.until,
        "once": one.once,
        "used_by": [user.name for user in one.used_by],
        "revoked_at": one.revoked_at,
    }


async def revoke(request: web.Request) -> web.Response:
    """A box, which is struck out as well as far as it can be, or a token file."""
    require_admin(caller_of(request), "revoke certificates")
    body = await body_of(request, RevokeBody)
    site, devices = request.app[SITE], request.app[DEVICES]
    if (body.name is None) == (body.token is None):
        raise UsageError("expected the name of a box, or the id of a token file")
    if body.name is None:
        revoked, stays = [site.revoke_token(body.token or "")], None
    else:
        revoked, stays = list(await site.shut_out(body.name)), None
        try:
            devices.remove_node(body.name)
        except NotFoundError:  # it was struck out before
            pass
        except UsageError as error:
            stays = str(error)
    return web.json_response({"tokens": [_token(one) for one in revoked], "stays": stays})


async def renew(request: web.Request) -> web.Response:
    _require_own(request, "may not renew the cluster's authority; that is")
    names = await request.app[SITE].renew()
    nodes = request.app[DEVICES].nodes
    others = [node.name for node in nodes.known if nodes.is_remote(node.name) and node.name not in names]
    return web.json_response({"renewed": names, "left_out": others})


async def remove(request: web.Request) -> web.Response:
    require_admin(caller_of(request), "remove nodes")
    body = await body_of(request, NameBody)
    request.app[DEVICES].remove_node(body.name)
    return web.json_response({"nodes": [node.name for node in request.app[DEVICES].nodes.known]})
