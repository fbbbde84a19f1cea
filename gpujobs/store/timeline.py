"""What devices were used for between two instants, from the history."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime

from gpujobs.model import iso

MOST = 5000
"""Rows of each kind; the newest are kept."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Instants are ISO texts, as the store has them. `is_whole`: none was left out."""

    attempts: list[sqlite3.Row]
    device_events: list[sqlite3.Row]
    reservations: list[sqlite3.Row]
    is_whole: bool


def rows(connection: sqlite3.Connection, start: datetime, end: datetime) -> Rows:
    """Attempts and reservations that touch the time from `start` to `end`; events of devices in it, and those before
    it that say which were drained as it began."""
    span = (iso(start), iso(end))
    attempts = connection.execute(
        "SELECT a.job, a.number, a.node, a.device_uuid, a.device_kind, a.device_index, a.device_name, a.started_at,"
        " a.ended_at, a.reason, j.state, j.attempt FROM ("
        "  SELECT * FROM attempts WHERE ended_at IS NULL UNION ALL SELECT * FROM attempts WHERE ended_at > ?"
        " ) a JOIN jobs j ON j.id = a.job WHERE a.started_at < ? ORDER BY a.started_at DESC LIMIT ?",
        (*span, MOST + 1),
    ).fetchall()
    events = connection.execute(
        "SELECT device, at, kind, message FROM device_events WHERE (at >= ? AND at < ?)"
        " OR id IN (SELECT max(id) FROM device_events WHERE kind IN ('drained', 'resumed') AND at < ? GROUP BY device)"
        " ORDER BY id DESC LIMIT ?",
        (*span, span[0], MOST + 1),
    ).fetchall()
    kept = connection.execute(
        "SELECT id, device, user, unix_group, starts_at,"
        " CASE WHEN NOT cancelled THEN ends_at ELSE min(ends_at, coalesce("
        "  (SELECT at FROM device_events e WHERE e.device = r.device AND e.kind = 'unreserved'"
        "   AND e.message = 'reservation ' || r.id), starts_at)) END AS ends_at"
        " FROM reservations r WHERE ends_at > ? AND starts_at < ? ORDER BY id DESC LIMIT ?",
        (*span, MOST + 1),
    ).fetchall()
    found = [attempts, events, kept]
    first, second, third = (one[:MOST][::-1] for one in found)
    return Rows(first, second, third, all(len(one) <= MOST for one in found))
