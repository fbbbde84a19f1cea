"""Instants as people type them."""

from datetime import UTC, datetime, timedelta, timezone

import click
import pytest

from gpujobs.cli.commands.reserve import command as reserve
from gpujobs.cli.times import Instant, instant

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
    assert instant(text, NOON) == expected


@pytest.mark.parametrize("text", ["", "soon", "25:00", "12:60", "+", "+1x", "2026-13-01"])
def test_what_is_no_instant(text: str) -> None:
    with pytest.raises(ValueError):
        instant(text, NOON)


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
