"""`GET /v1/timeline` from the history of a store, as each caller may see it."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from gpujobs.model import utc_now
from gpujobs.paths import StatePaths
from gpujobs.policy import Reservation
from gpujobs.store import timeline
from gpujobs.store.database import connect
from gpujobs.store.store import Store
from tests.unit.daemon.test_rights_of_requests import Box
from tests.unit.store.jobs import DEVICE, A, B, complete, new_job


@pytest.fixture
def box(tmp_path: Path) -> Box:
    store = Store(StatePaths(tmp_path).database)
    (one,) = store.submit(A, "k1", [new_job("secret")])
    complete(store, one.id)
    (two,) = store.submit(B, "k2", [new_job("own")])
    store.start_attempt(two.id, DEVICE)
    store.devices.drain(DEVICE.uuid, "fan", "root")
    store.devices.note(DEVICE.uuid, "stranger", "gpujobs", "pid 9 of carol")
    now = utc_now()
    wanted = Reservation(0, DEVICE.uuid, now, now + timedelta(hours=2), "alice", None)
    for made in [store.reservations.add(wanted, "root") for _ in range(2)][1:]:
        store.reservations.cancel(made.id, "root")
    store.close()
    return Box(tmp_path)


def spans(box: Box, caller: Any, query: str = "") -> list[dict[str, Any]]:
    answer = json.loads(box.ask(caller, "GET", f"/v1/timeline{query}"))
    lanes = [lane for lane in answer["lanes"] if lane["device"]["uuid"] == DEVICE.uuid]
    return [span for lane in lanes for span in lane["spans"]]


def test_a_lane_has_attempts_drains_reservations_and_strangers(box: Box) -> None:
    found = spans(box, B)
    jobs = {
        span["job"]: (span["state"], span["label"], span["ends_at"] is None) for span in found if span["job"]
    }
    assert jobs == {1: ("COMPLETED", "secret (a)", False), 2: ("STARTING", "own (b)", True)}
    others = [(span["kind"], span["label"]) for span in found if not span["job"]]
    assert sorted(others) == [
        ("drain", "fan"), ("reservation", "alice"), ("reservation", "alice"), ("stranger", "pid 9 of carol"),
    ]  # fmt: skip
    ends = sorted(datetime.fromisoformat(one["ends_at"]) for one in found if one["kind"] == "reservation")
    assert ends[0] <= utc_now() < ends[1], "the cancelled one ended as it was cancelled"


def test_where_names_are_hidden_only_ones_own_are_shown(box: Box) -> None:
    hidden = replace(B, sees_names=False)
    text = box.ask(hidden, "GET", "/v1/timeline")
    assert not [word for word in ("secret", "alice", "carol") if word in text] and "own (b)" in text


def test_the_box_as_it_was_before_anything_ran(box: Box) -> None:
    then = (utc_now() - timedelta(days=3)).isoformat()
    until = (utc_now() - timedelta(days=2)).isoformat()
    assert spans(box, A, f"?from={quote(then)}&to={quote(until)}") == []


@pytest.mark.parametrize(
    "query", ["?from=x", "?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "?to=2026-01-01"]
)
def test_a_span_that_is_none_is_refused_in_words(box: Box, query: str) -> None:
    said = box.ask(A, "GET", f"/v1/timeline{query}")
    assert said.startswith("usage: ") and "Traceback" not in said


def test_the_history_is_asked_by_its_indices_and_not_read_whole(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.db")
    store.close()
    connection = connect(tmp_path / "s.db")
    asked: list[str] = []
    connection.set_trace_callback(asked.append)
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    timeline.rows(connection, begin, begin + timedelta(hours=1))
    connection.set_trace_callback(None)
    plan = " ".join(_plan(connection, asked[0]))
    assert "attempts_ended" in plan and "SCAN attempts" not in plan
    connection.close()


def _plan(connection: sqlite3.Connection, query: str) -> list[str]:
    return [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}")]
