"""`GET /v1/info`: which daemon this is."""

from __future__ import annotations

import os

from aiohttp import web

from gpujobs import __version__
from gpujobs.daemon.access.identity import user_name
from gpujobs.daemon.api_json import nodes_json
from gpujobs.daemon.keys import SITE, WEB, caller_of
from gpujobs.model import iso


async def handle(request: web.Request) -> web.Response:
    site, door = request.app[SITE], request.app.get(WEB)
    return web.json_response(
        {
            "version": __version__,
            "pid": os.getpid(),
            "uid": os.geteuid(),
            "user": user_name(os.geteuid()),
            "mode": site.mode,
            "state_dir": str(site.paths.root),
            "socket": str(site.in_force.settings.socket),
            "started_at": iso(site.started_at),
            "nodes": nodes_json(site.nodes.known),
            "jobs": site.store.counts(),
            "web": None if door is None else door.url or None,
            "share": site.standing.of(caller_of(request)),
        }
    )
