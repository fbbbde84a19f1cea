"""What is wrong with a cell that is written as a time and is none, in words."""

from __future__ import annotations

import calendar
import datetime
import re
from collections.abc import Sequence

ISO = ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S")
PARTS = {"Y": r"\d{4}", "y": r"\d{2}", "m": r"\d{1,2}", "d": r"\d{1,2}", "H": r"\d{1,2}", "I": r"\d{1,2}",
         "M": r"\d{2}", "S": r"\d{2}", "j": r"\d{1,3}"}  # fmt: skip
REST = r"(\.\d+)?\s*(Z|[+-]\d{2}(:?\d{2})?)?"
WEEK = re.compile(r"(?P<year>\d{4})-?W(?P<week>\d{2})(-?(?P<day>[1-7]))?")


def why(cell: str, formats: Sequence[str] = ISO) -> str | None:
    """`formats`: of strptime. None where it is not written as one of them."""
    cell = cell.strip()
    if week := WEEK.fullmatch(cell):
        return _of_week(int(week["year"]), int(week["week"]), int(week["day"] or 1))
    for form in formats:
        if found := re.fullmatch(_pattern(form) + REST, cell):
            return _of_parts({name: int(value) for name, value in found.groupdict().items()})
    return None


def _pattern(form: str) -> str:
    pieces, seen = [], set[str]()
    for number, piece in enumerate(re.split(r"%(.)", form.replace("%T", "%H:%M:%S").removesuffix(".%f"))):
        known = number % 2 and piece in PARTS and piece not in seen
        seen.add(piece if number % 2 else "")
        pieces.append(f"(?P<{piece}>{PARTS[piece]})" if known else r"\S+" if number % 2 else re.escape(piece))
    return "".join(pieces)


def _of_week(year: int, week: int, day: int) -> str:
    try:
        found = datetime.date.fromisocalendar(year, week, day)
    except ValueError:
        return f"there is no week {week} in {year}"
    return f"weeks cannot be read: write the day, {found}"


def _of_parts(given: dict[str, int]) -> str | None:
    month, day, year = given.get("m", 1), given.get("d", 1), given.get("Y", 2000 + given.get("y", 0))
    if not 1 <= month <= 12:
        return f"there is no month {month}"
    if not 1 <= year <= 9999:
        return f"there is no year {year}"
    days_of_year = 365 + calendar.isleap(year)
    if not 1 <= given.get("j", 1) <= days_of_year:
        return f"{year} has {days_of_year} days" if given["j"] else "there is no day 0"
    days = calendar.monthrange(year, month)[1]
    if not 1 <= day <= days:
        return f"{calendar.month_name[month]} {year} has {days} days" if day else "there is no day 0"
    if given.get("H", 0) == 24:
        return "there is no hour 24: midnight is 00:00 of the next day"
    most = {"hour": ("H", 23), "minute": ("M", 59), "second": ("S", 59)}
    beyond = [
        f"there is no {name} {given[key]}" for name, (key, last) in most.items() if given.get(key, 0) > last
    ]
    return beyond[0] if beyond else None
