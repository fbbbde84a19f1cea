"""Instants as people type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

from gpujobs.units import seconds

EXPECTED = "expected a time such as 18:30, 2026-12-24T18:30 or +90m"


def instant(text: str, now: datetime | None = None) -> datetime:
    """`18:30` (the next time that the clock shows it), a date, with or without a time, in the local time zone
    unless it names one, or `+90m` from now. UTC. Raises ValueError."""
    now = now or datetime.now().astimezone()
    text = text.strip()
    if text.startswith(("+", "now+")):
        return (now + timedelta(seconds=seconds(text.removeprefix("now").removeprefix("+")))).astimezone(UTC)
    if clock := re.fullmatch(r"(\d{1,2}):(\d\d)(?::(\d\d))?", text):
        hour, minute, second = (int(part or 0) for part in clock.groups())
        at = now.replace(hour=hour, minute=minute, second=second, microsecond=0)
        return (at if at > now else at + timedelta(days=1)).astimezone(UTC)
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=now.tzinfo)).astimezone(UTC)


class Instant(click.ParamType[datetime]):
    """Counted from `now`, where it is given, instead of from this moment."""

    name = "time"

    def __init__(self, now: datetime | None = None) -> None:
        self._now = now and now.astimezone()

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return instant(value, self._now)
        except (ValueError, OverflowError):  # the latter beyond the calendar
            self.fail(f"{value!r}; {EXPECTED}.", param, ctx)


INSTANT = Instant()
