"""One clock for people: local time, with its zone where it could be taken for another's. JSON is UTC."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from pathlib import Path

LOCALTIME = Path("/etc/localtime")
"""The zone of this machine, whatever TZ says to one process: that of the daemon and of its logs."""

_INSTANT = r"\b(\d{4}-\d\d-\d\d) (\d\d:\d\d(?::\d\d)?) UTC\b"
"""As the daemon's sentences have them, and the times of data, which are to be shown as they are, do not."""


def local(at: datetime, unit: str = "minutes") -> str:
    """`2026-12-24 18:30`, in the local time zone; `unit` may be `seconds`.

    With the zone's name (`18:30 CET`) where its offset is not the one of this moment, as beyond a change of
    summer time, and where the process has another zone than the machine.
    """
    try:
        here = at.astimezone()
    except (OverflowError, ValueError):  # at the ends of the calendar
        here = at.astimezone(UTC)
    text = here.replace(tzinfo=None).isoformat(sep=" ", timespec=unit)
    return f"{text} {here.tzname()}" if _needs_zone(here) else text


def from_json(text: str | None, unit: str = "minutes") -> str:
    """An instant of the JSON; empty for null."""
    return "" if text is None else local(datetime.fromisoformat(text), unit)


def localised(text: str) -> str:
    """A message of the daemon, which cannot know the reader's zone and says `2026-01-31 14:32 UTC`."""

    def one(found: re.Match[str]) -> str:
        try:
            at = datetime.fromisoformat(f"{found[1]}T{found[2]}+00:00")
        except ValueError:
            return found[0]
        return local(at, "seconds" if found[2].count(":") == 2 else "minutes")

    return re.sub(_INSTANT, one, text) if " UTC" in text else text


def _needs_zone(here: datetime) -> bool:
    if here.utcoffset() != datetime.now(UTC).astimezone().utcoffset():
        return True
    return "TZ" in os.environ and here.utcoffset() != _on_machine(here)


def _on_machine(at: datetime) -> timedelta | None:
    zone = _machine_zone(LOCALTIME)
    return timedelta(0) if zone is None else at.astimezone(zone).utcoffset()


@cache
def _machine_zone(path: Path) -> tzinfo | None:
    """None is UTC, which a machine has that says nothing."""
    from zoneinfo import ZoneInfo

    try:
        with path.open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return None
