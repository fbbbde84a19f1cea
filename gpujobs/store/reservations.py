"""Devices that are kept for a user or a group for some time, as the store has them."""

from __future__ import annotations

import sqlite3

from gpujobs.errors import NotFoundError
from gpujobs.model import iso, utc_now
from gpujobs.policy import Reservation
from gpujobs.store.database import transaction
from gpujobs.store.devices import Devices, instant_of


class Reservations:
    """Used from the daemon's event loop only, with the store's connection."""

    def __init__(self, connection: sqlite3.Connection, devices: Devices) -> None:
        self._connection = connection
        self._devices = devices

    def current(self) -> list[Reservation]:
        """Those that are not over and not cancelled, in the order of their begin."""
        rows = self._connection.execute(
            "SELECT id, device, user, unix_group, starts_at, ends_at FROM reservations"
            " WHERE NOT cancelled AND ends_at > ? ORDER BY starts_at, id",
            (iso(utc_now()),),
        )
        return [_reservation(row) for row in rows]

    def add(self, new: Reservation, actor: str) -> Reservation:
        """`new.id` is ignored. The answer has the id that it gets."""
        with transaction(self._connection):
            number = self._connection.execute(
                "INSERT INTO reservations (device, user, unix_group, starts_at, ends_at, made_by)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (new.device_uuid, new.user, new.group, iso(new.starts_at), iso(new.ends_at), actor),
            ).lastrowid
            assert number is not None
            holder = new.user or f"group {new.group}"
            span = f"for {holder} from {iso(new.starts_at)} until {iso(new.ends_at)}"
            self._devices.record(new.device_uuid, "reserved", actor, f"{span} (reservation {number})")
        return Reservation(number, new.device_uuid, new.starts_at, new.ends_at, new.user, new.group)

    def cancel(self, number: int, actor: str) -> None:
        """Raises UsageError where there is no such reservation."""
        with transaction(self._connection):
            row = self._connection.execute(
                "UPDATE reservations SET cancelled = 1 WHERE id = ? AND NOT cancelled RETURNING device",
                (number,),
            ).fetchone()
            if row is None:
                raise NotFoundError(
                    f"reservation {number} does not exist; `gpujobs reserve` lists those that do"
                )
            self._devices.record(row["device"], "unreserved", actor, f"reservation {number}")


def _reservation(row: sqlite3.Row) -> Reservation:
    return Reservation(
        row["id"],
        row["device"],
        instant_of(row["starts_at"]),
        instant_of(row["ends_at"]),
        row["user"],
        row["unix_group"],
    )
