"""The queue and the devices as one caller sees them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

from gpujobs.daemon.api_json import nodes_json, occupancy_json
from gpujobs.daemon.devices.service import DeviceService
from gpujobs.daemon.jobs.listing import describe_groups
from gpujobs.daemon.jobs.queries import JobQueries
from gpujobs.daemon.pauses import Pauses
from gpujobs.model import Caller, Device, Job, Node, Outline, Process
from gpujobs.view import now as view
from gpujobs.view.now import Now
from gpujobs.view.order import Row, first_rows
from gpujobs.view.order import rows as ordered

BATCH = 200
"""Rows that are drawn at a time."""


async def queue(
    queries: JobQueries,
    caller: Caller,
    jobs: Iterable[Job | Outline],
    *,
    unfolded: bool = False,
    alone: Collection[int] = (),
    limit: int = 0,
) -> Now:
    """`limit` 0: all rows."""
    found = list(jobs)
    rows = await queries.apart.run(lambda: ordered(found, unfolded=unfolded, alone=alone, own_uid=caller.uid))
    return await _drawn(queries, caller, rows[: limit or len(rows)], len(rows))


async def box(queries: JobQueries, devices: DeviceService, caller: Caller, limit: int) -> Now:
    """What has not ended, what has ended lately, and every device as it was last read."""
    lines, lately = queries.cache.lines, queries.lately()
    rows = first_rows(lines.for_user(caller.uid), lately, caller.uid, limit)
    ended = {job.id if job.group_id is None else (job.group_id,) for job in lately}
    total = lines.rows + len(ended - {(group,) for group in lines.groups})
    return with_devices(devices, caller, await _drawn(queries, caller, rows, total))


async def _drawn(queries: JobQueries, caller: Caller, shown: Sequence[Row], total: int) -> Now:
    """Without what was pruned since `shown` was made."""
    queries.forecast.refresh()
    groups = queries.store.groups({row for row in shown if isinstance(row, int)})
    described = describe_groups(queries.cache, groups, caller)
    rows, pauses = list[view.Row](), Pauses()
    for start in range(0, len(shown), BATCH):
        part = shown[start : start + BATCH]
        whole = {job.id: job for job in queries.whole(row for row in part if not isinstance(row, int))}
        for row in part:
            if not isinstance(row, int):
                rows += [queries.row(whole[row.id], caller)] if row.id in whole else []
            elif row in groups:
                rows.append(view.row({"group": described[row]}, is_own=groups[row].uid == caller.uid))
        await pauses.due()
    return Now(tuple(rows), total, tuple(queries.foreign.notices(caller.user)))


def with_nodes(queries: JobQueries, seen: Now) -> Now:
    """Where there are several."""
    return replace(seen, nodes=tuple(nodes_json(queries.site())))


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
