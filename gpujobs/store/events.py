"""The append-only table of what has happened to jobs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from gpujobs.model import Event
from gpujobs.store.rows import event_row


def record(connection: sqlite3.Connection, events: Iterable[Event]) -> None:
    """Within a transaction of the caller's."""
    connection.executemany(
        "INSERT INTO events (job, at, kind, actor, attempt, from_state, to_state, reason, message)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [event_row(event) for event in events],
    )
