"""`GET /v1/gpus`: every device, asked at this moment."""

from __future__ import annotations

from aiohttp import web

from gpujobs.daemon.keys import daemon_of
from gpujobs.daemon.wire import nodes_json, occupancy_json
from gpujobs.model import utc_now
from gpujobs.policy import Snapshot, occupancies


async def handle(request: web.Request) -> web.Response:
    daemon = daemon_of(request)
    nodes = await daemon.nodes.probe()
    views = occupancies(Snapshot(utc_now(), (), nodes, daemon.board.allocations()))
    return web.json_response(
        {"devices": [occupancy_json(view) for view in views], "nodes": nodes_json(nodes)}
    )
