"""Between rows and values."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from gpujobs.demand import NO_DEPENDENCIES, Dependencies
from gpujobs.model import Attempt, DeviceKind, Event, Job, Outline, Reason, Share, State, from_iso, iso
from gpujobs.store import demands

ATTEMPT_COLUMNS = (
    "node",
    "device_uuid",
    "device_kind",
    "device_index",
    "device_name",
    "started_at",
    "running_at",
    "ended_at",
    "pid",
    "reason",
    "message",
    "exit_code",
    "exit_signal",
    "exit_record",
    "gpu_memory_bytes",
    "device_memory_bytes",
    "nonce",
    "device_use",
)

UNFINISHED = "('PENDING', 'STARTING', 'RUNNING', 'COMPLETING')"
"""The states of jobs that have not ended, for SQL."""

SELECT_JOBS = (
    "SELECT jobs.*, "
    + ", ".join(f"a.{column} AS a_{column}" for column in ATTEMPT_COLUMNS)
    + " FROM jobs LEFT JOIN attempts a ON a.job = jobs.id AND a.number = jobs.attempt"
)


SELECT_OUTLINES = "SELECT id, name, uid, user, state, share, sweep, group_id FROM jobs"


def dependency_rows(job: int, awaits: Dependencies) -> Iterator[DependencyRow]:
    for kind, jobs in enumerate((awaits.after, awaits.after_any, awaits.after_failed)):
        for after in jobs:
            yield DependencyRow(job, after, kind, awaits.groups.get(after))


def dependencies_of(rows: Iterable[DependencyRow]) -> Dependencies:
    """Of the rows of one job. `any_end` is 0: must complete, 1: must end, 2: must end without success."""
    kinds: tuple[list[int], list[int], list[int]] = ([], [], [])
    groups: dict[int, int] = {}
    for row in rows:
        kinds[row.any_end].append(row.after)
        if row.of_group is not None:
            groups[row.after] = row.of_group
    after, after_any, after_failed = map(tuple, kinds)
    return Dependencies(after, after_any, after_failed, groups)


def job_of(row: sqlite3.Row, awaits: Dependencies = NO_DEPENDENCIES) -> Job:
    """A row of SELECT_JOBS as a Job."""
    current = None
    if row["a_node"] is not None:
        current = _attempt(row, row["id"], row["attempt"], "a_")
    return Job(
        id=row["id"],
        name=row["name"],
        uid=row["uid"],
        user=row["user"],
        state=State(row["state"]),
        reason=Reason(row["reason"]),
        message=row["message"],
        demand=demands.read(row["demand"], awaits),
        submitted_at=_instant(row["submitted_at"]),
        started_at=from_iso(row["started_at"]),
        ended_at=from_iso(row["ended_at"]),
        attempt=row["attempt"],
        retries=row["retries"],
        retries_used=row["retries_used"],
        held=bool(row["held"]),
        cancel_requested=bool(row["cancel_requested"]),
        continues=row["continues"],
        origin=row["origin"],
        finish=bool(row["finish"]),
        begins_anew=bool(row["begins_anew"]),
        group=row["sweep"],
        group_id=row["group_id"],
        sweep_values=_json(row["sweep_values"]),
        progress=_json(row["progress"]),
        results=row["results"],
        results_removed_at=from_iso(row["results_removed_at"]),
        results_removed_by=row["results_removed_by"],
        share=Share(row["share"]),
        current=current,
    )


_STATES = {str(state): state for state in State}
_SHARES = {str(share): share for share in Share}


def outline_of(row: sqlite3.Row) -> Outline:
    """A row of SELECT_OUTLINES."""
    id, name, uid, user, state, share, group, group_id = row
    return Outline(id, name, uid, user, _STATES[state], _SHARES[share], group, group_id)


def attempt_of(row: sqlite3.Row) -> Attempt:
    return _attempt(row, row["job"], row["number"], "")


def event_of(row: sqlite3.Row) -> Event:
    return Event(
        job=row["job"],
        at=_instant(row["at"]),
        kind=row["kind"],
        actor=row["actor"],
        attempt=row["attempt"],
        from_state=State(row["from_state"]) if row["from_state"] else None,
        to_state=State(row["to_state"]) if row["to_state"] else None,
        reason=Reason(row["reason"]),
        message=row["message"],
    )


class EventRow(NamedTuple):
    """In the order of the table's columns."""

    job: int
    at: str
    kind: str
    actor: str
    attempt: int | None
    from_state: State | None
    to_state: State | None
    reason: Reason
    message: str


class DependencyRow(NamedTuple):
    """In the order of the table's columns."""

    job: int
    after: int
    any_end: int
    of_group: int | None


def event_row(event: Event) -> EventRow:
    return EventRow(
        event.job,
        iso(event.at) or "",
        event.kind,
        event.actor,
        event.attempt,
        event.from_state,
        event.to_state,
        event.reason,
        event.message,
    )


def _attempt(row: sqlite3.Row, job: int, number: int, prefix: str) -> Attempt:
    return Attempt(
        job=job,
        number=number,
        node=row[prefix + "node"],
        device_uuid=row[prefix + "device_uuid"],
        device_kind=DeviceKind(row[prefix + "device_kind"]),
        device_index=row[prefix + "device_index"],
        device_name=row[prefix + "device_name"],
        started_at=_instant(row[prefix + "started_at"]),
        running_at=from_iso(row[prefix + "running_at"]),
        ended_at=from_iso(row[prefix + "ended_at"]),
        pid=row[prefix + "pid"],
        reason=Reason(row[prefix + "reason"]),
        message=row[prefix + "message"],
        exit_code=row[prefix + "exit_code"],
        exit_signal=row[prefix + "exit_signal"],
        exit_record=_json(row[prefix + "exit_record"]),
        gpu_memory_bytes=row[prefix + "gpu_memory_bytes"],
        device_memory_bytes=row[prefix + "device_memory_bytes"],
        nonce=row[prefix + "nonce"],
        device_use=_json(row[prefix + "device_use"]),
    )


def _instant(text: str) -> Any:
    return from_iso(text)


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)
