"""`GET /v1/timeline`: what each device was, is and will probably be used for, as the caller may see it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from sqlite3 import Row

from aiohttp import web

from gpujobs.daemon.access.policy import sees_names_of
from gpujobs.daemon.handlers.query import instant_in
from gpujobs.daemon.jobs.queries import JobQueries
from gpujobs.daemon.keys import DEVICES, JOB_QUERIES, caller_of
from gpujobs.errors import UsageError
from gpujobs.model import Caller, Device, DeviceKind, Job, NodeStatus, utc_now
from gpujobs.store import timeline as stored
from gpujobs.store.devices import instant_of
from gpujobs.store.reader import Reader
from gpujobs.view import timeline
from gpujobs.view.timeline import Lane, Span, Timeline, stacked

PAST, FUTURE = timedelta(hours=12), timedelta(hours=12)
LONGEST = timedelta(days=366)


async def handle(request: web.Request) -> web.Response:
    queries, caller, now = request.app[JOB_QUERIES], caller_of(request), utc_now()
    start, end = _span(request, now)
    if end > now:
        await queries.forecast.fresh()
    async with queries.apart.moment(caller.uid, queries.store) as moment:
        rows, jobs = await moment.read(lambda store: _read(store, start, end))
    spans: dict[tuple[str, str], list[Span]] = defaultdict(list)
    nodes = request.app[DEVICES].nodes
    devices = {(one.node, one.uuid): one for one in nodes.devices}
    for row in rows.attempts:
        devices.setdefault((row["node"], row["device_uuid"]), _device(row))
    for key, found in [
        *_attempts(jobs, caller, rows.attempts),
        *_expected(queries, caller, start, end),
        *_of_devices(caller, devices, rows, start, end),
    ]:
        spans[key].append(found)
    lanes = [
        Lane(one.node, one.kind, one.index, one.uuid, one.name, stacked(spans[key]))
        for key, one in sorted(devices.items(), key=lambda item: (item[1].node, item[1].index, item[1].uuid))
    ]
    said = {
        node.name: "" if node.status is NodeStatus.OK else node.message or node.status for node in nodes.known
    }
    several = said if nodes.has_others else {}
    return web.json_response(Timeline(start, end, now, lanes, rows.is_whole, several).to_json())


def _span(request: web.Request, now: datetime) -> tuple[datetime, datetime]:
    start, end = (instant_in(request, name) for name in ("from", "to"))
    end = end or (now + FUTURE if start is None or start < now else start + FUTURE)
    start = start or min(now, end) - PAST
    if not timedelta() < end - start <= LONGEST:
        raise UsageError("a time line goes from an earlier instant to a later one, at most a year after it")
    return start, end


def _device(row: Row) -> Device:
    """One that is no longer there."""
    return Device(
        node=row["node"], kind=DeviceKind(row["device_kind"]), index=row["device_index"], uuid=row["device_uuid"],
        name=row["device_name"],
    )  # fmt: skip


def _label(caller: Caller, job: Job) -> str:
    return f"{job.name} ({job.user})" if sees_names_of(caller, job) else ""


def _read(store: Reader, start: datetime, end: datetime) -> tuple[stored.Rows, dict[int, Job]]:
    rows = store.timeline(start, end)
    return rows, {job.id: job for job in store.jobs({row["job"] for row in rows.attempts})}


def _attempts(
    jobs: Mapping[int, Job], caller: Caller, rows: Sequence[Row]
) -> list[tuple[tuple[str, str], Span]]:
    found = []
    for row in rows:
        job, is_last = jobs[row["job"]], row["number"] == row["attempt"]
        state = row["state"] if is_last else (row["reason"] or "ended")
        ended = None if row["ended_at"] is None else instant_of(row["ended_at"])
        span = Span(
            timeline.JOB,
            instant_of(row["started_at"]),
            ended,
            _label(caller, job),
            state,
            job.id,
            row["number"],
        )
        found.append(((row["node"], row["device_uuid"]), span))
    return found


def _expected(
    queries: JobQueries, caller: Caller, start: datetime, end: datetime
) -> list[tuple[tuple[str, str], Span]]:
    found = []
    for id, run in queries.forecast.runs.items():
        job = queries.cache.jobs.get(id)
        if job is None or job.state != "PENDING" or run.starts_at >= end:
            continue
        until = None if run.seconds is None else run.starts_at + timedelta(seconds=run.seconds)
        span = Span(timeline.EXPECTED, run.starts_at, until, _label(caller, job), job.state, id)
        found.append(((run.node, run.device_uuid), span))
    return found if end > start else []


def _of_devices(
    caller: Caller, devices: dict[tuple[str, str], Device], rows: stored.Rows, start: datetime, end: datetime
) -> list[tuple[tuple[str, str], Span]]:
    """Reservations, drains and strangers, which the store has by UUID alone."""
    found: list[tuple[tuple[str, str], Span]] = []
    for key, device in devices.items():
        own = [one for one in rows.device_events if one["device"] == device.uuid]
        changes = [(instant_of(one["at"]), one["kind"], one["message"]) for one in own]
        spans = timeline.drains(changes, start, end)
        spans += [_reserved(caller, one) for one in rows.reservations if one["device"] == device.uuid]
        spans += [
            Span(timeline.STRANGER, at, at, message if caller.sees_names else "")
            for at, kind, message in changes
            if kind == "stranger" and start <= at
        ]
        found += [(key, span) for span in spans if span.ends_at is None or span.ends_at >= start]
    return found


def _reserved(caller: Caller, row: Row) -> Span:
    is_named = caller.sees_names or row["user"] == caller.user
    holder = row["user"] or f"group {row['unix_group']}"
    starts, ends = instant_of(row["starts_at"]), instant_of(row["ends_at"])
    return Span(timeline.RESERVATION, starts, ends, holder if is_named else "")
