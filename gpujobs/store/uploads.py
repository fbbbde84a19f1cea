"""The data that users have uploaded: who has which bytes."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from gpujobs.model import iso, utc_now
from gpujobs.store.database import transaction
from gpujobs.store.rows import UNFINISHED


class Uploads:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, uid: int, sha256: str, size: int) -> None:
        """Notes that it is here, and whole, at this moment."""
        with transaction(self._connection):
            self._connection.execute(
                "INSERT INTO data (uid, sha256, bytes, stored_at) VALUES (?, ?, ?, ?) ON CONFLICT (uid, sha256)"
                " DO UPDATE SET bytes = excluded.bytes, stored_at = excluded.stored_at",
                (uid, sha256, size, iso(utc_now())),
            )

    def bytes_of(self, uid: int) -> int:
        """The size of all that this user has uploaded and that is kept."""
        query = "SELECT coalesce(sum(bytes), 0) FROM data WHERE uid = ?"
        return int(self._connection.execute(query, (uid,)).fetchone()[0])

    def unused(self, uid: int, before: datetime) -> list[tuple[str, int]]:
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

    def forget(self, uid: int, sha256: str) -> None:
        with transaction(self._connection):
            self._connection.execute("DELETE FROM data WHERE uid = ? AND sha256 = ?", (uid, sha256))

    def size(self, uid: int, sha256: str) -> int | None:
        """In bytes; None where this user has not uploaded it."""
        query = "SELECT bytes FROM data WHERE uid = ? AND sha256 = ?"
        row = self._connection.execute(query, (uid, sha256)).fetchone()
        return None if row is None else int(row[0])

    def awaited(self) -> list[tuple[int, str, int]]:
        """(uid, hash, bytes) of what PENDING jobs need, each once."""
        rows = self._connection.execute(
            "SELECT DISTINCT j.uid, d.sha256, d.bytes FROM jobs j JOIN job_data d ON d.job = j.id"
            " WHERE j.state = 'PENDING' AND d.in_place IS NULL"
        )
        return [(row["uid"], row["sha256"], row["bytes"]) for row in rows]

    def is_suspect(self, uid: int, sha256: str) -> bool:
        """Whether a job that uses it has ended with an error of its data since it was found to be whole."""
        query = (
            "SELECT 1 FROM data f JOIN job_data d ON d.sha256 = f.sha256 AND d.in_place IS NULL"
            " JOIN jobs j ON j.id = d.job AND j.uid = f.uid"
            " WHERE f.uid = ? AND f.sha256 = ? AND j.reason = 'DataError' AND j.ended_at > f.stored_at LIMIT 1"
        )
        return self._connection.execute(query, (uid, sha256)).fetchone() is not None

    def has(self, uid: int, sha256: str) -> bool:
        """Whether this very user has uploaded these bytes: knowing a hash is not permission."""
        query = "SELECT 1 FROM data WHERE uid = ? AND sha256 = ?"
        return self._connection.execute(query, (uid, sha256)).fetchone() is not None
