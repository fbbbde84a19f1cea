"""What was used of the devices, and how much memory jobs of a family needed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gpujobs.model import iso
from gpujobs.policy.inputs.snapshot import Usage
from gpujobs.store.database import transaction
from gpujobs.store.devices import instant_of


@dataclass(frozen=True, slots=True)
class EndedUsage:
    """An attempt that has ended, as far as fair share cares."""

    user: str
    started_at: datetime
    ended_at: datetime
    gpu_memory_bytes: int | None
    """What it had reserved of a shared device; None held the device whole."""
    device_memory_bytes: int | None


class UsageTable:
    """Used from the daemon's event loop only, with the store's connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def since(self, begin: datetime) -> list[EndedUsage]:
        """Attempts that ended after `begin`, in the order of their ends; also those of jobs that were removed."""
        rows = self._connection.execute(
            "SELECT j.user, a.started_at, a.ended_at, a.gpu_memory_bytes, a.device_memory_bytes"
            " FROM attempts a JOIN jobs j ON j.id = a.job WHERE a.ended_at > ?"
            " UNION ALL SELECT user, started_at, ended_at, gpu_memory_bytes, device_memory_bytes"
            " FROM past_use WHERE ended_at > ? ORDER BY 3",
            (iso(begin), iso(begin)),
        )
        return [
            EndedUsage(
                row["user"],
                instant_of(row["started_at"]),
                instant_of(row["ended_at"]),
                row["gpu_memory_bytes"],
                row["device_memory_bytes"],
            )
            for row in rows
        ]

    def peaks(self) -> dict[str, int]:
        """The most that a process of a job of each family was seen to use, in bytes."""
        rows = self._connection.execute(
            "SELECT family, max(peak_bytes) AS peak FROM ("
            "  SELECT j.family, a.peak_bytes FROM attempts a JOIN jobs j ON j.id = a.job"
            "  WHERE j.family IS NOT NULL AND a.peak_bytes IS NOT NULL"
            "  UNION ALL SELECT family, peak_bytes FROM past_peaks) GROUP BY family"
        )
        return {row["family"]: row["peak"] for row in rows}

    def set_peak(self, job: int, attempt: int, peak_bytes: int) -> None:
        with transaction(self._connection):
            self._connection.execute(
                "UPDATE attempts SET peak_bytes = ? WHERE job = ? AND number = ?", (peak_bytes, job, attempt)
            )

    def set_device_use(self, job: int, attempt: int, use: Mapping[str, Any]) -> None:
        """What was sampled of an attempt's device, so far or in the end."""
        with transaction(self._connection):
            self._connection.execute(
                "UPDATE attempts SET device_use = ? WHERE job = ? AND number = ?",
                (json.dumps(use), job, attempt),
            )

    def foreign(self) -> dict[str, Usage]:
        """Of processes that were not jobs, by user."""
        rows = self._connection.execute("SELECT user, gpu_seconds, at FROM foreign_use")
        return {row["user"]: Usage(row["gpu_seconds"], instant_of(row["at"])) for row in rows}

    def set_foreign(self, user: str, usage: Usage) -> None:
        with transaction(self._connection):
            self._connection.execute(
                "INSERT INTO foreign_use (user, gpu_seconds, at) VALUES (?, ?, ?)"
                " ON CONFLICT (user) DO UPDATE SET gpu_seconds = excluded.gpu_seconds, at = excluded.at",
                (user, usage.gpu_seconds, iso(usage.at)),
            )
