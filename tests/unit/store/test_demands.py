"""What a job asks for, in the store: as JSON, and as the version before had it in columns."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gpujobs.demand import Demand, Dependencies
from gpujobs.errors import StoreError
from gpujobs.store import demands
from gpujobs.store.database import migrations
from gpujobs.store.store import Store
from tests.unit.store.jobs import A, having, new_job

BEGIN = datetime(2026, 1, 31, 14, 30, 0, 250_000, tzinfo=UTC)
FULL = Demand(
    priority=-3,
    requested_gpu=1,
    gpu_memory=3 << 30,
    estimate_bytes=7,
    family="f",
    exclusive=True,
    preemptible=True,
    time_limit_seconds=90.5,
    begin_at=BEGIN,
    at_most=2,
)
OLD = {
    "plain": "0, NULL, NULL, NULL, NULL, 0, 0, NULL, NULL, NULL",
    "full": f"-3, 1, '{3 << 30}', 7, 'f', 1, 1, 90.5, '2026-01-31T14:30:00.250000Z', 2",
    "auto": "5, NULL, 'auto', NULL, 'f', 0, 0, 3600.0, NULL, NULL",
}
"""Rows of version 10, in the order of the columns in the INSERT below."""


@pytest.fixture
def version_10(tmp_path: Path) -> Path:
    """A store with the three jobs of OLD; the third waits for the others, and the first has ended."""
    path = tmp_path / "s.db"
    raw = sqlite3.connect(path)
    raw.executescript("".join(script for version, script in migrations() if version <= 10))
    raw.execute("PRAGMA user_version = 10")
    raw.execute("INSERT INTO specs (path, source, resolved) VALUES ('j.yaml', '', '{}')")
    for number, (name, values) in enumerate(OLD.items()):
        raw.execute(
            "INSERT INTO jobs (uid, gid, user, request_key, request_index, name, spec, held, retries, submitted_at,"
            " priority, requested_gpu, gpu_memory, estimate_bytes, family, exclusive, preemptible,"
            " time_limit_seconds, begin_at, at_most)"
            f" VALUES (1000, 1000, 'a', 'k', {number}, '{name}', 1, 0, 1, '2026-01-01T00:00:00Z', {values})"
        )
    raw.execute("UPDATE jobs SET state = 'COMPLETED' WHERE id = 1")
    raw.execute("INSERT INTO dependencies (job, after, any_end) VALUES (3, 1, 0), (3, 2, 2)")
    raw.execute(
        "INSERT INTO attempts (job, number, node, device_uuid, device_kind, device_index, device_name, started_at,"
        " ended_at, peak_bytes) VALUES (2, 1, 'n', 'G', 'gpu', 0, 'g', '2026-01-01T00:00:00Z',"
        " '2026-01-01T01:00:00Z', 99)"
    )
    raw.commit()
    raw.close()
    return path


def test_a_store_of_the_version_before_keeps_what_its_jobs_ask_for(version_10: Path) -> None:
    store = Store(version_10)
    assert {job.name: job.demand for job in store.jobs([1, 2, 3])} == {
        "plain": Demand(),
        "full": FULL,
        "auto": Demand(
            5, gpu_memory="auto", family="f", time_limit_seconds=3600.0, awaits=Dependencies((1,), (), (2,))
        ),
    }
    assert store.usage.peaks() == {"f": 99}, "by the family, which is a computed column now"
    store.close()
    again = Store(version_10)
    assert again.job(2).demand == FULL
    again.close()


def test_the_conversion_is_whole_or_not_at_all(version_10: Path) -> None:
    raw = sqlite3.connect(version_10)
    raw.execute("CREATE VIEW in_the_way AS SELECT at_most FROM jobs")  # the last column that is dropped
    raw.commit()
    with pytest.raises(StoreError, match="at_most"):
        Store(version_10)
    assert raw.execute("PRAGMA user_version").fetchone() == (10,)
    assert raw.execute("SELECT priority FROM jobs ORDER BY id").fetchall() == [(0,), (-3,), (5,)]
    raw.close()


@pytest.mark.parametrize("demand", [Demand(), FULL, Demand(gpu_memory="auto", time_limit_seconds=60)])
def test_what_is_written_is_read(demand: Demand) -> None:
    text = demands.written(demand)
    assert demands.read(text, demand.awaits) == demand
    assert json.loads(text).keys() == {field.name for field in fields(Demand)} - {"awaits", "without"}


def test_what_an_older_version_did_not_know_has_its_default() -> None:
    assert demands.read('{"priority": 4}', Demand().awaits) == Demand(4)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "Invalid JSON"),
        ("[]", "object"),
        ('{"priority": "4"}', "priority: Input should be a valid integer"),
        ('{"priority": true}', "priority: Input should be a valid integer"),
        ('{"priority": null}', "priority: Input should be a valid integer"),
        ('{"preemptible": 1}', "preemptible: Input should be a valid boolean"),
        ('{"gpu_memory": "much"}', "gpu_memory"),
        ('{"time_limit_seconds": "1h"}', "time_limit_seconds: Input should be a valid number"),
        ('{"begin_at": "soon"}', "begin_at"),
        ('{"begin_at": "2026-01-31T14:30:00"}', "begin_at has no time zone"),
        ('{"colour": "red"}', "colour: Unexpected keyword argument"),
        ('{"awaits": {"after": [1]}}', "awaits has a table of its own"),
    ],
)
def test_what_is_not_as_it_was_written_is_an_error(tmp_path: Path, text: str, what: str) -> None:
    """A store that says so, not a job that asks for something else."""
    store = Store(tmp_path / "s.db")
    (job,) = store.submit(A, "k", [having(new_job(), priority=4)])
    raw = sqlite3.connect(tmp_path / "s.db")
    try:
        raw.execute("UPDATE jobs SET demand = ?", (text,))
        raw.commit()
    except sqlite3.OperationalError as error:
        assert "malformed JSON" in str(error), "SQLite computes the family, and refuses it itself"
        with pytest.raises(ValueError, match=what):
            demands.read(text, Demand().awaits)
    else:
        with pytest.raises(StoreError, match=what):
            store.job(job.id)
    finally:
        raw.close()
        store.close()
