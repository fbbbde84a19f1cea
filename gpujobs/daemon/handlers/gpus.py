"""`GET /v1/gpus`: every device, asked at this moment."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web

from gpujobs.daemon.keys import caller_of, daemon_of
from gpujobs.daemon.wire import nodes_json, occupancy_json
from gpujobs.model import Caller, Device, Node, Process, utc_now
from gpujobs.policy import Snapshot, occupancies


async def handle(request: web.Request) -> web.Response:
    daemon, caller = daemon_of(request), caller_of(request)
    nodes = [_as_seen_by(caller, node) for node in await daemon.nodes.probe()]
    views = occupancies(Snapshot(utc_now(), (), nodes, daemon.board.allocations()))
    return web.json_response(
        {"devices": [occupancy_json(view) for view in views], "nodes": nodes_json(nodes)}
    )


def _as_seen_by(caller: Caller, node: Node) -> Node:
    """Without the names and commands of other people's processes, where the site hides them."""
    if caller.sees_names:
        return node

    def process(one: Process) -> Process:
        return one if one.user == caller.user else replace(one, user=None, command=None)

    def device(one: Device) -> Device:
        return replace(one, processes=tuple(map(process, one.processes)))

    return replace(node, devices=tuple(map(device, node.devices)))
