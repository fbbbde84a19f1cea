"""The store: the only truth about which jobs exist and in what state they are.

Every method that changes something is one transaction, committed (and on disk) when it returns.
A change of state is an update guarded by the expected state and attempt, with its event beside it.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from gpujobs.demand import Demand
from gpujobs.errors import StoreError, UsageError
from gpujobs.lifecycle import Finish, Requeue, check_transition
from gpujobs.model import Caller, Device, Event, Job, Reason, State, iso, utc_now
from gpujobs.store import demands, events
from gpujobs.store.batch import Batch
from gpujobs.store.database import check, connect, transaction
from gpujobs.store.devices import Devices
from gpujobs.store.frozen import Frozen
from gpujobs.store.history import History
from gpujobs.store.news import News
from gpujobs.store.numbers import Numbers
from gpujobs.store.presence import Presence
from gpujobs.store.pruning import Pruning
from gpujobs.store.reader import Reader
from gpujobs.store.records import NewJob
from gpujobs.store.reservations import Reservations
from gpujobs.store.uploads import Uploads
from gpujobs.store.usage import UsageTable
from gpujobs.units import written

DAEMON = "gpujobs"
"""The actor of events that no person caused."""


class StaleTransitionError(Exception):
    """The job was not in the state that the change expected; somebody else was first."""


class Store(Reader):
    """One connection; used from the daemon's event loop only."""

    def __init__(self, path: Path) -> None:
        super().__init__(connect(path))
        self.path = path
        self.numbers: Numbers | None = None
        """The mark beside it; None for a store that is only looked at."""
        self.attempt_found: Callable[[int], int] = lambda _: 0
        """Of a job the highest attempt whose directory or results are there: this store may be an older copy."""
        self.devices = Devices(self._connection)
        self.reservations = Reservations(self._connection, self.devices)
        self.uploads = Uploads(self._connection)
        self.usage = UsageTable(self._connection)
        self.presence = Presence(self._connection)
        self.history = History(self._connection)
        self.pruning = Pruning(self._connection)
        self.news = News(self._connection)

    def close(self) -> None:
        self._connection.close()
        if self.numbers is not None:
            with suppress(StoreError):  # on a disk that is full: numbers then go on above the block
                self.numbers.close()

    def frozen(self) -> AbstractContextManager[Reader]:
        return closing(Frozen(self.path))

    @property
    def identity(self) -> str:
        return str(self._connection.execute("SELECT id FROM identity").fetchone()[0])

    def highest_number(self) -> int:
        """Of all jobs that this store has ever had; 0 where it had none."""
        row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'").fetchone()
        return 0 if row is None else int(row[0])

    def go_on_above(self, number: int) -> None:
        """The next job gets a higher number than this."""
        if number <= self.highest_number():
            return
        with transaction(self._connection):
            self._connection.execute("DELETE FROM sqlite_sequence WHERE name = 'jobs'")
            self._connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('jobs', ?)", (number,))

    def problems(self) -> list[str]:
        """What is damaged in the file; nothing where all is well."""
        return check(self._connection)

    def copy_to(self, path: Path) -> None:
        """A copy as of this moment (SQLite's online backup), through the connection that writes. `path` is new."""
        copy = sqlite3.connect(path)
        try:
            self._connection.backup(copy)
        except sqlite3.Error as error:
            raise StoreError(f"{path}: the store cannot be copied: {error}") from error
        finally:
            copy.close()

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
            batch = Batch(self._connection, caller, request_key, utc_now(), actor or caller.user)
            ids = batch.insert_all(jobs)
            if ids and self.numbers is not None:
                self.numbers.give(ids[-1])
            return self._select("jobs.id BETWEEN ? AND ?", (ids[0], ids[-1])) if ids else []

    # The life of a job

    def start_attempt(self, job: int, device: Device, gpu_memory_bytes: int | None = None) -> Job:
        """PENDING → STARTING, with a new attempt on `device`, or on so much of its memory."""
        now = utc_now()
        with transaction(self._connection):
            current = self._expect(job, State.PENDING)
            number = max(current.attempt, self.attempt_found(job)) + 1
            self._connection.execute(
                "INSERT INTO attempts (job, number, node, device_uuid, device_kind, device_index, device_name,"
                " started_at, gpu_memory_bytes, device_memory_bytes, nonce)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
                    secrets.token_hex(16),
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
            message = f"trainer is pid {pid}"
            self._move(current, State.RUNNING, utc_now(), Reason.NONE, message, begins_anew=0)
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
            # Who has cancelled it, and why, outlasts what the trainer says at its end.
            message = current.message if current.cancel_requested else str(record.get("message") or "")
            self._move(
                current,
                State.COMPLETING,
                now,
                Reason(record.get("reason") or ""),
                message,
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
                demand=demands.written(
                    replace(current.demand, exclusive=current.demand.exclusive or step.exclusive)
                ),
            )
        return self.job(job)

    def cancel_pending(self, job: int, actor: str, step: Finish) -> Job:
        """PENDING → CANCELLED, by a person or since a dependency failed."""
        now = utc_now()
        with transaction(self._connection):
            current = self._expect(job, State.PENDING)
            self._move(current, step.state, now, step.reason, step.message, actor=actor, ended_at=iso(now))
        return self.job(job)

    def request_cancel(self, job: int, actor: str, message: str) -> Job:
        """Remembers that a job which has started is to end, and why; the supervisor is told after the commit."""
        assignment = "cancel_requested = 1, message = ?"
        return self._note(job, "cancel_requested", actor, assignment, message, message)

    def request_finish(self, job: int, actor: str) -> Job:
        """Remembers that a training is to end after its epoch; the supervisor is told after the commit."""
        said = "the training ends after its epoch, as if that had been the last"
        return self._note(job, "finish_requested", actor, "finish = ?", 1, said)

    def set_time_limit(self, job: int, seconds: float | None, actor: str) -> Job:
        asked = self.job(job).demand
        before, after = (
            "none" if limit is None else written(limit) for limit in (asked.time_limit_seconds, seconds)
        )
        said = f"time limit from {before} to {after}"
        return self._ask(job, replace(asked, time_limit_seconds=seconds), "limited", actor, said)

    def set_reservation(self, job: int, gpu_memory_bytes: int | None) -> Job:
        """What the job's next attempt reserves of a shared device; None gives it a whole one."""
        asked = self.job(job).demand
        if gpu_memory_bytes is None:
            what, asked = "a whole device", replace(asked, exclusive=True)
        else:
            what, asked = (
                f"{gpu_memory_bytes} bytes",
                replace(asked, exclusive=False, gpu_memory=gpu_memory_bytes),
            )
        return self._ask(job, asked, "reservation", DAEMON, f"it gets {what} next time")

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
            event = Event(job, utc_now(), kind, actor, current.attempt or None, message=message)
            events.record(self._connection, [event])

    def begin_anew(self, job: int, actor: str) -> Job:
        """Its next attempt leaves the checkpoints that are there."""
        message = "it begins anew, without its checkpoint"
        return self._note(job, "begins_anew", actor, "begins_anew = ?, continues = NULL", 1, message)

    def set_priority(self, job: int, priority: int, actor: str) -> Job:
        current = self.job(job)
        if current.state.is_final:
            raise UsageError(f"job {job} is {current.state}; only a job that has not ended has a priority")
        change = f"from {current.demand.priority} to {priority}"
        return self._ask(job, replace(current.demand, priority=priority), "prioritized", actor, change)

    def note_requeue(self, job: int, actor: str) -> Job:
        """Remembers who has sent a job that has started back to the queue; its attempt is still to end."""
        return self._note(job, "requeue_requested", actor, "message = ?", f"requeued by {actor}")

    def requeue_wanted(self, job: int, attempt: int) -> str:
        """Who has sent this attempt's job back to the queue, in words; empty where nobody has."""
        row = self._connection.execute(
            "SELECT actor FROM events WHERE job = ? AND attempt = ? AND kind = 'requeue_requested' ORDER BY id DESC",
            (job, attempt),
        ).fetchone()
        return "" if row is None else f"requeued by {row['actor']}"

    def _ask(self, job: int, demand: Demand, kind: str, actor: str, message: str) -> Job:
        """From now on the job asks for this."""
        return self._note(job, kind, actor, "demand = ?", demands.written(demand), message)

    def _note(
        self, job: int, kind: str, actor: str, assignment: str, value: str | float | None, message: str = ""
    ) -> Job:
        """A change that is no change of state, with its event."""
        with transaction(self._connection):
            current = self.job(job)
            self._connection.execute(f"UPDATE jobs SET {assignment} WHERE id = ?", (value, job))
            event = Event(job, utc_now(), kind, actor, attempt=current.attempt or None, message=message)
            events.record(self._connection, [event])
        return self.job(job)

    def _expect(self, job: int, state: State, attempt: int | None = None) -> Job:
        current = self.job(job)
        if current.state is not state or attempt not in (None, current.attempt):
            raise StaleTransitionError(
                f"job {job} is {current.state} at attempt {current.attempt}, expected {state}"
            )
        return current

    def _told(self, job: int) -> str:
        """Its history, in a line."""
        steps = [f"{event.kind} {event.to_state or event.message}".strip() for event in self.events(job)]
        return f"It has been through: {', '.join(steps)}"

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
        check_transition(current.id, current.state, target, lambda: self._told(current.id))
        assignments = "".join(f", {name} = ?" for name in columns)
        cursor = self._connection.execute(
            f"UPDATE jobs SET state = ?, reason = ?, message = ?{assignments} WHERE id = ? AND state = ?",
            (target, reason, message, *columns.values(), current.id, current.state),
        )
        if cursor.rowcount != 1:
            raise StaleTransitionError(f"job {current.id} has left {current.state}")
        number = columns.get("attempt", current.attempt)
        assert isinstance(number, int)
        event = Event(current.id, at, "state", actor, number or None, current.state, target, reason, message)
        events.record(self._connection, [event])
