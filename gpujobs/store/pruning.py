"""What may go of ended jobs, and its going."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from gpujobs.model import Event, State, iso, utc_now
from gpujobs.store import events
from gpujobs.store.database import transaction
from gpujobs.store.devices import instant_of
from gpujobs.store.rows import UNFINISHED


@dataclass(frozen=True, slots=True)
class EndedJob:
    """As far as retention cares. `results` is None where it has none, or none any more."""

    id: int
    uid: int
    user: str
    state: State
    ended_at: datetime
    group_id: int | None
    results: str | None
    are_results_removed: bool


@dataclass(frozen=True, slots=True)
class StoredData:
    """Uploaded data that no job which has not ended uses. `last_used_at`: when it came, or the last such job ended."""

    uid: int
    user: str | None
    sha256: str
    bytes: int
    last_used_at: datetime


_NEEDED = f"""
    WITH RECURSIVE unfinished AS (SELECT id, spec, continues FROM jobs WHERE state IN {UNFINISHED}),
    needed (job) AS (
        SELECT after FROM dependencies WHERE job IN (SELECT id FROM unfinished)
        UNION SELECT continues FROM unfinished WHERE continues IS NOT NULL
        UNION SELECT named.value FROM unfinished JOIN specs ON specs.id = unfinished.spec,
            json_tree(specs.resolved, '$.model') named WHERE named.key = 'job' AND named.type = 'integer'
        UNION SELECT jobs.continues FROM needed JOIN jobs ON jobs.id = needed.job WHERE jobs.continues IS NOT NULL
    )
    SELECT job FROM needed
"""

_DATA = f"""
    SELECT d.uid, d.sha256, d.bytes, max(d.stored_at, coalesce(max(j.ended_at), d.stored_at)) AS last_used_at,
        (SELECT user FROM jobs WHERE uid = d.uid ORDER BY id DESC LIMIT 1) AS user
    FROM data d
    LEFT JOIN job_data r ON r.sha256 = d.sha256 AND r.in_place IS NULL
    LEFT JOIN jobs j ON j.id = r.job AND j.uid = d.uid
    GROUP BY d.uid, d.sha256 HAVING NOT coalesce(max(j.state IN {UNFINISHED}), 0)
    ORDER BY last_used_at
"""

_IDS = "(SELECT value FROM json_each(?))"


class Pruning:
    """Used from the daemon's event loop only, with the store's connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def ended(self) -> list[EndedJob]:
        """In the order of their ends."""
        rows = self._connection.execute(
            "SELECT id, uid, user, state, coalesce(ended_at, submitted_at) AS ended_at, group_id, results,"
            f" results_removed_at FROM jobs WHERE state NOT IN {UNFINISHED} ORDER BY 5, id"
        )
        return [
            EndedJob(
                row["id"],
                row["uid"],
                row["user"],
                State(row["state"]),
                instant_of(row["ended_at"]),
                row["group_id"],
                row["results"],
                row["results_removed_at"] is not None,
            )
            for row in rows
        ]

    def needed(self) -> frozenset[int]:
        """Jobs that one which has not ended waits for, goes on from (also by way of others), or whose model it
        uses."""
        return frozenset(row["job"] for row in self._connection.execute(_NEEDED))

    def unused_data(self) -> list[StoredData]:
        rows = self._connection.execute(_DATA)
        return [StoredData(**{**dict(row), "last_used_at": instant_of(row["last_used_at"])}) for row in rows]

    def unfinished(self) -> frozenset[int]:
        rows = self._connection.execute(f"SELECT id FROM jobs WHERE state IN {UNFINISHED}")
        return frozenset(row["id"] for row in rows)

    def in_living_groups(self) -> frozenset[int]:
        """The members of groups of which one has not ended."""
        rows = self._connection.execute(
            "SELECT id FROM jobs WHERE group_id IN"
            f" (SELECT group_id FROM jobs WHERE state IN {UNFINISHED} AND group_id IS NOT NULL)"
        )
        return frozenset(row["id"] for row in rows)

    def forget_results(self, job: int, actor: str, message: str) -> None:
        """They are still on the disk when this is committed, and go then."""
        with transaction(self._connection):
            self._connection.execute(
                "UPDATE jobs SET results = NULL, results_removed_at = ?, results_removed_by = ? WHERE id = ?",
                (iso(utc_now()), actor, job),
            )
            self.note(job, actor, message)

    def note(self, job: int, actor: str, message: str) -> None:
        """That something of the job was removed."""
        with transaction(self._connection):
            events.record(self._connection, [Event(job, utc_now(), "removed", actor, message=message)])

    def delete(self, ids: Collection[int]) -> None:
        """Ended jobs with all that the store has of them. What they used stays, for fair share and for estimates."""
        numbers = json.dumps(sorted(ids))
        with transaction(self._connection) as connection:
            connection.execute("PRAGMA defer_foreign_keys = ON")  # until the commit
            for statement in _DELETE:
                connection.execute(statement, [numbers] * statement.count("?"))


_DELETE = (
    "INSERT INTO past_use (user, started_at, ended_at, gpu_memory_bytes, device_memory_bytes, device_use)"
    " SELECT j.user, a.started_at, a.ended_at, a.gpu_memory_bytes, a.device_memory_bytes, a.device_use"
    f" FROM attempts a JOIN jobs j ON j.id = a.job WHERE a.job IN {_IDS} AND a.ended_at IS NOT NULL",
    "INSERT INTO past_peaks (family, peak_bytes) SELECT j.family, max(a.peak_bytes)"
    f" FROM attempts a JOIN jobs j ON j.id = a.job WHERE a.job IN {_IDS} AND j.family IS NOT NULL"
    " AND a.peak_bytes IS NOT NULL GROUP BY j.family"
    " ON CONFLICT (family) DO UPDATE SET peak_bytes = max(peak_bytes, excluded.peak_bytes)",
    "CREATE TEMP TABLE IF NOT EXISTS pruned_specs (id INTEGER PRIMARY KEY)",
    "DELETE FROM pruned_specs",
    f"INSERT INTO pruned_specs SELECT DISTINCT spec FROM jobs WHERE id IN {_IDS}",
    f"UPDATE jobs SET continues = NULL WHERE continues IN {_IDS}",
    # What was queued again and stays: the first of those counts as the first.
    "UPDATE jobs SET origin = nullif(line.first, jobs.id) FROM (SELECT origin AS gone, min(id) AS first FROM jobs"
    f" WHERE origin IN {_IDS} AND id NOT IN {_IDS} GROUP BY origin) AS line WHERE jobs.origin = line.gone",
    f"DELETE FROM jobs WHERE id IN {_IDS}",
    f"DELETE FROM events WHERE job IN {_IDS}",
    f"DELETE FROM attempts WHERE job IN {_IDS}",
    f"DELETE FROM job_data WHERE job IN {_IDS}",
    f"DELETE FROM dependencies WHERE job IN {_IDS} OR after IN {_IDS} OR of_group IN {_IDS}",
    # The text of a file is stored with the first of its jobs, and may be needed by others that stay.
    "DELETE FROM pruned_specs WHERE id IN (SELECT spec FROM jobs)",
    "DELETE FROM specs WHERE id IN pruned_specs AND source_of IS NOT NULL",
    "DELETE FROM specs WHERE id IN pruned_specs"
    " AND NOT EXISTS (SELECT 1 FROM specs other WHERE other.source_of = specs.id)",
)
