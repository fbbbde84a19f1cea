"""Instants as people type them: by the clock on the wall, whichever side of a change of summer time they are on."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import NamedTuple

import click

from gpujobs.units import seconds

EXPECTED = "expected a time such as 18:30, 2026-12-24T18:30, tomorrow or +90m"
EXPECTED_PAST = "expected a time such as yesterday, 2h (ago), 18:30 or 2026-12-24"

DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}

_CLOCK = r"(\d{1,2}):(\d\d)(?::(\d\d))?"
_DATE = r"\d{4}-?\d\d-?\d\d|\d{4}-?W\d\d(-?\d)?"


class Said(NamedTuple):
    """What was meant, in UTC; `note` where the clock on the wall did not say it clearly."""

    at: datetime
    note: str = ""


def coming(text: str, now: datetime, zone: tzinfo | None) -> Said:
    """`18:30` (the next time that the clock shows it), a date, with or without a time, `today` and `tomorrow`, or
    `+90m` from now. In `zone`, None being this machine's, unless it names one. UTC. Raises ValueError."""
    text = text.strip()
    if text.startswith(("+", "now+")):
        return Said(
            now.astimezone(UTC) + timedelta(seconds=seconds(text.removeprefix("now").removeprefix("+")))
        )
    if (clock := _clock(text)) is not None:
        return min(
            (one for one in _showings(now, zone, clock, (0, 1)) if one.at > now), key=lambda one: one.at
        )
    return _calendar(text, now, zone)


def past(text: str, now: datetime | None = None, zone: tzinfo | None = None) -> Said:
    """`2h` or `2h ago`, `18:30` (the last time that the clock showed it), `yesterday` and `today` from midnight on, a
    date, with or without a time. Raises ValueError."""
    now, text = now or datetime.now(UTC), text.strip()
    if (clock := _clock(text)) is not None:
        shown = _showings(now, zone, clock, (-1, 0))
        return max((one for one in shown if one.at <= now), key=lambda one: one.at)
    ago = re.fullmatch(r"-?((?:\d+[smhd])+)(?: ago)?", text)
    if ago:
        return Said(now.astimezone(UTC) - timedelta(seconds=seconds(ago[1])))
    return _calendar(text, now, zone)


def placed(wall: datetime, zone: tzinfo | None) -> Said:
    """A clock's reading, which a change of summer time may have skipped, or shows twice: then the first is meant.
    What was skipped is that much later."""
    first, second = (_utc(wall.replace(fold=fold), zone) for fold in (0, 1))
    if first == second:
        return Said(first)
    shown = wall.isoformat(" ", "minutes")
    if _wall(first, zone) != wall:
        meant = _wall(first, zone).isoformat(" ", "minutes")
        return Said(first, f"{shown} does not exist: the clocks are put forward then; {meant} is meant")
    offsets = [_wall_aware(at, zone).isoformat("T", "minutes") for at in (first, second)]
    return Said(
        first, f"{shown} comes twice: the clocks are put back then; {offsets[0]} is meant, not {offsets[1]}"
    )


def _calendar(text: str, now: datetime, zone: tzinfo | None) -> Said:
    word, _, rest = text.partition(" ")
    if word in DAYS:
        clock = _clock(rest.strip())
        if rest.strip() and clock is None:
            raise ValueError(text)
        day = _day(now, zone, DAYS[word])
        return placed(datetime.combine(day, clock), zone) if clock else _midnight(day, zone)
    at = datetime.fromisoformat(text)
    if at.tzinfo is not None:
        return Said(at.astimezone(UTC))
    return _midnight(at.date(), zone) if re.fullmatch(_DATE, text) else placed(at, zone)


def _showings(now: datetime, zone: tzinfo | None, clock: time, days: tuple[int, int]) -> list[Said]:
    """When the clock shows this on these days, counted from today."""
    walls = [datetime.combine(_day(now, zone, later), clock) for later in days]
    again = [Said(_utc(wall.replace(fold=1), zone)) for wall in walls]
    return [placed(wall, zone) for wall in walls] + [one for one in again if _wall(one.at, zone) in walls]


def _midnight(day: date, zone: tzinfo | None) -> Said:
    """The first instant of a day: where clocks are put forward at midnight, it begins at one."""
    return Said(placed(datetime.combine(day, time()), zone).at)


def _clock(text: str) -> time | None:
    """Raises ValueError for 25:00."""
    parts = re.fullmatch(_CLOCK, text)
    if parts is None:
        return None
    hour, minute, second = (int(part or 0) for part in parts.groups())
    return time(hour, minute, second)


def _day(now: datetime, zone: tzinfo | None, later: int = 0) -> date:
    return now.astimezone(zone).date() + timedelta(days=later)


def _utc(wall: datetime, zone: tzinfo | None) -> datetime:
    """Without a zone, Python asks the system, by the rules of that very day: through the timestamp, as `astimezone`
    takes an hour that is skipped for one that is earlier."""
    if zone is None:
        return datetime.fromtimestamp(wall.timestamp(), UTC)
    return wall.replace(tzinfo=zone).astimezone(UTC)


def _wall_aware(at: datetime, zone: tzinfo | None) -> datetime:
    return at.astimezone(zone)


def _wall(at: datetime, zone: tzinfo | None) -> datetime:
    return _wall_aware(at, zone).replace(tzinfo=None, fold=0)


class Instant(click.ParamType[datetime]):
    """Counted from `now`, where it is given, instead of from this moment."""

    name = "time"

    def __init__(self, now: datetime | None = None) -> None:
        self._now = now

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        return _said(
            self, lambda: coming(value, self._now or datetime.now(UTC), None), value, EXPECTED, param, ctx
        )


class Past(click.ParamType[datetime]):
    name = "time"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        return _said(self, lambda: past(value), value, EXPECTED_PAST, param, ctx)


def _said(
    kind: click.ParamType[datetime],
    read: Callable[[], Said],
    value: str,
    expected: str,
    param: click.Parameter | None,
    ctx: click.Context | None,
) -> datetime:
    try:
        said = read()
    except (ValueError, OverflowError):  # the latter beyond the calendar
        kind.fail(f"{value!r}; {expected}.", param, ctx)
    if said.note:
        click.echo(f"gpujobs: {said.note}", err=True)
    return said.at


INSTANT = Instant()
PAST = Past()
