"""How the jobs of one submission get into the store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from gpujobs.demand import NO_DEPENDENCIES, Demand
from gpujobs.errors import UsageError
from gpujobs.model import Caller, Event, Reason, State, iso
from gpujobs.store import demands, events
from gpujobs.store.records import NewJob
from gpujobs.store.rows import dependency_rows

MAX_SUBMISSION_BYTES = 64 << 20
"""Of the text and the resolved form of its jobs: a sweep multiplies what it is given."""


@dataclass(slots=True)
class Batch:
    """What the jobs of one submission share while they are stored."""

    connection: sqlite3.Connection
    caller: Caller
    key: str
    now: datetime
    actor: str
    sources: dict[str, int] = field(default_factory=dict)
    """The spec that holds a text."""

    left: int = MAX_SUBMISSION_BYTES
    written: tuple[Demand, str] | None = None
    """What the job before asked for, as it is stored: most ask for the same."""

    def insert_all(self, jobs: Sequence[NewJob]) -> list[int]:
        """The ids of the new jobs. Within a transaction of the caller's."""
        at = iso(self.now)
        ids: list[int] = []
        for index, job in enumerate(jobs):
            ids.append(self._insert(index, job, at, self._group(job, ids)))
        new, now, actor = zip(ids, jobs, strict=True), self.now, self.actor
        events.record(
            self.connection,
            (
                Event(id, now, "submitted", actor, to_state=State.PENDING, reason=_reason(job))
                for id, job in new
            ),
        )
        return ids

    @staticmethod
    def _group(job: NewJob, ids: Sequence[int]) -> int | None:
        """The id of its group; None also for the first member of one, whose own number it is: nobody knows it yet."""
        if job.group is None:
            return None
        return job.joins or (ids[job.group_start] if job.group_start < len(ids) else None)

    def _insert(self, index: int, job: NewJob, at: str | None, group: int | None) -> int:
        execute = self.connection.execute
        row = execute(
            "INSERT INTO jobs (uid, gid, user, request_key, request_index, name, sweep, spec, reason, demand,"
            " held, retries, share, submitted_at, continues, origin, finish, group_id, sweep_values)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self.caller.uid,
                self.caller.gid,
                self.caller.user,
                self.key,
                index,
                job.name,
                job.group,
                self._insert_spec(job),
                _reason(job),
                self._demand(job.demand),
                job.held,
                job.retries,
                job.share,
                at,
                job.continues,
                job.origin,
                job.finish,
                group,
                json.dumps(job.sweep_values) if job.group is not None and job.sweep_values else None,
            ),
        )
        number = row.lastrowid
        assert number is not None
        if job.group is not None and group is None:
            execute("UPDATE jobs SET group_id = id WHERE id = ?", (number,))
        if job.demand.awaits != NO_DEPENDENCIES:
            self.connection.executemany(
                "INSERT INTO dependencies (job, after, any_end, of_group) VALUES (?, ?, ?, ?)",
                dependency_rows(number, job.demand.awaits),
            )
        self.connection.executemany(
            "INSERT INTO job_data (job, path, sha256, bytes, in_place) VALUES (?, ?, ?, ?, ?)",
            [(number, d.path, d.sha256, d.bytes, d.in_place) for d in job.data],
        )
        return number

    def _demand(self, demand: Demand) -> str:
        if self.written is None or self.written[0] != demand:
            self.written = (demand, demands.written(demand))
        return self.written[1]

    def _insert_spec(self, job: NewJob) -> int:
        """The text of a file is stored with the first of its jobs."""
        first = self.sources.get(job.source)
        source, resolved = ("" if first else job.source), json.dumps(job.resolved)
        self._take(len(source) + len(resolved))
        number = self.connection.execute(
            "INSERT INTO specs (path, source, resolved, source_of) VALUES (?, ?, ?, ?)",
            (job.path, source, resolved, first),
        ).lastrowid
        assert number is not None
        self.sources.setdefault(job.source, number)
        return number

    def _take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise UsageError(
                f"the jobs of this submission take more than {MAX_SUBMISSION_BYTES >> 20} MiB in the store; "
                "submit fewer at once"
            )


def _reason(job: NewJob) -> Reason:
    return Reason.HELD if job.held else Reason.NONE
