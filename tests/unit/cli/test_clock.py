"""One clock for people. The expected times are those of zoneinfo, not of the code under test."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gpujobs.cli import clock
from gpujobs.policy.inputs import text
from tests.unit.cli.conftest import HOLD, Cli, Protocol, job

Zone = Callable[[str], None]


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Zone]:
    def use(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield use
    monkeypatch.undo()
    time.tzset()


def machine_in(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "LOCALTIME", Path("/usr/share/zoneinfo") / name)


@pytest.mark.parametrize("name", ["Asia/Tokyo", "America/St_Johns", "Asia/Kathmandu", "Europe/Berlin"])
def test_a_zone_that_is_not_the_machines_is_named(
    zone: Zone, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    zone(name)
    machine_in("Pacific/Apia", monkeypatch)
    at = datetime(2026, 11, 26, 15, 30, 45, tzinfo=UTC)
    assert clock.local(at) == f"{at.astimezone(ZoneInfo(name)):%Y-%m-%d %H:%M %Z}"
    assert clock.local(at, "seconds") == f"{at.astimezone(ZoneInfo(name)):%Y-%m-%d %H:%M:%S %Z}"


def test_the_zone_is_named_beyond_a_change_of_summer_time_only(
    zone: Zone, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone("Europe/Berlin")
    machine_in("Europe/Berlin", monkeypatch)
    offsets = {}
    for month in (1, 7):
        at = datetime(2026, month, 15, 12, tzinfo=UTC)
        there = at.astimezone(ZoneInfo("Europe/Berlin"))
        offsets[there.utcoffset()] = (clock.local(at), f"{there:%Y-%m-%d %H:%M}", f"{there:%Z}")
    now = datetime.now(ZoneInfo("Europe/Berlin")).utcoffset()
    for offset, (shown, plain, name) in offsets.items():
        assert shown == (plain if offset == now else f"{plain} {name}")


def test_an_hour_that_comes_twice_is_told_apart(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    zone("Europe/Berlin")
    machine_in("Europe/Berlin", monkeypatch)
    summer, winter = (datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1))
    assert clock.local(summer)[:16] == clock.local(winter)[:16] == "2026-10-25 02:30"
    assert clock.local(summer) != clock.local(winter)


def test_the_ends_of_the_calendar_are_shown(zone: Zone) -> None:
    zone("Asia/Tokyo")
    assert clock.local(datetime.max.replace(tzinfo=UTC)).startswith("9999-12-31 23:59")


def test_a_sentence_of_the_daemon_has_the_readers_time(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    zone("Asia/Tokyo")
    machine_in("UTC", monkeypatch)
    at = datetime(2026, 11, 26, 15, 30, tzinfo=UTC)
    there = f"{at.astimezone(ZoneInfo('Asia/Tokyo')):%Y-%m-%d %H:%M}"
    assert clock.localised(f"begins at {text.instant(at)}") == f"begins at {there} JST"
    data = "row 7: time is 2026-11-26T15:30Z, and 2026-11-26 15:30+00:00"
    assert clock.localised(data) == data


@pytest.mark.parametrize(
    "view", [("results",), ("show", 1), ("status",), ("show", 2), ("reserve",), ("gpus",)]
)
def test_every_view_has_the_same_clock(cli: Cli, server: Protocol, view: tuple[object, ...]) -> None:
    ended = {"state": "COMPLETED", "ended_at": "2026-11-26T15:30:00.000000Z"}
    server.jobs[1] = job(1, name="a", **ended)
    server.jobs[2] = job(2, name="b", reason="BeginTime", message="begins at 2026-11-26 15:30 UTC")
    server.holds = [HOLD]
    utc, tokyo = (cli(*view, TZ=name, COLUMNS="").stdout for name in ("UTC", "Asia/Tokyo"))
    assert "2026-11-26 15:30" in utc
    assert "2026-11-27 00:30" in tokyo and "JST" in tokyo and " 15:30 " not in tokyo


def test_scripts_read_utc_wherever_they_run(cli: Cli, server: Protocol) -> None:
    server.jobs[1] = job(1)
    assert cli("status", "--json", TZ="Asia/Tokyo").stdout == cli("status", "--json").stdout
