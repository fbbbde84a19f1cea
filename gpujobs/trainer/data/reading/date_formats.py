"""Formats of strptime for days, months and years in another order than ISO 8601 has, found by looking."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Sequence

from gpujobs.trainer.failures import DataError

NEARLY_ALL = 0.9
"""So many cells say how a column is written; each of the others is named when it is read."""

CLOCK = re.compile(
    r"(?:[T ]+(\d{1,2}:\d{2})(:\d{2})?([.,]\d+)?(?:\s*([AaPp][Mm]))?(\s*(?:Z|[+-]\d{2}(?::?\d{2})?))?)?$"
)
NAMED_MONTH = re.compile(r"^\d{1,2}([-/. ])([A-Za-z]+)\1(\d{4}|\d{2})")
DATE = re.compile(r"^(\d{1,4})([-/.])(\d{1,4})(?:\2(\d{1,4}))?")
EITHER, NAME = "%1%2", "%N"
"""Stand for the day and the month in either order, and for the name of a month."""

OTHERS = (
    "%b %Y", "%B %Y", "%b-%Y", "%b-%y", "%b %d, %Y", "%B %d, %Y", "%d%b%Y", "%Y-%j", "%Y%m%dT%H%M%S",
    "%Y%m%d %H:%M", "%Y%m%d %H:%M:%S", "%d%b%Y:%H:%M:%S", "%b %d %Y %H:%M:%S", "%H:%M %d/%m/%Y", "%H:%M %d.%m.%Y",
    "%Y-%m-%d %H:%M:%S UTC", "%Y-%m-%d %H:%M UTC",
)  # fmt: skip
"""What is not found by looking, and proposed where it fits."""


class EitherOrder(DataError):
    """The day or the month may stand first."""


def find(
    place: str, texts: Sequence[str], share: float = NEARLY_ALL, *, date_order: str | None = None
) -> str | None:
    """The format that at least this share of them has; None where there is none that is known. `date_order`: what
    other files have shown, such as %d/%m. Raises EitherOrder."""
    shapes = [_shape(text) for text in texts]
    ((shape, count),) = Counter(filter(None, shapes)).most_common(1) or [("", 0)]
    if not count or count < share * len(texts):
        return None
    fitting = [text for text, one in zip(texts, shapes, strict=True) if one == shape]
    if NAME in shape:
        named = NAMED_MONTH.match(fitting[0])
        return shape.replace(NAME, "%b" if named and len(named[2]) == 3 else "%B")
    return _ordered(place, shape, fitting, date_order) if EITHER in shape else shape


def _shape(text: str) -> str | None:
    """Its format, but for the order of day and month."""
    if named := NAMED_MONTH.match(text):
        date, shape = named, f"%d{named[1]}{NAME}{named[1]}{_year(named[3])}"
    elif numbered := DATE.match(text):
        date, shape = numbered, _numbered(numbered)
    else:
        return None
    clock = CLOCK.match(text, date.end())
    return shape + _clock(clock) if shape and clock else None


def _numbered(date: re.Match[str]) -> str:
    """Empty where it is none."""
    one, sign, two, three = date.groups()
    if three is None:
        if sign == ".":  # a number
            return ""
        if len(one) <= 2 and len(two) == 4:
            return f"%m{sign}%Y"
        return f"%Y{sign}%m" if len(one) == 4 and len(two) <= 2 else ""
    if len(two) > 2:
        return ""
    if len(one) == 4:
        return f"%Y{sign}%m{sign}%d"
    if len(one) > 2 or not (len(three) == 4 or (len(three) == 2 and sign != "-")):
        return ""
    return f"{EITHER}{sign}{_year(three)}"


def _year(digits: str) -> str:
    return "%Y" if len(digits) == 4 else "%y"


def _clock(found: re.Match[str]) -> str:
    if found[1] is None:
        return ""
    between = "T" if found[0].startswith("T") else " "
    hours = "%I" if found[4] else "%H"
    seconds = (f"%S{found[3][0]}%f" if found[3] else "%S") if found[2] else ""
    zone = (" %z" if found[5][0].isspace() else "%z") if found[5] else ""
    return f"{between}{hours}:%M{':' if seconds else ''}{seconds}{' %p' if found[4] else ''}{zone}"


def _ordered(place: str, shape: str, texts: Sequence[str], date_order: str | None) -> str | None:
    """Some day must be beyond 12; else it is as other files with that sign have shown, or, with points, the day that
    stands first, all over the world. A single cell that speaks against that is no date, and so are a few of those that
    speak against most. What is none in either order tells nothing."""
    pairs = [(int(found[1]), int(found[3])) for text in texts if (found := DATE.match(text))]
    pairs = [pair for pair in pairs if min(pair) <= 12]
    for_day, for_month = sum(one > 12 for one, _ in pairs), sum(two > 12 for _, two in pairs)
    sign = shape[len(EITHER)]
    orders = {True: f"%d{sign}%m", False: f"%m{sign}%d"}
    forms = {is_day: shape.replace(EITHER, order) for is_day, order in orders.items()}
    usual = next(
        (is_day for is_day, order in orders.items() if order == date_order), True if sign == "." else None
    )
    if not pairs:
        return None
    if usual is not None:
        against = for_month if usual else for_day
        if against == 0 or (against == 1 and len(pairs) > 1):
            return forms[usual]
    if for_day or for_month:
        is_clear = max(for_day, for_month) >= NEARLY_ALL * (for_day + for_month)
        return forms[for_day > for_month] if is_clear else None
    raise EitherOrder(
        f"{place}: holds times such as {texts[-1]!r}, in which the day or the month may stand first; say which: "
        f'data.csv: {{dates: "{forms[True]}"}} or {{dates: "{forms[False]}"}}'
    )


def order_of(form: str) -> str | None:
    """Such as %d/%m; None where it shows none: of a year that stands first, or months that have names."""
    found = re.match(r"%d[-/.]%m|%m[-/.]%d", form)
    return found[0] if found else None


def proposed(cell: str) -> str | None:
    """A format of strptime that reads a time."""
    for one in OTHERS:
        try:
            datetime.datetime.strptime(cell.strip(), one)
        except ValueError:
            continue
        return one
    return None
