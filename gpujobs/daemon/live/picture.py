"""The queue and the devices as one caller sees them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

from gpujobs.daemon.api_json import nodes_json, occupancy_json
from gpujobs.daemon.devices.service import DeviceService
from gpujobs.daemon.jobs.listing import describe_groups
from gpujobs.daemon.jobs.queries import JobQueries
from gpujobs.model import Caller, Device, Job, Node, Process
from gpujobs.view import now as view
from gpujobs.view.now import Now
from gpujobs.view.order import rows as ordered

ENDED_SHOWN = 20
"""Of the jobs that have ended, on a page that shows the box as it is."""


def queue(
    queries: JobQueries,
    caller: Caller,
    jobs: Iterable[Job],
    *,
    unfolded: bool = False,
    alone: Collection[int] = (),
    limit: int = 0,
) -> Now:
    """`limit` 0: all rows."""
    queries.forecast.refresh()
    rows = ordered(jobs, unfolded=unfolded, alone=alone, own_uid=caller.uid)
    shown = rows[: limit or len(rows)]
    groups = queries.store.groups({row for row in shown if isinstance(row, int)})
    described = describe_groups(queries.cache, groups, caller)
    return Now(
        tuple(
            view.row({"group": described[row]}, is_own=groups[row].uid == caller.uid)
            if isinstance(row, int)
            else view.row({"job": queries.json(row, caller)}, is_own=row.uid == caller.uid)
            for row in shown
        ),
        len(rows),
        tuple(queries.foreign.notices(caller.user)),
    )


def box(queries: JobQueries, devices: DeviceService, caller: Caller, limit: int) -> Now:
    """What has not ended, what has ended lately, and every device as it was last read."""
    seen = queue(queries, caller, [*queries.cache.jobs.values(), *lately(queries)], limit=limit)
    return with_devices(devices, caller, seen)


def lately(queries: JobQueries) -> list[Job]:
    return queries.store.ended(limit=ENDED_SHOWN)


def with_devices(devices: DeviceService, caller: Caller, seen: Now) -> Now:
    nodes = devices.nodes.known
    described = tuple(_described(devices, caller, nodes))
    return replace(seen, devices=described, nodes=tuple(nodes_json(nodes)))


def _described(devices: DeviceService, caller: Caller, nodes: Sequence[Node]) -> list[dict[str, Any]]:
    views = devices.occupancies([as_seen_by(caller, node) for node in nodes])
    return [occupancy_json(one, caller) for one in views]


def as_seen_by(caller: Caller, node: Node) -> Node:
    """Without the names and commands of other people's processes, where the site hides them."""
    if caller.sees_names:
        return node

    def process(one: Process) -> Process:
        return one if one.user == caller.user else replace(one, user=None, command=None)

    def device(one: Device) -> Device:
        return replace(one, processes=tuple(map(process, one.processes)))

    return replace(node, devices=tuple(map(device, node.devices)))
