"""`GET /v1/report`, compared with what pandas makes of the raw rows of the store."""

from __future__ import annotations

import json
import random
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from gpujobs.measured.sums import Sums, written
from gpujobs.model import iso
from gpujobs.paths import StatePaths
from gpujobs.store.database import connect
from gpujobs.store.store import Store
from gpujobs.view.report import HOUR, Presence, Use, report
from tests.unit.daemon.test_rights_of_requests import Box
from tests.unit.store.jobs import A, B, having, new_job

BERLIN = ZoneInfo("Europe/Berlin")
SINCE, UNTIL = datetime(2026, 3, 18, 7, tzinfo=UTC), datetime(2026, 4, 8, 19, tzinfo=UTC)
"""Over the night in which Berlin's summer time begins."""
GIB = 1 << 30


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Box:
    """Forty jobs of two users on two GPUs, some beyond the borders, one that was removed, one that still runs."""
    directory = tmp_path_factory.mktemp("report")
    path = StatePaths(directory).database
    store = Store(path)
    ids = [one.id for n in range(40) for one in store.submit((A, B)[n % 2], f"k{n}", [new_job(f"j{n}")])]
    store.close()
    chance, connection = random.Random(1), connect(path)
    for n, id in enumerate(ids):
        _attempt(connection, chance, id, n)
    connection.execute(
        "INSERT INTO past_use (user, started_at, ended_at, gpu_memory_bytes, device_memory_bytes)"
        " VALUES ('a', ?, ?, ?, ?)",
        (iso(SINCE - timedelta(hours=3)), iso(SINCE + timedelta(hours=5)), 20 * GIB, 80 * GIB),
    )
    connection.commit()
    connection.close()
    return Box(directory)


def _attempt(connection: sqlite3.Connection, chance: random.Random, id: int, n: int) -> None:
    submitted = SINCE + timedelta(hours=chance.uniform(-60, 24 * 21))
    started = submitted + timedelta(hours=chance.uniform(0, 9))
    ended = None if n == 39 else iso(started + timedelta(hours=chance.uniform(0.1, 70)))
    reserved = chance.choice([None, 10 * GIB, 40 * GIB])
    peak = chance.choice([None, 5 * GIB, 8 * GIB])
    connection.execute("UPDATE jobs SET submitted_at = ?, attempt = 1 WHERE id = ?", (iso(submitted), id))
    connection.execute(
        "INSERT INTO attempts (job, number, node, device_uuid, device_kind, device_index, device_name, started_at,"
        " ended_at, gpu_memory_bytes, device_memory_bytes, peak_bytes)"
        " VALUES (?, 1, 'n', ?, 'gpu', ?, 'A100', ?, ?, ?, ?, ?)",
        (id, f"GPU-{n % 2}", n % 2, iso(started), ended, reserved, 80 * GIB, peak),
    )


def ask(box: Box, caller: Any = A, **query: str) -> dict[str, Any]:
    span = {"since": iso(SINCE), "until": iso(UNTIL), "zone": "Europe/Berlin", **query}
    answer: dict[str, Any] = json.loads(box.ask(caller, "GET", f"/v1/report?{urlencode(span)}"))
    return answer


def raw(box: Box) -> pd.DataFrame:
    with sqlite3.connect(StatePaths(box.directory).database) as connection:
        frame = pd.read_sql(
            "SELECT a.*, j.user, j.submitted_at FROM attempts a JOIN jobs j ON j.id = a.job", connection
        )
        past = pd.read_sql("SELECT * FROM past_use", connection)
    frame = pd.concat([frame, past], ignore_index=True)
    for name in ("started_at", "ended_at", "submitted_at"):
        frame[name] = pd.to_datetime(frame[name], format="ISO8601", utc=True)
    frame["ended_at"] = frame["ended_at"].fillna(pd.Timestamp(UNTIL))
    frame["share"] = (frame["gpu_memory_bytes"] / frame["device_memory_bytes"]).fillna(1.0)
    frame["first"] = frame["started_at"].clip(lower=pd.Timestamp(SINCE))
    frame["last"] = frame["ended_at"].clip(upper=pd.Timestamp(UNTIL))
    frame = frame[frame["first"] < frame["last"]].copy()
    frame["hours"] = (frame["last"] - frame["first"]) / pd.Timedelta(hours=1)
    return frame


def test_hours_by_user_are_those_of_pandas(box: Box) -> None:
    frame = raw(box)
    expected = (frame["hours"] * frame["share"]).groupby(frame["user"]).sum()
    found = ask(box, by="user")
    assert {row["key"]: row["gpu_hours"] for row in found["rows"]} == pytest.approx(expected.to_dict())
    assert found["total"]["gpu_hours"] == pytest.approx(expected.sum())
    assert [row["gpu_hours"] for row in found["rows"]] == sorted(
        (row["gpu_hours"] for row in found["rows"]), reverse=True
    )


def test_waits_and_memory_are_those_of_pandas(box: Box) -> None:
    frame = raw(box)
    begun = frame[(frame["started_at"] >= SINCE) & frame["job"].notna()]
    waits = (begun["started_at"] - begun["submitted_at"]).dt.total_seconds()
    known = frame[frame["peak_bytes"].notna()]
    reserved = known["gpu_memory_bytes"].fillna(known["device_memory_bytes"])
    total = ask(box)["total"]
    assert total["wait_median"] == pytest.approx(waits.median()) and total["wait_max"] == pytest.approx(
        waits.max()
    )
    assert total["memory_used"] == pytest.approx(known["peak_bytes"].sum() / reserved.sum())


def test_of_memory_no_more_counts_as_used_than_was_reserved() -> None:
    """What a job has taken beyond its part was not its own: the two are 8 of 10 GiB together."""
    use = Use("a", "g", "n:gpu 0", "gpu", 1, SINCE, UNTIL, 1.0, 5 * GIB, 9 * GIB)
    uses = [use, replace(use, job=2, peak_bytes=3 * GIB), replace(use, job=3, peak_bytes=None)]
    assert report(uses, SINCE, UNTIL, "user", UTC, {}).total.memory_used == pytest.approx(0.8)


def test_a_job_that_was_to_begin_later_has_waited_since_then_whatever_its_offset(tmp_path: Path) -> None:
    starts = datetime(2026, 3, 20, 12, tzinfo=UTC)
    begins = (starts - timedelta(minutes=30)).astimezone(timezone(timedelta(hours=9)))
    store = Store(StatePaths(tmp_path).database)
    (job,) = store.submit(A, "k", [having(new_job(), begin_at=begins)])
    store.close()
    connection = connect(StatePaths(tmp_path).database)
    connection.execute("UPDATE jobs SET submitted_at = ?", (iso(starts - timedelta(hours=5)),))
    connection.execute(
        "INSERT INTO attempts (job, number, node, device_uuid, device_kind, device_index, device_name, started_at)"
        " VALUES (?, 1, 'n', 'CPU-0', 'cpu', 0, 'CPU', ?)",
        (job.id, iso(starts)),
    )
    connection.commit()
    connection.close()
    assert ask(Box(tmp_path))["total"]["wait_max"] == 30 * 60


def test_weeks_begin_on_monday_in_berlin_also_over_summer_time(box: Box) -> None:
    frame = raw(box)
    expected: dict[str, float] = {}
    mondays = pd.date_range("2026-03-16", "2026-04-13", freq="7D", tz="Europe/Berlin")
    for begin, end in pairwise(mondays):
        first, last = frame["first"].clip(lower=begin), frame["last"].clip(upper=end)
        hours = ((last - first) / pd.Timedelta(hours=1)).clip(lower=0) * frame["share"]
        expected[begin.date().isoformat()] = hours.sum()
    found = ask(box, by="week")["rows"]
    assert {row["key"]: row["gpu_hours"] for row in found} == pytest.approx(expected)
    assert [row["key"] for row in found] == sorted(expected)


def test_the_week_of_summer_time_has_an_hour_less() -> None:
    begin, end = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 30, tzinfo=UTC)
    use = Use("a", "g", "n:gpu 0", "gpu", 1, begin, end, 1.0)
    weeks = {row.key: row.gpu_hours for row in report([use], begin, end, "week", BERLIN).rows}
    assert (weeks["2026-03-16"], weeks["2026-03-23"], weeks["2026-03-30"]) == (168, 167, 168)


def test_a_device_is_idle_where_no_attempt_covers_it(box: Box) -> None:
    frame = raw(box)
    minutes = pd.date_range(SINCE, UNTIL, freq="min", inclusive="left")
    for row in ask(box, by="device")["rows"]:
        if row["key"] == "removed jobs":
            assert row["idle_hours"] is None
            continue
        own = frame[frame["device_index"] == int(row["key"][-1])]
        busy = pd.Series(False, index=minutes)
        for first, last in zip(own["first"], own["last"], strict=True):
            busy |= (minutes >= first) & (minutes < last)
        assert row["idle_hours"] == pytest.approx((~busy).sum() / 60, abs=1.0)


def test_a_device_that_came_later_was_not_idle_before(tmp_path: Path) -> None:
    """GPU 0 was there before the window, GPU 1 came in it, GPU 2 went with its last use."""
    seen = {"GPU-0": SINCE - timedelta(days=9), "GPU-1": SINCE + timedelta(hours=30)}
    store = Store(StatePaths(tmp_path).database)
    ids = [one.id for n in range(2) for one in store.submit(A, f"k{n}", [new_job()])]
    for uuid, at in seen.items():
        store.presence.note_seen([uuid], at)
    store.close()
    connection = connect(StatePaths(tmp_path).database)
    for id, number in zip(ids, (1, 2), strict=True):
        connection.execute(
            "INSERT INTO attempts (job, number, node, device_uuid, device_kind, device_index, device_name, started_at,"
            " ended_at) VALUES (?, 1, 'n', ?, 'gpu', ?, 'A100', ?, ?)",
            (id, f"GPU-{number}", number, iso(SINCE + timedelta(hours=40)), iso(SINCE + timedelta(hours=50))),
        )
    connection.commit()
    connection.close()
    there = {f"n:gpu {n}": Presence(seen[f"GPU-{n}"]) for n in (0, 1)}
    whole = (UNTIL - SINCE) / timedelta(hours=1)
    uses = [Use("a", "g", f"n:gpu {n}", "gpu", n, SINCE + 40 * HOUR, SINCE + 50 * HOUR, 1.0) for n in (1, 2)]
    found = report(uses, SINCE, UNTIL, "device", BERLIN, {**there, "n:gpu 2": Presence(None, is_there=False)})
    expected = {"n:gpu 0": whole, "n:gpu 1": whole - 30 - 10, "n:gpu 2": 40.0}
    assert {row.key: row.idle_hours for row in found.rows} == pytest.approx(expected)
    asked = {row["key"]: row["idle_hours"] for row in ask(Box(tmp_path), by="device")["rows"]}
    assert asked == pytest.approx({"n:gpu 1": whole - 30 - 10, "n:gpu 2": whole - 10}), (
        "as long as no node has told of its devices, none is taken for gone"
    )


def test_unused_time_energy_and_strangers_are_those_of_pandas(tmp_path: Path) -> None:
    """Thirty attempts, a third of which was not sampled, one of them of a removed job; strangers by the hour."""
    chance = random.Random(5)
    path = StatePaths(tmp_path).database
    store = Store(path)
    ids = [one.id for n in range(30) for one in store.submit((A, B)[n % 2], f"k{n}", [new_job()])]
    hours = {(f"GPU-{n % 2}", SINCE + timedelta(hours=7 * n - 3)): chance.uniform(1, 3600) for n in range(60)}
    store.presence.add_strangers(hours)
    store.close()
    connection, frame = connect(path), []
    for n, id in enumerate(ids):
        _attempt(connection, chance, id, n)
        use = Sums(
            samples=9,
            load_seconds=60.0,
            busy_seconds=chance.uniform(0, 60),
            counted_joules=chance.uniform(1, 9e6),
        )
        if n % 3:
            connection.execute(
                "UPDATE attempts SET device_use = ? WHERE job = ?", (json.dumps(written(use)), id)
            )
        frame.append((id, use.idle if n % 3 else None, use.energy_joules if n % 3 else None))
    connection.commit()
    connection.close()
    box = Box(tmp_path)
    known = pd.DataFrame(frame, columns=["job", "idle", "joules"]).merge(raw(box), on="job")
    known = known[known["idle"].notna()]
    weights = known["hours"] * known["share"]
    part = known["hours"] / ((known["ended_at"] - known["started_at"]) / pd.Timedelta(hours=1))
    total = ask(box)["total"]
    assert total["unused_hours"] == pytest.approx((weights * known["idle"]).sum())
    assert total["load"] == pytest.approx(1 - (weights * known["idle"]).sum() / weights.sum())
    assert total["energy_joules"] == pytest.approx((known["joules"] * part).sum())
    by_user = {row["key"]: row["energy_joules"] for row in ask(box, by="user")["rows"]}
    assert by_user == pytest.approx((known["joules"] * part).groupby(known["user"]).sum().to_dict())
    seen = pd.DataFrame(
        [(device, at, seconds) for (device, at), seconds in hours.items()], columns=list("das")
    )
    first = seen["a"].clip(lower=pd.Timestamp(SINCE))
    last = (seen["a"] + pd.Timedelta(hours=1)).clip(upper=pd.Timestamp(UNTIL))
    seen["hours"] = seen["s"] / 3600 * ((last - first) / pd.Timedelta(hours=1)).clip(lower=0)
    of_devices = {row["key"]: row["foreign_hours"] for row in ask(box, by="device")["rows"]}
    expected = seen.groupby("d")["hours"].sum()
    assert of_devices == pytest.approx({"n:gpu 0": expected["GPU-0"], "n:gpu 1": expected["GPU-1"]})
    weeks = sum(row["foreign_hours"] or 0 for row in ask(box, by="week")["rows"])
    assert weeks == pytest.approx(expected.sum()) and total["foreign_hours"] == pytest.approx(expected.sum())


def test_what_a_removed_job_has_used_of_its_device_stays(tmp_path: Path) -> None:
    path = StatePaths(tmp_path).database
    store = Store(path)
    (job,) = store.submit(A, "k", [new_job()])
    connection = connect(path)
    _attempt(connection, random.Random(1), job.id, 0)
    connection.commit()
    connection.close()
    use = Sums(samples=9, load_seconds=60.0, busy_seconds=15.0, counted_joules=5e6)
    store.usage.set_device_use(job.id, 1, written(use))
    before = ask(
        Box(tmp_path), since=f"{iso(SINCE - timedelta(days=9))}", until=f"{iso(UNTIL + timedelta(days=9))}"
    )["total"]
    store.pruning.delete([job.id])
    store.close()
    after = ask(
        Box(tmp_path), since=f"{iso(SINCE - timedelta(days=9))}", until=f"{iso(UNTIL + timedelta(days=9))}"
    )["total"]
    figures = ("load", "unused_hours", "energy_joules", "gpu_hours")
    assert before["energy_joules"] == pytest.approx(5e6) and before["load"] == pytest.approx(0.25)
    assert {name: after[name] for name in figures} == pytest.approx({name: before[name] for name in figures})


def test_where_nvml_tells_nothing_there_is_nothing_and_not_0(box: Box) -> None:
    for by in ("user", "device", "week"):
        found = ask(box, by=by)
        for row in [*found["rows"], found["total"]]:
            assert {row[name] for name in ("load", "unused_hours", "energy_joules", "foreign_hours")} == {
                None
            }


def test_where_names_are_hidden_all_others_are_one_line(box: Box) -> None:
    for by in ("user", "group"):
        found = ask(box, replace(B, sees_names=False), by=by)
        keys = {row["key"] for row in found["rows"]}
        assert "others" in keys and "a" not in keys and len(keys) == 2


@pytest.mark.parametrize(
    "query",
    [{"by": "moon"}, {"zone": "../../etc/passwd"}, {"since": "x"}, {"until": "2020-01-01T00:00:00Z"},
     {"since": iso(UNTIL)}],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_words(box: Box, query: dict[str, str]) -> None:
    asked = urlencode({"since": iso(SINCE), "until": iso(UNTIL), **query})
    assert box.ask(A, "GET", f"/v1/report?{asked}").startswith("usage: ")
