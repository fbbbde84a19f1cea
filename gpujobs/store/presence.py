"""Since when devices are known, and how long something that is no job was on them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from gpujobs.model import iso
from gpujobs.store.database import transaction
from gpujobs.store.devices import instant_of

HOUR = timedelta(hours=1)
KEPT = timedelta(days=800)
"""Of strangers' time: two years, and this one so far."""

Hours = list[tuple[str, datetime, float]]
"""(device, the hour's begin, seconds)"""


def first_seen(connection: sqlite3.Connection) -> dict[str, datetime]:
    """By UUID."""
    rows = connection.execute("SELECT device, first_seen_at FROM known_devices")
    return {row["device"]: instant_of(row["first_seen_at"]) for row in rows}


def strangers(connection: sqlite3.Connection, since: datetime, until: datetime) -> Hours:
    """Of the hours that touch the time from `since` to `until`."""
    rows = connection.execute(
        "SELECT device, hour, seconds FROM stranger_time WHERE hour > ? AND hour < ?",
        (iso(since - HOUR), iso(until)),
    )
    return [(row["device"], instant_of(row["hour"]), row["seconds"]) for row in rows]


class Presence:
    """Used from the daemon's event loop only, with the store's connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def note_seen(self, devices: Iterable[str], at: datetime) -> None:
        """Those that are known already stay known since then."""
        with transaction(self._connection):
            self._connection.executemany(
                "INSERT OR IGNORE INTO known_devices (device, first_seen_at) VALUES (?, ?)",
                [(device, iso(at)) for device in devices],
            )

    def add_strangers(self, seconds: Mapping[tuple[str, datetime], float]) -> None:
        """By device and hour; what is older than is kept goes."""
        if not seconds:
            return
        oldest = max(hour for _, hour in seconds) - KEPT
        with transaction(self._connection):
            self._connection.executemany(
                "INSERT INTO stranger_time (device, hour, seconds) VALUES (?, ?, ?)"
                " ON CONFLICT (device, hour) DO UPDATE SET seconds = seconds + excluded.seconds",
                [(device, iso(hour), more) for (device, hour), more in seconds.items()],
            )
            self._connection.execute("DELETE FROM stranger_time WHERE hour < ?", (iso(oldest),))
