"""News that are to be told, as the store has them: an outbox, and who wants to be told of what."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from gpujobs.model import Reason, State, iso, utc_now
from gpujobs.store.database import transaction
from gpujobs.store.devices import instant_of
from gpujobs.store.groups import REPLACED
from gpujobs.store.rows import UNFINISHED

BATCH = 500
"""Events that are looked at in one go."""

KEPT = timedelta(days=7)
"""Told news, and those that were given up, stay so long: the same is not told again meanwhile."""


class NewsState(StrEnum):
    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"
    DROPPED = "dropped"
    """More than the site lets one user be told within an hour."""


@dataclass(frozen=True, slots=True)
class Happening:
    """An event of which somebody may want to know. `notify` is what the job's file says of it, `setting` what its user
    has said before the event."""

    id: int
    job: int
    uid: int
    group_id: int | None
    at: datetime
    kind: str
    attempt: int | None
    to_state: State | None
    reason: Reason
    message: str
    notify: Mapping[str, Any] | None
    setting: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class NewNews:
    job: int
    group_id: int | None
    uid: int
    occasion: str
    what: str
    detail: str
    way: str
    recipient: tuple[str, ...]
    happened_at: datetime


@dataclass(frozen=True, slots=True)
class WaitingNews(NewNews):
    id: int
    tries: int
    next_at: datetime


@dataclass(frozen=True, slots=True)
class Member:
    """A job of a group that has results: as much of it as a ranking asks for."""

    id: int
    uid: int
    results: str | None
    sweep_values: Mapping[str, Any] | None


_HAPPENINGS = f"""
    SELECT e.id, e.job, j.uid, j.group_id, e.at, e.kind, e.attempt, e.to_state, e.reason, e.message,
        json_extract(s.resolved, '$.notify') AS notify, n.setting
    FROM events e JOIN jobs j ON j.id = e.job JOIN specs s ON s.id = j.spec
    LEFT JOIN news_settings n ON n.uid = j.uid AND n.since <= e.at
    WHERE e.id > ? AND e.id <= ? AND (e.kind = 'stranger'
        OR (e.kind = 'state' AND (e.to_state = 'RUNNING' OR e.to_state NOT IN {UNFINISHED})))
    ORDER BY e.id
"""

_SINCE = """
    SELECT max(at) FROM events WHERE job = ? AND id < ?
        AND (kind IN ('submitted', 'released') OR (kind = 'state' AND to_state = 'PENDING'))
"""


class News:
    """Used from the daemon's event loop only, with the store's connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    # What people want

    def setting(self, uid: int) -> dict[str, Any] | None:
        row = self._connection.execute("SELECT setting FROM news_settings WHERE uid = ?", (uid,)).fetchone()
        return None if row is None else json.loads(row["setting"])

    def set_setting(self, uid: int, setting: Mapping[str, Any] | None) -> None:
        """From now on; None takes it away."""
        with transaction(self._connection):
            self._connection.execute("DELETE FROM news_settings WHERE uid = ?", (uid,))
            if setting is not None:
                self._connection.execute(
                    "INSERT INTO news_settings (uid, setting, since) VALUES (?, ?, ?)",
                    (uid, json.dumps(dict(setting)), iso(utc_now())),
                )

    def of_job(self, job: int) -> Mapping[str, Any] | None:
        """What its file says of it."""
        row = self._connection.execute(
            "SELECT json_extract(s.resolved, '$.notify') AS notify FROM jobs j JOIN specs s ON s.id = j.spec"
            " WHERE j.id = ?",
            (job,),
        ).fetchone()
        return None if row is None else _json(row["notify"])

    # What has happened

    @property
    def cursor(self) -> int:
        """The newest event that was looked at, and whatever was to be told of it is in the outbox."""
        return int(self._connection.execute("SELECT event FROM news_cursor").fetchone()[0])

    def happenings(self, after: int) -> tuple[list[Happening], int]:
        """The next ones, and the newest event that was looked at for them."""
        (newest,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
        until = min(int(newest), after + BATCH)
        rows = self._connection.execute(_HAPPENINGS, (after, until)).fetchall() if until > after else []
        return [_happening(row) for row in rows], max(after, until)

    def waits_since(self, job: int, event: int) -> datetime | None:
        """Since when a job that has started with this event could have."""
        (text,) = self._connection.execute(_SINCE, (job, event)).fetchone()
        return None if text is None else instant_of(text)

    def ended_group(self, group: int) -> int | None:
        """How many jobs it has had; None while there is one that has not ended."""
        alive = f"SELECT EXISTS (SELECT 1 FROM jobs WHERE group_id = ? AND state IN {UNFINISHED})"
        if self._connection.execute(alive, (group,)).fetchone()[0]:
            return None
        (jobs,) = self._connection.execute(
            "SELECT count(*) FROM jobs WHERE group_id = ?", (group,)
        ).fetchone()
        return int(jobs)

    def members_with_results(self, group: int) -> list[Member]:
        """Of one that was queued again, the newest copy."""
        rows = self._connection.execute(
            "SELECT id, uid, results, sweep_values FROM jobs WHERE group_id = ? AND results IS NOT NULL"
            f" AND NOT {REPLACED} ORDER BY id",
            (group,),
        )
        return [Member(row["id"], row["uid"], row["results"], _json(row["sweep_values"])) for row in rows]

    # The outbox

    def add(self, new: Sequence[NewNews], cursor: int | None, per_hour: int) -> list[NewNews]:
        """Puts them in, each once. Returns those that are one too many for their user's hour: they are not told."""
        now = utc_now()
        dropped = []
        with transaction(self._connection):
            self._connection.execute(
                "DELETE FROM news WHERE state <> 'waiting' AND made_at < ?", (iso(now - KEPT),)
            )
            for one in new:
                state = NewsState.WAITING if self.made_since(one.uid, now) < per_hour else NewsState.DROPPED
                if self._insert(one, state, now) and state is NewsState.DROPPED:
                    dropped.append(one)
            if cursor is not None:
                self.go_on_after(cursor)
        return dropped

    def go_on_after(self, event: int) -> None:
        with transaction(self._connection):
            self._connection.execute("UPDATE news_cursor SET event = max(event, ?)", (event,))

    def made_since(self, uid: int, now: datetime) -> int:
        """News of a user within the last hour, those that were dropped aside."""
        (count,) = self._connection.execute(
            "SELECT count(*) FROM news WHERE uid = ? AND made_at > ? AND state <> 'dropped'",
            (uid, iso(now - timedelta(hours=1))),
        ).fetchone()
        return int(count)

    def _insert(self, one: NewNews, state: NewsState, now: datetime) -> bool:
        cursor = self._connection.execute(
            "INSERT OR IGNORE INTO news (job, group_id, uid, occasion, what, detail, way, recipient, happened_at,"
            " made_at, next_at, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                one.job,
                one.group_id,
                one.uid,
                one.occasion,
                one.what,
                one.detail,
                one.way,
                json.dumps(one.recipient),
                iso(one.happened_at),
                iso(now),
                iso(now),
                state,
            ),
        )
        return cursor.rowcount == 1

    def waiting(self) -> list[WaitingNews]:
        """The oldest first."""
        rows = self._connection.execute("SELECT * FROM news WHERE state = 'waiting' ORDER BY next_at, id")
        return [_waiting(row) for row in rows]

    def tried(self, id: int, state: NewsState, next_at: datetime | None = None) -> None:
        """`next_at`: when it is tried again, where it is to wait for that."""
        with transaction(self._connection):
            self._connection.execute(
                "UPDATE news SET state = ?, tries = tries + 1, next_at = coalesce(?, next_at) WHERE id = ?",
                (state, iso(next_at), id),
            )


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _happening(row: sqlite3.Row) -> Happening:
    values = dict(row)
    state = values.pop("to_state")
    values |= {"notify": _json(values["notify"]), "setting": _json(values["setting"])}
    return Happening(
        **{**values, "at": instant_of(values["at"]), "reason": Reason(values["reason"])},
        to_state=None if state is None else State(state),
    )


def _waiting(row: sqlite3.Row) -> WaitingNews:
    return WaitingNews(
        job=row["job"],
        group_id=row["group_id"],
        uid=row["uid"],
        occasion=row["occasion"],
        what=row["what"],
        detail=row["detail"],
        way=row["way"],
        recipient=tuple(json.loads(row["recipient"])),
        happened_at=instant_of(row["happened_at"]),
        id=row["id"],
        tries=row["tries"],
        next_at=instant_of(row["next_at"]),
    )
