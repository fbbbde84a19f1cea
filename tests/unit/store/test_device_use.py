"""A store of before is opened by this version: what it knows of devices is in it."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from gpujobs.store.database import migrations
from gpujobs.store.store import Store
from tests.unit.store.jobs import A, new_job

LAST_BEFORE = 12


def version_12(path: Path) -> None:
    """With one attempt of a job, an event of its device and one of another, and use of a removed job."""
    raw = sqlite3.connect(path)
    for number, script in migrations():
        if number <= LAST_BEFORE:
            raw.executescript(f"{script}\nPRAGMA user_version = {number};")
    raw.executescript(
        "INSERT INTO attempts (job, number, node, device_uuid, device_kind, device_index, device_name, started_at)"
        " VALUES (1, 1, 'n', 'GPU-0', 'gpu', 0, 'A100', '2026-01-02T03:04:05.000000Z');"
        "INSERT INTO device_events (device, at, kind, actor, message)"
        " VALUES ('GPU-0', '2026-01-01T00:00:00.000000Z', 'drained', 'a', ''),"
        " ('GPU-1', '2026-01-05T00:00:00.000000Z', 'drained', 'a', '');"
        "INSERT INTO past_use (user, started_at, ended_at) VALUES ('a', 'x', 'y');"
    )
    raw.close()


def test_devices_are_known_since_they_were_first_heard_of(tmp_path: Path) -> None:
    version_12(tmp_path / "s.db")
    store = Store(tmp_path / "s.db")
    assert store.first_seen() == {
        "GPU-0": datetime(2026, 1, 1, tzinfo=UTC),
        "GPU-1": datetime(2026, 1, 5, tzinfo=UTC),
    }
    store.close()


def test_attempts_of_before_were_not_sampled_and_those_from_now_on_may_be(tmp_path: Path) -> None:
    version_12(tmp_path / "s.db")
    store = Store(tmp_path / "s.db")
    raw = sqlite3.connect(tmp_path / "s.db")
    assert raw.execute(
        "SELECT device_use FROM attempts UNION ALL SELECT device_use FROM past_use"
    ).fetchall() == [
        (None,),
        (None,),
    ]
    (job,) = store.submit(A, "k", [new_job()])
    store.usage.set_device_use(1, 1, {"samples": 3})
    (text,) = raw.execute("SELECT device_use FROM attempts WHERE job = 1").fetchone()
    assert json.loads(text) == {"samples": 3} and job.current is None
    raw.close()
    store.close()
