"""How the jobs of one submission get into the store."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from datetime import datetime

from gpujobs.demand import NO_DEPENDENCIES
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

    def insert(self, index: int, job: NewJob) -> int:
        """The id of the new job. Within a transaction of the caller's."""
        execute = self.connection.execute
        reason = Reason.HELD if job.held else Reason.NONE
        row = execute(
            "INSERT INTO jobs (uid, gid, user, request_key, request_index, name, sweep, spec, reason, demand,"
            " held, retries, share, submitted_at, continues, origin, finish)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self.caller.uid,
                self.caller.gid,
                self.caller.user,
                self.key,
                index,
                job.name,
                job.group,
                self._insert_spec(job),
                reason,
                demands.written(job.demand),
                job.held,
                job.retries,
                job.share,
                iso(self.now),
                job.continues,
                job.origin,
                job.finish,
            ),
        )
        number = row.lastrowid
        assert number is not None
        if job.demand.awaits != NO_DEPENDENCIES:
            self.connection.executemany(
                "INSERT INTO dependencies (job, after, any_end, of_group) VALUES (?, ?, ?, ?)",
                dependency_rows(number, job.demand.awaits),
            )
        self.connection.executemany(
            "INSERT INTO job_data (job, path, sha256, bytes, in_place) VALUES (?, ?, ?, ?, ?)",
            [(number, d.path, d.sha256, d.bytes, d.in_place) for d in job.data],
        )
        event = Event(number, self.now, "submitted", self.actor, to_state=State.PENDING, reason=reason)
        events.record(self.connection, [event])
        return number

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
