"""What devices were used for in some time, for sums: the attempts, and what is kept of removed ones."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from gpujobs.model import iso

MOST = 200_000
"""Attempts; the newest are kept."""


def rows(connection: sqlite3.Connection, since: datetime, until: datetime) -> tuple[list[sqlite3.Row], bool]:
    """Those that touch the time from `since` to `until`; whether that are all. Of removed jobs `job` is NULL."""
    found = connection.execute(
        "SELECT a.job, a.number, j.uid, j.gid, j.user, a.node, a.device_kind AS kind, a.device_index AS number_of,"
        " a.device_uuid AS uuid, a.started_at, a.ended_at, a.gpu_memory_bytes, a.device_memory_bytes, a.peak_bytes,"
        " a.device_use, j.submitted_at, json_extract(j.demand, '$.begin_at') AS begin_at"
        " FROM (SELECT * FROM attempts WHERE ended_at IS NULL UNION ALL SELECT * FROM attempts WHERE ended_at > ?) a"
        " JOIN jobs j ON j.id = a.job WHERE a.started_at < ?"
        " UNION ALL SELECT NULL, NULL, NULL, NULL, user, NULL, CASE WHEN device_memory_bytes IS NULL THEN 'cpu'"
        " ELSE 'gpu' END, NULL, NULL, started_at, ended_at, gpu_memory_bytes, device_memory_bytes, NULL, device_use,"
        " NULL, NULL"
        " FROM past_use WHERE ended_at > ? AND started_at < ?"
        " ORDER BY started_at DESC LIMIT ?",
        (iso(since), iso(until), iso(since), iso(until), MOST + 1),
    ).fetchall()
    return found[:MOST], len(found) <= MOST
