"""What has happened since: the newest rows of the two append-only tables, with what a line about them names."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from gpujobs.model import Reason, State


@dataclass(frozen=True, slots=True)
class JobLine:
    """An event of a job. `user` and `name` are the job's; `device` is that of the attempt, as `gpu 0`."""

    id: int
    job: int
    user: str
    name: str
    kind: str
    actor: str
    attempt: int | None
    to_state: State | None
    reason: Reason
    message: str
    device: str | None
    node: str | None = None
    """Of the attempt."""


@dataclass(frozen=True, slots=True)
class DeviceLine:
    id: int
    device: str
    kind: str
    actor: str
    message: str


class History:
    """Used from the daemon's event loop only, with the store's connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def newest(self) -> tuple[int, int]:
        """The ids of the newest event of a job, and of a device."""
        (jobs,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
        (devices,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM device_events").fetchone()
        return jobs, devices

    def jobs_after(self, id: int) -> list[JobLine]:
        rows = self._connection.execute(
            "SELECT e.id, e.job, j.user, j.name, e.kind, e.actor, e.attempt, e.to_state, e.reason, e.message,"
            " a.device_kind || ' ' || a.device_index AS device, a.node"
            " FROM events e JOIN jobs j ON j.id = e.job"
            " LEFT JOIN attempts a ON a.job = e.job AND a.number = e.attempt"
            " WHERE e.id > ? ORDER BY e.id",
            (id,),
        )
        return [_job_line(row) for row in rows]

    def devices_after(self, id: int) -> list[DeviceLine]:
        rows = self._connection.execute(
            "SELECT id, device, kind, actor, message FROM device_events WHERE id > ? ORDER BY id", (id,)
        )
        return [DeviceLine(**dict(row)) for row in rows]


def _job_line(row: sqlite3.Row) -> JobLine:
    values = dict(row)
    state = values.pop("to_state")
    return JobLine(
        **{**values, "reason": Reason(values["reason"])}, to_state=None if state is None else State(state)
    )
