"""`GET /v1/info`: which daemon this is."""

from __future__ import annotations

import os

from aiohttp import web

from gpujobs import __version__
from gpujobs.daemon.access.identity import user_name
from gpujobs.daemon.api_json import nodes_json
from gpujobs.daemon.keys import WEB, caller_of, daemon_of
from gpujobs.daemon.standing import share_of
from gpujobs.model import iso


async def handle(request: web.Request) -> web.Response:
    daemon, door = daemon_of(request), request.app.get(WEB)
    return web.json_response(
        {
            "version": __version__,
            "pid": os.getpid(),
            "uid": os.geteuid(),
            "user": user_name(os.geteuid()),
            "mode": daemon.mode,
            "state_dir": str(daemon.paths.root),
            "socket": str(daemon.settings.socket),
            "started_at": iso(daemon.started_at),
            "nodes": nodes_json(daemon.nodes.known),
            "jobs": daemon.store.counts(),
            "web": None if door is None else door.url or None,
            "share": share_of(daemon, caller_of(request)),
        }
    )
