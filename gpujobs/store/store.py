"""The store: the only truth about which jobs exist and in what state they are.

Every method that changes something is one transaction, committed (and on disk) when it returns.
A change of state is an update guarded by the expected state and attempt, with its event beside it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from gpujobs.errors import StoreError, UsageError
from gpujobs.lifecycle import Finish, Requeue, check_transition
from gpujobs.model import Attempt, Caller, Device, Event, Group, Job, Reason, Share, State, iso, utc_now
from gpujobs.store import groups
from gpujobs.store.database import connect, transaction
from gpujobs.store.devices import Devices
from gpujobs.store.reservations import Reservations
from gpujobs.store.rows import SELECT_JOBS, attempt_of, event_of, event_values, job_of
from gpujobs.store.usage import UsageTable

DAEMON = "gpujobs"
"""The actor of events that no person caused."""

MAX_ID = (1 << 63) - 1
"""Of SQLite's integers."""

MAX_SUBMISSION_BYTES = 64 << 20
"""Of the text and the resolved form of its jobs: a sweep multiplies what it is given."""

UNFINISHED = "('PENDING', 'STARTING', 'RUNNING', 'COMPLETING')"


@dataclass(frozen=True, slots=True)
class DataReference:
    """A data file of a job. `path` is as written in the job file; `in_place`, absolute, is set
    where the file is not copied."""

    path: str
    sha256: str
    bytes: int
    in_place: str | None = None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job about to be submitted."""

    name: str
    path: str
    source: str
    resolved: Mapping[str, Any]
    priority: int
    held: bool
    retries: int
    requested_gpu: int | None
    time_limit_seconds: float | None
    group: str | None
    after: tuple[int, ...]
    data: tuple[DataReference, ...]
    group_start: int = 0
    """With a `group`: the position, among the jobs submitted together, of the group's first one."""
    joins: int | None = None
    """The id of the group, where that exists already."""
    sweep_values: Mapping[str, Any] | None = None
    share: Share = Share.PRIVATE
    after_any: tuple[int, ...] = ()
    begin_at: datetime | None = None
    gpu_memory: int | str | None = None
    estimate_bytes: int | None = None
    family: str | None = None
    preemptible: bool = False
    continues: int | None = None


@dataclass(frozen=True, slots=True)
class StoredSpec:
    """What was submitted: the file's path and text, and the resolved form."""

    path: str
    source: str
    resolved: Mapping[str, Any]


@dataclass(slots=True)
class _Batch:
    """What the jobs of one submission share while they are stored."""

    caller: Caller
    key: str
    now: datetime
    actor: str
    sources: dict[str, int] = field(default_factory=dict)
    """The spec that holds a text."""

    left: int = MAX_SUBMISSION_BYTES

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise UsageError(
                f"the jobs of this submission take more than {MAX_SUBMISSION_BYTES >> 20} MiB in the store; "
                "submit fewer at once"
            )


class StaleTransitionError(Exception):
    """The job was not in the state that the change expected; somebody else was first."""


class Store:
    """One connection; used from the daemon's event loop only."""

    def __init__(self, path: Path) -> None:
        self._connection = connect(path)
        self.devices = Devices(self._connection)
        self.reservations = Reservations(self._connection, self.devices)
        self.usage = UsageTable(self._connection)

    def close(self) -> None:
        self._connection.close()

    def together(self) -> AbstractContextManager[object]:
        """Makes one transaction of all the changes inside, which is durable when it is left: a disk takes one
        where it takes a thousand. Nothing may be awaited inside."""
        return transaction(self._connection)

    # Submitting

    def submit(
        self, caller: Caller, request_key: str, jobs: Sequence[NewJob], actor: str | None = None
    ) -> list[Job]:
        """Stores the jobs, or gives those that the same request of the same user has made before.
        `actor` is who has asked, where that is not the user whose jobs they become."""
        with transaction(self._connection):
            known = self.of_request(caller.uid, request_key)
            if known:
                return known
            batch = _Batch(caller, request_key, utc_now(), actor or caller.user)
            ids = [self._insert(batch, index, job) for index, job in enumerate(jobs)]
            groups.enrol(self._connection, ids, jobs)
            return self._select("jobs.id BETWEEN ? AND ?", (ids[0], ids[-1])) if ids else []

    def of_request(self, uid: int, request_key: str) -> list[Job]:
        """The jobs that a submission with this key has made; none where there was no such one."""
        return self._select("jobs.uid = ? AND jobs.request_key = ?", (uid, request_key))

    def _insert(self, batch: _Batch, index: int, job: NewJob) -> int:
        execute = self._connection.execute
        reason = Reason.HELD if job.held else Reason.NONE
        row = execute(
            "INSERT INTO jobs (uid, gid, user, request_key, request_index, name, sweep, spec, reason, priority,"
            " held, retries, requested_gpu, time_limit_seconds, share, submitted_at, begin_at, gpu_memory,"
            " estimate_bytes, family, preemptible, continues)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                batch.caller.uid,
                batch.caller.gid,
                batch.caller.user,
                batch.key,
                index,
                job.name,
                job.group,
                self._insert_spec(batch, job),
                reason,
                job.priority,
                job.held,
                job.retries,
                job.requested_gpu,
                job.time_limit_seconds,
                job.share,
                iso(batch.now),
                iso(job.begin_at),
                None if job.gpu_memory is None else str(job.gpu_memory),
                job.estimate_bytes,
                job.family,
                job.preemptible,
                job.continues,
            ),
        )
        number = row.lastrowid
        assert number is not None
        self._connection.executemany(
            "INSERT INTO dependencies (job, after, any_end) VALUES (?, ?, ?)",
            [(number, after, 0) for after in job.after] + [(number, after, 1) for after in job.after_any],
        )
        self._connection.executemany(
            "INSERT INTO job_data (job, path, sha256, bytes, in_place) VALUES (?, ?, ?, ?, ?)",
            [(number, d.path, d.sha256, d.bytes, d.in_place) for d in job.data],
        )
        self._record(
            [Event(number, batch.now, "submitted", batch.actor, to_state=State.PENDING, reason=reason)]
        )
        return number

    def _insert_spec(self, batch: _Batch, job: NewJob) -> int:
        """The text of a file is stored with the first of its jobs."""
        first = batch.sources.get(job.source)
        source, resolved = ("" if first else job.source), json.dumps(job.resolved)
        batch.take(len(source) + len(resolved))
        number = self._connection.execute(
            "INSERT INTO specs (path, source, resolved, source_of) VALUES (?, ?, ?, ?)",
            (job.path, source, resolved, first),
        ).lastrowid
        assert number is not None
        batch.sources.setdefault(job.source, number)
        return number

    # The life of a job

    def start_attempt(self, job: int, device: Device, gpu_memory_bytes: int | None = None) -> Job:
        """PENDING → STARTING, with a new attempt on `device`, or on so much of its memory."""
        now = utc_now()
        with transaction(self._connection):
            current = self._expect(job, State.PENDING)
            number = current.attempt + 1
            self._connection.execute(
                "INSERT INTO attempts (job, number, node, device_uuid, device_kind, device_index, device_name,"
                " started_at, gpu_memory_bytes, device_memory_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    job,
                    number,
                    device.node,
                    device.uuid,
                    device.kind,
                    device.index,
                    device.name,
                    iso(now),
                    gpu_memory_bytes,
                    device.memory_total_bytes,
                ),
            )
            self._move(
                current,
                State.STARTING,
                now,
                Reason.NONE,
                f"on {device.node}, {device.kind} {device.index} ({device.uuid})",
                attempt=number,
                started_at=iso(current.started_at or now),
            )
        return self.job(job)

    def mark_running(self, job: int, attempt: int, pid: int, at: datetime) -> Job:
        """STARTING → RUNNING: the trainer has spoken."""
        with transaction(self._connection):
            current = self._expect(job, State.STARTING, attempt)
            self._connection.execute(
                "UPDATE attempts SET pid = ?, running_at = ? WHERE job = ? AND number = ?",
                (pid, iso(at), job, attempt),
            )
            self._move(current, State.RUNNING, utc_now(), Reason.NONE, f"trainer is pid {pid}")
        return self.job(job)

    def mark_completing(self, job: int, attempt: int, record: Mapping[str, Any]) -> Job:
        """STARTING or RUNNING → COMPLETING: the attempt has ended as `record` (exit.json) says."""
        now = utc_now()
        ended = record.get("exit") or {}
        with transaction(self._connection):
            current = self.job(job)
            if current.attempt != attempt or current.state not in (State.STARTING, State.RUNNING):
                raise StaleTransitionError(f"job {job} is {current.state}, attempt {current.attempt}")
            self._connection.execute(
                "UPDATE attempts SET ended_at = ?, reason = ?, message = ?, exit_code = ?, exit_signal = ?,"
                " exit_record = ? WHERE job = ? AND number = ?",
                (
                    record.get("ended_at") or iso(now),
                    record.get("reason") or "",
                    record.get("message") or "",
                    ended.get("code"),
                    ended.get("signal"),
                    json.dumps(record),
                    job,
                    attempt,
                ),
            )
            progress = record.get("progress") or current.progress
            self._move(
                current,
                State.COMPLETING,
                now,
                Reason(record.get("reason") or ""),
                str(record.get("message") or ""),
                progress=None if progress is None else json.dumps(dict(progress)),
            )
        return self.job(job)

    def finish(self, job: int, step: Finish, results: str | None) -> Job:
        """COMPLETING → a final state."""
        now = utc_now()
        with transaction(self._connection):
            current = self._expect(job, State.COMPLETING)
            self._move(
                current, step.state, now, step.reason, step.message, ended_at=iso(now), results=results
            )
        return self.job(job)

    def requeue(self, job: int, attempt: int, step: Requeue) -> Job:
        """STARTING or COMPLETING → PENDING; the attempt, if it lives on paper, ends now."""
        now = utc_now()
        with transaction(self._connection):
            current = self.job(job)
            if current.attempt != attempt:
                raise StaleTransitionError(f"job {job} is at attempt {current.attempt}, not {attempt}")
            self._connection.execute(
                "UPDATE attempts SET ended_at = ?, reason = ?, message = ? WHERE job = ? AND number = ?"
                " AND ended_at IS NULL",
                (iso(now), step.reason, step.message, job, attempt),
            )
            self._move(
                current,
                State.PENDING,
                now,
                step.reason,
                step.message,
                retries_used=current.retries_used + step.uses_retry,
                exclusive=current.exclusive or step.exclusive,
            )
        return self.job(job)

    def cancel_pending(self, job: int, actor: str, step: Finish) -> Job:
        """PENDING → CANCELLED, by a person or since a dependency failed."""
        now = utc_now()
        with transaction(self._connection):
            current = self._expect(job, State.PENDING)
            self._move(current, step.state, now, step.reason, step.message, actor=actor, ended_at=iso(now))
        return self.job(job)

    def request_cancel(self, job: int, actor: str) -> Job:
        """Remembers that a job which has started is to end; the supervisor is told after the commit."""
        return self._note(
            job, "cancel_requested", actor, "cancel_requested = 1, message = ?", f"cancelled by {actor}"
        )

    def set_reservation(self, job: int, gpu_memory_bytes: int | None) -> Job:
        """What the job's next attempt reserves of a shared device; None gives it a whole one."""
        what = "a whole device" if gpu_memory_bytes is None else f"{gpu_memory_bytes} bytes"
        with transaction(self._connection):
            current = self.job(job)
            self._connection.execute(
                "UPDATE jobs SET gpu_memory = coalesce(?, gpu_memory), exclusive = ? WHERE id = ?",
                (None if gpu_memory_bytes is None else str(gpu_memory_bytes), gpu_memory_bytes is None, job),
            )
            message = f"it gets {what} next time"
            self._record([Event(job, utc_now(), "reservation", DAEMON, current.attempt, message=message)])
        return self.job(job)

    def set_held(self, job: int, held: bool, actor: str) -> Job:
        current = self.job(job)
        if current.state is not State.PENDING:
            raise UsageError(f"job {job} is {current.state}; only a PENDING job can be held or released")
        reason = Reason.HELD if held else Reason.NONE
        kind = "held" if held else "released"
        return self._note(job, kind, actor, f"held = {int(held)}, reason = ?", reason)

    def note(self, job: int, kind: str, message: str, actor: str = DAEMON) -> None:
        """Something that happened to a job, and changes nothing."""
        with transaction(self._connection):
            current = self.job(job)
            self._record([Event(job, utc_now(), kind, actor, current.attempt or None, message=message)])

    def set_priority(self, job: int, priority: int, actor: str) -> Job:
        current = self.job(job)
        if current.state.is_final:
            raise UsageError(f"job {job} is {current.state}; only a job that has not ended has a priority")
        change = f"from {current.priority} to {priority}"
        return self._note(job, "prioritized", actor, "priority = ?", priority, change)

    def note_requeue(self, job: int, actor: str) -> Job:
        """Remembers who has sent a job that has started back to the queue; its attempt is still to end."""
        return self._note(job, "requeue_requested", actor, "message = ?", f"requeued by {actor}")

    def _note(
        self, job: int, kind: str, actor: str, assignment: str, value: str | int, message: str = ""
    ) -> Job:
        """A change that is no change of state, with its event."""
        with transaction(self._connection):
            current = self.job(job)
            self._connection.execute(f"UPDATE jobs SET {assignment} WHERE id = ?", (value, job))
            event = Event(job, utc_now(), kind, actor, attempt=current.attempt or None, message=message)
            self._record([event])
        return self.job(job)

    def _expect(self, job: int, state: State, attempt: int | None = None) -> Job:
        current = self.job(job)
        if current.state is not state or attempt not in (None, current.attempt):
            raise StaleTransitionError(
                f"job {job} is {current.state} at attempt {current.attempt}, expected {state}"
            )
        return current

    def _move(
        self,
        current: Job,
        target: State,
        at: datetime,
        reason: Reason,
        message: str,
        *,
        actor: str = DAEMON,
        **columns: object,
    ) -> None:
        check_transition(current.id, current.state, target)
        assignments = "".join(f", {name} = ?" for name in columns)
        cursor = self._connection.execute(
            f"UPDATE jobs SET state = ?, reason = ?, message = ?{assignments} WHERE id = ? AND state = ?",
            (target, reason, message, *columns.values(), current.id, current.state),
        )
        if cursor.rowcount != 1:
            raise StaleTransitionError(f"job {current.id} has left {current.state}")
        number = columns.get("attempt", current.attempt)
        assert isinstance(number, int)
        self._record(
            [Event(current.id, at, "state", actor, number or None, current.state, target, reason, message)]
        )

    def _record(self, events: Iterable[Event]) -> None:
        self._connection.executemany(
            "INSERT INTO events (job, at, kind, actor, attempt, from_state, to_state, reason, message)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [event_values(event) for event in events],
        )

    # Reading

    def job(self, job: int) -> Job:
        """Raises UsageError where there is no such job."""
        found = self._select("jobs.id = ?", (job,)) if job <= MAX_ID else []
        if not found:
            raise UsageError(f"job {job} does not exist")
        return found[0]

    def jobs(self, ids: Collection[int]) -> list[Job]:
        """In the order of `ids`. Raises UsageError that names those which do not exist."""
        numbers = json.dumps(sorted(ids))
        found = {j.id: j for j in self._select("jobs.id IN (SELECT value FROM json_each(?))", (numbers,))}
        unknown = [str(number) for number in ids if number not in found]
        if unknown:
            some, verb = ("job", "does") if len(unknown) == 1 else ("jobs", "do")
            raise UsageError(f"{some} {', '.join(unknown)} {verb} not exist")
        return [found[number] for number in ids]

    def groups(self, ids: Collection[int]) -> dict[int, Group]:
        """Those of `ids` that exist, by id."""
        return groups.counted(self._connection, ids)

    def members(self, group: int) -> list[Job]:
        """In the order of their ids. Raises UsageError where there is no such group."""
        found = self._select("jobs.group_id = ?", (group,))
        if not found:
            raise UsageError(f"group g{group} does not exist")
        return found

    def newest_group(self, uid: int, name: str) -> int:
        """The id. Raises UsageError where this user has no group of that name."""
        return groups.newest(self._connection, uid, name)

    def unfinished(self) -> list[Job]:
        return self._select(f"jobs.state IN {UNFINISHED}", ())

    def ended(
        self, uid: int | None = None, user: str | None = None, states: Collection[State] = (), limit: int = 0
    ) -> list[Job]:
        """Jobs in a final state, the oldest first; `limit` keeps the newest so many, 0 keeps all."""
        where, values = [f"jobs.state NOT IN {UNFINISHED}"], list[object]()
        if uid is not None:
            where.append("jobs.uid = ?")
            values.append(uid)
        if user is not None:
            where.append("jobs.user = ?")
            values.append(user)
        if states:
            where.append("jobs.state IN (SELECT value FROM json_each(?))")
            values.append(json.dumps(sorted(states)))
        tail = f" ORDER BY jobs.id DESC LIMIT {int(limit)}" if limit else " ORDER BY jobs.id DESC"
        return self._select(" AND ".join(where), values, tail)[::-1]

    def _select(self, where: str, values: Sequence[object], tail: str = " ORDER BY jobs.id") -> list[Job]:
        try:
            rows = self._connection.execute(f"{SELECT_JOBS} WHERE {where}{tail}", values).fetchall()
            waits_for = self._dependencies(rows[0]["id"] if len(rows) == 1 else None) if rows else {}
        except sqlite3.OperationalError as error:
            raise StoreError(f"the store cannot be read: {error}") from error
        return [job_of(row, *waits_for.get(row["id"], ((), ()))) for row in rows]

    def _dependencies(self, job: int | None) -> dict[int, tuple[tuple[int, ...], tuple[int, ...]]]:
        """Of `job`, or of all that have not ended (after that they no longer matter): the jobs that must
        complete, and those that must end."""
        chosen = f"(SELECT id FROM jobs WHERE state IN {UNFINISHED})" if job is None else f"({int(job)})"
        found: dict[int, tuple[list[int], list[int]]] = {}
        for row in self._connection.execute(
            f"SELECT job, after, any_end FROM dependencies WHERE job IN {chosen}"
        ):
            found.setdefault(row["job"], ([], []))[row["any_end"]].append(row["after"])
        return {number: (tuple(after), tuple(after_any)) for number, (after, after_any) in found.items()}

    def blocked_for_good(self) -> list[tuple[int, int, State]]:
        """(job, dependency, its state) of PENDING jobs whose dependency has ended without success."""
        rows = self._connection.execute(
            "SELECT d.job, d.after, a.state FROM dependencies d"
            " JOIN jobs j ON j.id = d.job AND j.state = 'PENDING' JOIN jobs a ON a.id = d.after"
            f" WHERE NOT d.any_end AND a.state NOT IN {UNFINISHED} AND a.state <> 'COMPLETED'"
        )
        return [(row["job"], row["after"], State(row["state"])) for row in rows]

    def counts(self) -> dict[str, int]:
        rows = self._connection.execute("SELECT state, count(*) AS n FROM jobs GROUP BY state")
        return {row["state"]: row["n"] for row in rows}

    def spec(self, job: int) -> StoredSpec:
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

    def attempts(self, job: int) -> list[Attempt]:
        rows = self._connection.execute("SELECT * FROM attempts WHERE job = ? ORDER BY number", (job,))
        return [attempt_of(row) for row in rows]

    def events(self, job: int) -> list[Event]:
        rows = self._connection.execute("SELECT * FROM events WHERE job = ? ORDER BY id", (job,))
        return [event_of(row) for row in rows]

    # The data that users have uploaded

    def add_data(self, uid: int, sha256: str, size: int) -> None:
        with transaction(self._connection):
            self._connection.execute(
                "INSERT OR IGNORE INTO data (uid, sha256, bytes, stored_at) VALUES (?, ?, ?, ?)",
                (uid, sha256, size, iso(utc_now())),
            )

    def data_bytes(self, uid: int) -> int:
        """The size of all that this user has uploaded and that is kept."""
        query = "SELECT coalesce(sum(bytes), 0) FROM data WHERE uid = ?"
        return int(self._connection.execute(query, (uid,)).fetchone()[0])

    def unused_data(self, uid: int, before: datetime) -> list[tuple[str, int]]:
        """(hash, bytes) of this user's data that was uploaded earlier than `before` and that no job which has
        not ended uses; the oldest first."""
        rows = self._connection.execute(
            "SELECT sha256, bytes FROM data WHERE uid = ? AND stored_at < ? AND sha256 NOT IN ("
            "  SELECT d.sha256 FROM job_data d JOIN jobs j ON j.id = d.job"
            f"  WHERE j.uid = ? AND d.in_place IS NULL AND j.state IN {UNFINISHED}"
            ") ORDER BY stored_at",
            (uid, iso(before), uid),
        )
        return [(row["sha256"], row["bytes"]) for row in rows]

    def forget_data(self, uid: int, sha256: str) -> None:
        with transaction(self._connection):
            self._connection.execute("DELETE FROM data WHERE uid = ? AND sha256 = ?", (uid, sha256))

    def has_data(self, uid: int, sha256: str) -> bool:
        """Whether this very user has uploaded these bytes: knowing a hash is not permission."""
        query = "SELECT 1 FROM data WHERE uid = ? AND sha256 = ?"
        return self._connection.execute(query, (uid, sha256)).fetchone() is not None
