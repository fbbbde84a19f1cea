"""What the store knows of devices: which are drained and why, and what happened to them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

from gpujobs.model import from_iso, iso, utc_now
from gpujobs.store.database import transaction

NEWEST_EVENTS = 100


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """`drained` is the reason, None where the device is in service. `acknowledged` are the errors of its
    hardware that were known to whoever resumed it."""

    uuid: str
    drained: str | None
    acknowledged: frozenset[str]


@dataclass(frozen=True, slots=True)
class DeviceEvent:
    """A row of the append-only history of a device."""

    device: str
    at: datetime
    kind: str
    actor: str
    message: str


class Devices:
    """Used from the daemon's event loop only, with the store's connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def together(self) -> AbstractContextManager[object]:
        """Makes one transaction of all the changes inside."""
        return transaction(self._connection)

    def all(self) -> dict[str, DeviceRecord]:
        rows = self._connection.execute("SELECT uuid, drained, acknowledged FROM devices")
        return {
            row["uuid"]: DeviceRecord(row["uuid"], row["drained"], frozenset(json.loads(row["acknowledged"])))
            for row in rows
        }

    def drain(self, uuid: str, reason: str, actor: str) -> None:
        """Nothing more is started on it. What was acknowledged before stays so."""
        with transaction(self._connection):
            self._connection.execute(
                "INSERT INTO devices (uuid, drained) VALUES (?, ?)"
                " ON CONFLICT (uuid) DO UPDATE SET drained = excluded.drained",
                (uuid, reason),
            )
            self.record(uuid, "drained", actor, reason)

    def resume(self, uuid: str, actor: str, known_errors: Collection[str]) -> None:
        with transaction(self._connection):
            self._connection.execute(
                "INSERT INTO devices (uuid, acknowledged) VALUES (?, ?)"
                " ON CONFLICT (uuid) DO UPDATE SET drained = NULL, acknowledged = excluded.acknowledged",
                (uuid, json.dumps(sorted(known_errors))),
            )
            self.record(uuid, "resumed", actor, "; ".join(sorted(known_errors)))

    def note(self, uuid: str, kind: str, actor: str, message: str) -> None:
        """Something that happened, and changes nothing."""
        with transaction(self._connection):
            self.record(uuid, kind, actor, message)

    def record(self, uuid: str, kind: str, actor: str, message: str) -> None:
        """Within a transaction of the caller's."""
        self._connection.execute(
            "INSERT INTO device_events (device, at, kind, actor, message) VALUES (?, ?, ?, ?, ?)",
            (uuid, iso(utc_now()), kind, actor, message),
        )

    def events(self, uuid: str) -> list[DeviceEvent]:
        """The newest so many, in order."""
        rows = self._connection.execute(
            "SELECT device, at, kind, actor, message FROM device_events WHERE device = ?"
            " ORDER BY id DESC LIMIT ?",
            (uuid, NEWEST_EVENTS),
        ).fetchall()
        return [
            DeviceEvent(r["device"], instant_of(r["at"]), r["kind"], r["actor"], r["message"])
            for r in reversed(rows)
        ]


def instant_of(text: str) -> datetime:
    instant = from_iso(text)
    assert instant is not None
    return instant
