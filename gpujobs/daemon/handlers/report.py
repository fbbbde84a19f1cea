"""`GET /v1/report`: sums of what was used, by user, group, week or device, as JSON or CSV."""

from __future__ import annotations

import grp
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from sqlite3 import Row
from zoneinfo import ZoneInfo

from aiohttp import web

from gpujobs.daemon.handlers.query import instant_in
from gpujobs.daemon.keys import DEVICES, JOB_QUERIES, caller_of
from gpujobs.errors import UsageError
from gpujobs.measured import sums
from gpujobs.model import Caller, utc_now
from gpujobs.policy.users.fairshare import device_share
from gpujobs.store.devices import instant_of
from gpujobs.store.presence import HOUR, Hours
from gpujobs.store.reader import Reader
from gpujobs.view import report_csv
from gpujobs.view.report import BY, REMOVED, Presence, Report, Use, report

SPAN = timedelta(days=7)
CSV = "csv"
FORMATS = ("json", CSV)
OTHERS = "others"
"""Where the site hides names: everybody but the caller."""


async def handle(request: web.Request) -> web.Response:
    queries, caller, now = request.app[JOB_QUERIES], caller_of(request), utc_now()
    until = instant_in(request, "until") or now
    since = instant_in(request, "since") or until - SPAN
    by = request.query.get("by", BY[0])
    if by not in BY:
        raise UsageError(f"a report is by {', '.join(BY)}, not by {by!r}")
    if (kind := request.query.get("format", FORMATS[0])) not in FORMATS:
        raise UsageError(f"a report is written as {' or '.join(FORMATS)}, not as {kind!r}")
    if since >= until:
        raise UsageError("a report goes from an earlier instant to a later one")
    zone, until = _zone(request.query.get("zone", "UTC")), min(until, now) if since < now else until
    there = {one.uuid: f"{one.node}:{one.kind} {one.index}" for one in request.app[DEVICES].nodes.devices}

    def work(store: Reader) -> web.Response:
        rows, is_whole = store.report_rows(since, until)
        devices = _devices(there, rows, store.first_seen(), store.strangers(since, until))
        found = report(_uses(rows, caller, now), since, until, by, zone, devices)
        return _as_csv(found) if kind == CSV else web.json_response({**found.to_json(), "is_whole": is_whole})

    async with queries.apart.moment(caller.uid, queries.store) as moment:
        return await moment.read(work)


def _as_csv(found: Report) -> web.Response:
    name = f"gpujobs-by-{found.by}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return web.Response(text=report_csv.text(found.rows), content_type="text/csv", headers=headers)


def _devices(
    there: Mapping[str, str], rows: Sequence[Row], first_seen: Mapping[str, datetime], strangers: Hours
) -> dict[str, Presence]:
    """By the names that rows have. `there`: the names of the devices that are there now, by UUID. Two that had a place
    one after the other are one. As long as no node has told of its devices, none is taken for gone."""
    used = {row["uuid"]: _name(row) for row in reversed(rows) if row["uuid"] is not None}
    names = {**used, **there}
    seen: dict[str, list[tuple[datetime, datetime, float]]] = {}
    for uuid, hour, seconds in strangers:
        seen.setdefault(names.get(uuid, uuid), []).append((hour, hour + HOUR, seconds))
    since: dict[str, datetime] = {}
    for uuid, at in first_seen.items():
        if (name := names.get(uuid)) is not None:
            since[name] = min(at, since.get(name, at))
    known = {*names.values(), *seen}
    present = set(there.values()) or known
    return {name: Presence(since.get(name), name in present, seen.get(name, ())) for name in sorted(known)}


def _zone(name: str) -> tzinfo:
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # of names that are none KeyError
        raise UsageError(f"there is no time zone {name!r}; expected a name such as Europe/Berlin") from None


def _uses(rows: Sequence[Row], caller: Caller, now: datetime) -> list[Use]:
    group = lru_cache(maxsize=None)(_group)
    return [_use(row, caller, now, "" if row["gid"] is None else group(row["gid"])) for row in rows]


def _use(row: Row, caller: Caller, now: datetime, group: str) -> Use:
    is_named = caller.sees_names or row["user"] == caller.user
    starts = instant_of(row["started_at"])
    of_first = row["number"] == 1
    whole = row["device_memory_bytes"]
    sampled = sums.read(None if row["device_use"] is None else json.loads(row["device_use"]))
    return Use(
        user=row["user"] if is_named else OTHERS,
        group=(group or REMOVED) if is_named else OTHERS,
        device=REMOVED if row["node"] is None else _name(row),
        kind=row["kind"],
        job=row["job"],
        starts_at=starts,
        ends_at=max(starts, now if row["ended_at"] is None else instant_of(row["ended_at"])),
        share=device_share(row["gpu_memory_bytes"], whole),
        reserved_bytes=whole if row["gpu_memory_bytes"] is None else row["gpu_memory_bytes"],
        peak_bytes=row["peak_bytes"],
        waited_seconds=_waited(row, starts) if of_first else None,
        idle=sampled.idle,
        energy_joules=sampled.energy_joules,
    )


def _name(row: Row) -> str:
    return f"{row['node']}:{row['kind']} {row['number_of']}"


def _waited(row: Row, starts: datetime) -> float:
    """Seconds since the job might have started: it was submitted, and the time came at which it was to begin. As
    instants, since a time to begin has the offset of whoever gave it."""
    since = max(instant_of(row[name]) for name in ("submitted_at", "begin_at") if row[name] is not None)
    return max(0.0, (starts - since).total_seconds())


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
