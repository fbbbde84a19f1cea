"""The groups that sweeps make: which job is in which, and how the jobs of a group stand."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence

from gpujobs.errors import NotFoundError
from gpujobs.model import Group, State, from_iso

REPLACED = "EXISTS (SELECT 1 FROM jobs c WHERE c.origin = coalesce(jobs.origin, jobs.id) AND c.id > jobs.id)"
"""Whether a row of `jobs` was queued again: of its line there is a newer job, which counts in its place."""

_COUNTED = f"""
    SELECT group_id, sweep, uid, user, state, count(*) AS jobs, min(submitted_at) AS submitted_at,
        min(started_at) AS started_at, max(ended_at) AS ended_at
    FROM jobs WHERE group_id IN (SELECT value FROM json_each(?)) AND NOT {REPLACED} GROUP BY group_id, state
"""


def counted(connection: sqlite3.Connection, ids: Collection[int]) -> dict[int, Group]:
    by_group: dict[int, list[sqlite3.Row]] = {}
    for row in connection.execute(_COUNTED, (json.dumps(sorted(ids)),)):
        by_group.setdefault(row["group_id"], []).append(row)
    return {number: _group(rows) for number, rows in by_group.items()}


def _group(rows: Sequence[sqlite3.Row]) -> Group:
    counts = {State(row["state"]): row["jobs"] for row in rows}
    started = [row["started_at"] for row in rows if row["started_at"]]
    ended = [row["ended_at"] for row in rows if row["ended_at"]]
    submitted_at = from_iso(min(row["submitted_at"] for row in rows))
    assert submitted_at is not None
    return Group(
        id=rows[0]["group_id"],
        name=rows[0]["sweep"],
        uid=rows[0]["uid"],
        user=rows[0]["user"],
        counts=counts,
        submitted_at=submitted_at,
        started_at=from_iso(min(started, default=None)),
        ended_at=from_iso(max(ended)) if all(state.is_final for state in counts) else None,
    )


def newest(connection: sqlite3.Connection, uid: int, name: str) -> int:
    query = "SELECT max(group_id) FROM jobs WHERE uid = ? AND sweep = ?"
    (found,) = connection.execute(query, (uid, name)).fetchone()
    if found is None:
        raise NotFoundError(f"a group {name!r} of yours does not exist; a job is named by its number")
    return int(found)


def newest_of(connection: sqlite3.Connection, user: str, name: str) -> int:
    query = "SELECT max(group_id) FROM jobs WHERE user = ? AND sweep = ?"
    (found,) = connection.execute(query, (user, name)).fetchone()
    if found is None:
        raise NotFoundError(f"a group {name!r} of {user}'s does not exist; a job is named by its number")
    return int(found)
