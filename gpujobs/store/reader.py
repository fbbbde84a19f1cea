"""Reading the store: jobs, groups, attempts, events."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

from gpujobs.demand import NO_DEPENDENCIES, Dependencies
from gpujobs.errors import NotFoundError, StoreError
from gpujobs.model import Attempt, Event, Group, Job, Outline, State, iso
from gpujobs.store import groups, presence, report, timeline
from gpujobs.store.database import HOW_TO_RESTORE
from gpujobs.store.records import DataReference, StoredSpec, Wanted
from gpujobs.store.rows import (
    SELECT_JOBS,
    SELECT_OUTLINES,
    UNFINISHED,
    DependencyRow,
    attempt_of,
    dependencies_of,
    event_of,
    job_of,
    outline_of,
)

UNFINISHED_STATES = frozenset(state for state in State if not state.is_final)
MAX_ID = (1 << 63) - 1
"""Of SQLite's integers."""


class Reader:
    """All that is asked of the store; what changes it is `Store`'s."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def frozen(self) -> contextlib.AbstractContextManager[Reader]:
        """The store as it is at this call, whatever is written later, for another thread. Raises StoreError."""
        return contextlib.nullcontext(self)  # nobody writes it

    @property
    def changes(self) -> int:
        """Grows with whatever this connection, the only one that writes, changes."""
        return self._connection.total_changes

    def of_request(self, uid: int, request_key: str) -> list[Job]:
        """The jobs that a submission with this key has made; none where there was no such one."""
        return self._select("jobs.uid = ? AND jobs.request_key = ?", (uid, request_key))

    def job(self, job: int) -> Job:
        """Raises NotFoundError where there is no such job."""
        found = self._select("jobs.id = ?", (job,)) if job <= MAX_ID else []
        if not found:
            raise NotFoundError(f"job {job} does not exist")
        return found[0]

    def existing(self, ids: Collection[int]) -> list[Job]:
        """Those of these that there are, by their numbers."""
        return self._select("jobs.id IN (SELECT value FROM json_each(?))", (json.dumps(sorted(ids)),))

    def jobs(self, ids: Collection[int]) -> list[Job]:
        """In the order of `ids`. Raises NotFoundError that names those which do not exist."""
        found = {job.id: job for job in self.existing(ids)}
        unknown = [str(number) for number in ids if number not in found]
        if unknown:
            some, verb = ("job", "does") if len(unknown) == 1 else ("jobs", "do")
            raise NotFoundError(f"{some} {', '.join(unknown)} {verb} not exist")
        return [found[number] for number in ids]

    def groups(self, ids: Collection[int]) -> dict[int, Group]:
        """Those of `ids` that exist, by id."""
        return groups.counted(self._connection, ids)

    def members(self, group: int) -> list[Job]:
        """In the order of their ids. Raises NotFoundError where there is no such group."""
        found = self._select("jobs.group_id = ?", (group,))
        if not found:
            raise NotFoundError(f"group g{group} does not exist")
        return found

    def line_of(self, job: int) -> list[Job]:
        """The job, what it was queued again as and what it was that of, the oldest first. Raises UsageError
        where there is no such job."""
        root = self.job(job).root
        return self._select("jobs.id = ? OR jobs.origin = ?", (root, root))

    def replaced(self, ids: Collection[int]) -> set[int]:
        """Those of `ids` that were queued again: a newer job stands in their place."""
        rows = self._connection.execute(
            f"SELECT jobs.id FROM jobs WHERE id IN (SELECT value FROM json_each(?)) AND {groups.REPLACED}",
            (json.dumps(sorted(ids)),),
        )
        return {row["id"] for row in rows}

    def matching(self, wanted: Wanted) -> list[Job]:
        """In the order of their ids."""
        where, values = ["true"], list[object]()
        states = json.dumps(sorted(wanted.states)) if wanted.states else None
        for condition, value in (
            ("jobs.uid = ?", wanted.uid),
            ("jobs.user = ?", wanted.user),
            ("jobs.id >= ?", wanted.first),
            ("jobs.id <= ?", wanted.last),
            ("jobs.state IN (SELECT value FROM json_each(?))", states),
            ("coalesce(jobs.ended_at, jobs.submitted_at) >= ?", iso(wanted.since)),
        ):
            if value is not None:
                where.append(condition)
                values.append(value)
        return self._select(" AND ".join(where), values)

    def newest_group(self, uid: int, name: str) -> int:
        """The id. Raises UsageError where this user has no group of that name."""
        return groups.newest(self._connection, uid, name)

    def newest_group_of(self, user: str, name: str) -> int:
        """As `newest_group`, of a user by name."""
        return groups.newest_of(self._connection, user, name)

    def unfinished(self) -> list[Job]:
        return self._select(f"jobs.state IN {UNFINISHED}", ())

    def ended(self, limit: int = 0) -> list[Job]:
        """Jobs in a final state, the oldest first; `limit` keeps the newest so many, 0 keeps all."""
        tail = f" ORDER BY jobs.id DESC LIMIT {int(limit)}" if limit else " ORDER BY jobs.id DESC"
        return self._select(f"jobs.state NOT IN {UNFINISHED}", (), tail)[::-1]

    def outlines(
        self, *, user: str | None = None, states: Collection[State] = (), since: datetime | None = None
    ) -> list[Outline]:
        """Of the jobs that have ended, the oldest first; `since`: of those that have ended since then."""
        where, values = [f"state NOT IN {UNFINISHED}"], list[object]()
        for condition, value in (
            ("user = ?", user),
            ("state IN (SELECT value FROM json_each(?))", json.dumps(sorted(states)) if states else None),
            ("coalesce(ended_at, submitted_at) >= ?", iso(since)),
        ):
            if value is not None:
                where.append(condition)
                values.append(value)
        with _readable():
            rows = self._connection.execute(
                f"{SELECT_OUTLINES} WHERE {' AND '.join(where)} ORDER BY id", values
            )
            return [outline_of(row) for row in rows]

    def _select(self, where: str, values: Sequence[object], tail: str = " ORDER BY jobs.id") -> list[Job]:
        with _readable():
            rows = self._connection.execute(f"{SELECT_JOBS} WHERE {where}{tail}", values).fetchall()
            only = rows[0]["id"] if len(rows) == 1 else None
            matter = only is not None or any(row["state"] in UNFINISHED_STATES for row in rows)
            awaits = self._dependencies(only) if matter else {}
            return [job_of(row, awaits.get(row["id"], NO_DEPENDENCIES)) for row in rows]

    def _dependencies(self, job: int | None) -> dict[int, Dependencies]:
        """Of `job`, or of all that have not ended (after that they no longer matter)."""
        chosen = f"(SELECT id FROM jobs WHERE state IN {UNFINISHED})" if job is None else f"({int(job)})"
        found: dict[int, list[DependencyRow]] = {}
        for row in self._connection.execute(
            f"SELECT job, after, any_end, of_group FROM dependencies WHERE job IN {chosen}"
        ):
            found.setdefault(row["job"], []).append(DependencyRow(*row))
        return {number: dependencies_of(rows) for number, rows in found.items()}

    def blocked_for_good(self) -> dict[int, str]:
        """Why PENDING jobs can never start, by job: what was to complete has not, or what was to fail has
        completed."""
        failed = self._connection.execute(
            "SELECT d.job, d.after, a.state FROM dependencies d"
            " JOIN jobs j ON j.id = d.job AND j.state = 'PENDING' JOIN jobs a ON a.id = d.after"
            f" WHERE d.any_end = 0 AND a.state NOT IN {UNFINISHED} AND a.state <> 'COMPLETED'"
        )
        found = {row["job"]: f"job {row['after']} ended {row['state']}" for row in failed}
        completed = self._connection.execute(
            "SELECT d.job, d.after, d.of_group FROM dependencies d"
            " JOIN jobs j ON j.id = d.job AND j.state = 'PENDING' JOIN jobs a ON a.id = d.after"
            " WHERE d.any_end = 2 GROUP BY d.job, coalesce(d.of_group, -d.after)"
            " HAVING count(*) = sum(a.state = 'COMPLETED')"
        )
        for row in completed:
            what = f"job {row['after']}" if row["of_group"] is None else f"every job of g{row['of_group']}"
            found[row["job"]] = f"{what} has completed, and it was to start only after a failure"
        return found

    def note_of_removal(self, job: int, what: str) -> str | None:
        """What was noted of the removal of `what`, such as logs; None where it was not removed."""
        with _readable():
            row = self._connection.execute(
                "SELECT message FROM events WHERE job = ? AND kind = 'removed' AND message LIKE ? ORDER BY id DESC",
                (job, f"its {what} %"),
            ).fetchone()
        return None if row is None else f"of job {job}, {row['message']}"

    def counts(self) -> dict[str, int]:
        rows = self._connection.execute("SELECT state, count(*) AS n FROM jobs GROUP BY state")
        return {row["state"]: row["n"] for row in rows}

    def spec(self, job: int) -> StoredSpec:
        with _readable():
            row = self._connection.execute(
                "SELECT s.path, coalesce(f.source, s.source) AS source, s.resolved FROM specs s"
                " LEFT JOIN specs f ON f.id = s.source_of WHERE s.id = (SELECT spec FROM jobs WHERE id = ?)",
                (job,),
            ).fetchone()
            return StoredSpec(row["path"], row["source"], json.loads(row["resolved"]))

    def gid(self, job: int) -> int:
        (gid,) = self._connection.execute("SELECT gid FROM jobs WHERE id = ?", (job,)).fetchone()
        return int(gid)

    def data(self, job: int) -> list[DataReference]:
        rows = self._connection.execute(
            "SELECT path, sha256, bytes, in_place FROM job_data WHERE job = ? ORDER BY path", (job,)
        )
        return [DataReference(**dict(row)) for row in rows]

    def sent_to(self, node: str) -> list[tuple[int, str]]:
        """(uid, hash) of the data of the jobs that have run there lately."""
        rows = self._connection.execute(
            "SELECT DISTINCT j.uid AS uid, d.sha256 AS sha256 FROM (SELECT job FROM attempts WHERE node = ? "
            "AND running_at IS NOT NULL ORDER BY job DESC LIMIT 10000) a JOIN jobs j ON j.id = a.job "
            "JOIN job_data d ON d.job = a.job WHERE d.in_place IS NULL",
            (node,),
        )
        return [(row["uid"], row["sha256"]) for row in rows]

    def attempts(self, job: int) -> list[Attempt]:
        with _readable():
            rows = self._connection.execute("SELECT * FROM attempts WHERE job = ? ORDER BY number", (job,))
            return [attempt_of(row) for row in rows]

    def events(self, job: int) -> list[Event]:
        with _readable():
            rows = self._connection.execute("SELECT * FROM events WHERE job = ? ORDER BY id", (job,))
            return [event_of(row) for row in rows]

    def timeline(self, start: datetime, end: datetime) -> timeline.Rows:
        """What devices were used for in this time."""
        with _readable():
            return timeline.rows(self._connection, start, end)

    def report_rows(self, since: datetime, until: datetime) -> tuple[list[sqlite3.Row], bool]:
        """Attempts in this time, and whether these are all."""
        with _readable():
            return report.rows(self._connection, since, until)

    def first_seen(self) -> dict[str, datetime]:
        """Of each device, by UUID."""
        with _readable():
            return presence.first_seen(self._connection)

    def strangers(self, since: datetime, until: datetime) -> presence.Hours:
        """How long something that was no job was seen on devices in this time."""
        with _readable():
            return presence.strangers(self._connection, since, until)


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Raises StoreError for what SQLite cannot read, and for what it reads and no store of ours can hold: a word that
    is in none of the enums, a date that is none."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise StoreError(f"the store cannot be read: {error}") from error
    except (ValueError, TypeError) as error:
        raise StoreError(
            f"the store is damaged, though SQLite reads it: {error}; {HOW_TO_RESTORE}"
        ) from error
