"""Instants as people type them."""

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from datetime import time as clock
from zoneinfo import ZoneInfo

import click
import pytest

from gpujobs.cli.commands.reserve import command as reserve
from gpujobs.cli.times import Instant, Past, coming, past

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("18:30", datetime(2026, 3, 1, 16, 30, tzinfo=UTC)),
        ("11:59", datetime(2026, 3, 2, 9, 59, tzinfo=UTC)),
        ("+90m", datetime(2026, 3, 1, 11, 30, tzinfo=UTC)),
        ("now+1h30m", datetime(2026, 3, 1, 11, 30, tzinfo=UTC)),
        ("2026-12-24", datetime(2026, 12, 23, 22, 0, tzinfo=UTC)),
        ("2026-12-24T18:30", datetime(2026, 12, 24, 16, 30, tzinfo=UTC)),
        ("2026-12-24T18:30Z", datetime(2026, 12, 24, 18, 30, tzinfo=UTC)),
    ],
)
def test_instants(text: str, expected: datetime) -> None:
    assert coming(text, NOON, NOON.tzinfo).at == expected


@pytest.mark.parametrize("text", ["", "soon", "25:00", "12:60", "+", "+1x", "2026-13-01"])
def test_what_is_no_instant(text: str) -> None:
    with pytest.raises(ValueError):
        coming(text, NOON, NOON.tzinfo)


@pytest.mark.parametrize("text", ["+999999999d", "+99999999d", "0001-01-01T00:00+14:00", "soon"])
def test_what_is_beyond_the_calendar_is_refused_in_words(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected a time such as 18:30"):
        Instant(NOON).convert(text, None, None)


@pytest.mark.parametrize(
    ("until", "expected"), [("+12h", timedelta(hours=12)), ("18:30", timedelta(minutes=30))], ids=str
)
@pytest.mark.parametrize("is_first", [True, False])
def test_the_end_of_a_reservation_is_counted_from_its_begin(
    until: str, expected: timedelta, is_first: bool
) -> None:
    begin, end = ["--from", "18:00"], ["--until", until]
    arguments = ["2", "--user", "alice", *(begin + end if is_first else end + begin)]
    given = reserve.make_context("reserve", arguments).params
    assert given["until"] - given["starts_at"] == expected


def test_without_a_begin_it_is_counted_from_now() -> None:
    until = reserve.make_context("reserve", ["2", "--until", "+1h"]).params["until"]
    assert timedelta(minutes=59) < until - datetime.now(UTC) <= timedelta(hours=1)


ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Cairo", "America/Santiago",
         "Pacific/Chatham", "UTC", "Europe/London"]  # fmt: skip


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ZoneInfo]:
    """This machine's."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield ZoneInfo(request.param)
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("now", ["2027-01-15T12:00Z", "2027-07-15T12:00Z"])
def test_a_time_is_what_the_clock_on_the_wall_shows_that_day(zone: ZoneInfo, now: str) -> None:
    """Against zoneinfo: each day of a year, whichever side of a change of summer time it is typed on."""
    typed_at = datetime.fromisoformat(now)
    for day in range(366):
        wall = datetime(2027, 1, 1, 8) + timedelta(days=day)
        expected = wall.replace(tzinfo=zone).astimezone(UTC)
        assert Instant(typed_at).convert(wall.isoformat(timespec="minutes"), None, None) == expected
        assert past(wall.isoformat(" ", "minutes"), typed_at).at == expected


@pytest.mark.parametrize(
    "day", [date(2027, 3, 27), date(2027, 3, 28), date(2027, 10, 30), date(2027, 10, 31)]
)
def test_the_next_time_that_the_clock_shows(zone: ZoneInfo, day: date) -> None:
    now = datetime(day.year, day.month, day.day, 20, 0, tzinfo=zone)
    tomorrow = datetime.combine(day + timedelta(days=1), clock(8), zone).astimezone(UTC)
    today = datetime.combine(day, clock(8), zone).astimezone(UTC)
    assert coming("08:00", now.astimezone(UTC), None).at == tomorrow
    assert coming("tomorrow 08:00", now.astimezone(UTC), None).at == tomorrow
    assert past("08:00", now.astimezone(UTC)).at == today
    assert past("yesterday", now.astimezone(UTC)).at.astimezone(zone).date() == day - timedelta(days=1)


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "zone", "expected", "note"),
    [
        ("2027-03-28T02:30", BERLIN, "2027-03-28T01:30Z", "put forward then; 2027-03-28 03:30 is meant"),
        ("2027-10-31T02:30", BERLIN, "2027-10-31T00:30Z", "02:30+02:00 is meant, not 2027-10-31T02:30+01:00"),
        ("2027-10-31T02:30+01:00", BERLIN, "2027-10-31T01:30Z", ""),
        ("2027-10-03T02:10", ZoneInfo("Australia/Lord_Howe"), "2027-10-02T15:40Z", "does not exist"),
        ("2027-09-05", ZoneInfo("America/Santiago"), "2027-09-05T04:00Z", ""),
    ],
)  # fmt: skip
def test_what_a_change_of_summer_time_skips_or_repeats_is_said(
    text: str, zone: ZoneInfo, expected: str, note: str
) -> None:
    said = coming(text, datetime(2027, 1, 1, tzinfo=UTC), zone)
    assert said.at == datetime.fromisoformat(expected)
    assert note in said.note and bool(note) == bool(said.note)


def test_within_the_repeated_hour_the_second_showing_is_still_to_come() -> None:
    now = datetime.fromisoformat("2027-10-31T00:45Z")  # 02:45, for the first time
    assert coming("02:30", now, BERLIN).at == datetime.fromisoformat("2027-10-31T01:30Z")
    assert past("02:30", now, BERLIN).at == datetime.fromisoformat("2027-10-31T00:30Z")


def test_it_is_said_where_it_is_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        skipped = Instant().convert("2027-03-28T02:30", None, None)
        until = Instant(datetime(2027, 1, 1, tzinfo=UTC)).convert("2027-07-01T08:00", None, None)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert "2027-03-28 02:30 does not exist" in (said := capsys.readouterr().err)
    assert "2027-03-28 03:30 is meant" in said
    assert skipped == datetime(2027, 3, 28, 1, 30, tzinfo=UTC)
    assert until == datetime(2027, 7, 1, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "ago"),
    [("2h", timedelta(hours=2)), ("90m ago", timedelta(minutes=90)), ("-7d", timedelta(days=7))],
)
def test_so_long_ago(text: str, ago: timedelta) -> None:
    assert past(text, NOON).at == NOON - ago


@pytest.mark.parametrize("text", ["", "soon", "yesterday soon", "2", "h", "25:00"])
def test_what_is_no_time_that_is_over(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected a time such as yesterday"):
        Past().convert(text, None, None)
