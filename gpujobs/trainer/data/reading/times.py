"""Times as people write them: ISO 8601, numbers, or days, months and years in an order that is found or given."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gpujobs.trainer.data.arrays import Integers, Times
from gpujobs.trainer.failures import DataError

ISO = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?)?"
ZONE = r"(Z|[+-]\d{2}(:?\d{2})?)$"
NUMBER = r"^[+-]?\d+(\.\d*)?([eE][+-]?\d+)?$"
CLOCK = re.compile(r"(?:[T ]+(\d{1,2}:\d{2})(:\d{2})?(\.\d+)?\s*([AaPp][Mm])?)?$")
NAMED_MONTH = re.compile(r"^\d{1,2}([-/. ])([A-Za-z]+)\1(\d{4}|\d{2})")
DATE = re.compile(r"^(\d{1,4})([-/.])(\d{1,2})(?:\2(\d{1,4}))?")
SUFFICIENT = 20_000
"""So many times of the beginning of a file are looked at."""


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """`kind`: iso, number, or written, by `formats` of strptime. `unit`: of datetime64. `has_zone`: whether the zone
    is written, which makes UTC of a time."""

    kind: str
    formats: tuple[str, ...] = ()
    unit: str = "s"
    has_zone: bool = False

    def __str__(self) -> str:
        return {"iso": "ISO 8601", "number": "numbers"}.get(self.kind, " or ".join(self.formats))

    @property
    def arrow(self) -> pa.DataType:
        return pa.timestamp(self.unit, "UTC" if self.has_zone else None)


def look(place: str, cells: Sequence[str], declared: Sequence[str]) -> TimeFormat:
    """The format of the times at the beginning of a file. Raises DataError where days and months could be either."""
    texts = pa.array([cell.strip() for cell in cells[:SUFFICIENT]])
    if declared:
        unit = _unit(cells) if any("%f" in one for one in declared) else "s"
        return TimeFormat("written", tuple(declared), unit, any("%z" in one for one in declared))
    if not len(texts) or _all(texts, NUMBER):
        return TimeFormat("number")
    if _all(texts, ISO + "$"):
        return TimeFormat("iso", unit=_unit(cells))
    if _all(texts, ISO + ZONE):
        return TimeFormat("iso", unit=_unit(cells), has_zone=True)
    found = _written(place, texts.to_pylist())
    if found is None:
        return TimeFormat("iso", unit=_unit(cells))  # each that is not is named when it is read
    return TimeFormat("written", (found,), _unit(cells) if found.endswith("%f") else "s")


def _all(texts: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(texts, pattern)).as_py())


def _unit(cells: Sequence[str]) -> str:
    """The coarsest that holds all."""
    if not pc.any(pc.match_substring_regex(pa.array(cells, pa.string()), r":\d{2}\.\d")).as_py():
        return "s"
    digits = max((len(found[1]) for cell in cells if (found := re.search(r":\d{2}\.(\d+)", cell))), default=0)
    return "s" if digits == 0 else "us" if digits <= 6 else "ns"


def _written(place: str, texts: Sequence[str]) -> str | None:
    """A format of strptime for all of them; None where there is none that is known."""
    days, clocks = [], set()
    for text in texts:
        date = NAMED_MONTH.match(text) or DATE.match(text)
        clock = CLOCK.match(text, date.end()) if date else None
        if date is None or clock is None:
            return None
        days.append(date)
        clocks.add(_clock(clock))
    order = _order(place, days)
    if order is None or len(clocks) > 1:
        return None
    return order + clocks.pop()


def _clock(found: re.Match[str]) -> str:
    if found[1] is None:
        return ""
    between = "T" if found[0].startswith("T") else " "
    hours = "%I" if found[4] else "%H"
    seconds = ("%S.%f" if found[3] else "%S") if found[2] else ""
    return f"{between}{hours}:%M{':' if seconds else ''}{seconds}{' %p' if found[4] else ''}"


def _order(place: str, days: Sequence[re.Match[str]]) -> str | None:
    if all(day.re is NAMED_MONTH for day in days):
        sign, name, year = days[0][1], days[0][2], days[0][3]
        month = "%b" if len(name) == 3 else "%B"
        return f"%d{sign}{month}{sign}{'%Y' if len(year) == 4 else '%y'}"
    if any(day.re is NAMED_MONTH for day in days):
        return None
    signs = {day[2] for day in days}
    if len(signs) > 1:
        return None
    sign, years = signs.pop(), {_year_place(day) for day in days}
    if len(years) > 1:
        return None
    where = years.pop()
    if where == "first":
        return f"%Y{sign}%m" if days[0][4] is None else f"%Y{sign}%m{sign}%d"
    if where == "last of two":
        return f"%m{sign}%Y"
    if where is None:
        return None
    return _day_or_month(place, days, sign, "%Y" if where == "last" else "%y")


def _year_place(day: re.Match[str]) -> str | None:
    if len(day[1]) == 4:
        return "first"
    if day[4] is None:
        return None
    if len(day[4]) == 4:
        return "last"
    return "short" if len(day[4]) == 2 and day[2] != "-" else None


def _day_or_month(place: str, days: Sequence[re.Match[str]], sign: str, year: str) -> str | None:
    """Points stand behind days first, all over the world; of others some day must be beyond 12. What is no date in
    either order tells nothing."""
    days = [day for day in days if min(int(day[1]), int(day[3])) <= 12]
    first = max((int(day[1]) for day in days), default=0)
    second = max((int(day[3]) for day in days), default=0)
    day_first, month_first = f"%d{sign}%m{sign}{year}", f"%m{sign}%d{sign}{year}"
    if not days or (first > 12 and second > 12):
        return None
    if first > 12 or second > 12:
        return day_first if first > 12 else month_first
    if sign == ".":
        return day_first
    example = days[-1][0]
    raise DataError(
        f"{place}: holds times such as {example!r}, in which the day or the month may stand first; say which: "
        f'data.csv: {{dates: "{day_first}"}} or {{dates: "{month_first}"}}, with the time of the day where there is one'
    )


OTHERS = (
    "%b %Y", "%B %Y", "%b-%Y", "%b-%y", "%b %d, %Y", "%B %d, %Y", "%d%b%Y", "%Y-%j", "%Y%m%dT%H%M%S",
    "%Y%m%d %H:%M", "%Y%m%d %H:%M:%S", "%d%b%Y:%H:%M:%S", "%b %d %Y %H:%M:%S", "%H:%M %d/%m/%Y", "%H:%M %d.%m.%Y",
    "%Y-%m-%d %H:%M:%S UTC", "%Y-%m-%d %H:%M UTC",
)  # fmt: skip
"""What is not found by looking, and proposed where it fits."""


def proposed(cell: str) -> str | None:
    """A format of strptime that reads a time."""
    for one in OTHERS:
        try:
            datetime.datetime.strptime(cell.strip(), one)
        except ValueError:
            continue
        return one
    return None


def parse(cells: pa.Array, form: TimeFormat) -> tuple[Times, Integers]:
    """datetime64, int64 or float64 of an array of texts, and the indices of those that are no such time."""
    text = pc.utf8_trim_whitespace(cells)
    if form.kind == "number":
        return _numbers(text)
    found = _iso(text, form) if form.kind == "iso" else _by_formats(text, form)
    wrong = np.flatnonzero(np.isnat(found))
    return found, wrong


def _numbers(text: pa.Array) -> tuple[NDArray[Any], Integers]:
    is_number = pc.fill_null(pc.match_substring_regex(text, NUMBER), False)
    plain = pc.if_else(is_number, text, None)
    wrong = np.flatnonzero(~is_number.to_numpy(zero_copy_only=False))
    if len(wrong) == 0:
        try:
            return pc.cast(plain, pa.int64()).to_numpy(zero_copy_only=False), wrong
        except pa.ArrowInvalid:
            pass
    return pc.cast(plain, pa.float64()).to_numpy(zero_copy_only=False), wrong


def _iso(text: pa.Array, form: TimeFormat) -> NDArray[np.datetime64]:
    valid = pc.match_substring_regex(text, ISO + (ZONE if form.has_zone else "$"))
    kept = pc.if_else(valid, text, None)
    try:
        found = pc.cast(kept, form.arrow)
    except pa.ArrowInvalid:  # a day that is none, or more digits than the beginning has: one by one
        found = pa.array([_one(cell, form) for cell in kept.to_pylist()], form.arrow)
    return found.to_numpy(zero_copy_only=False)


def _one(cell: str | None, form: TimeFormat) -> Any:
    try:
        return None if cell is None else pc.cast(pa.scalar(cell), form.arrow).as_py()
    except pa.ArrowInvalid:
        return None


def _by_formats(text: pa.Array, form: TimeFormat) -> NDArray[np.datetime64]:
    found: Any = None
    for one in form.formats:
        times = _strptime(text, one.replace("%T", "%H:%M:%S"), form.unit)
        found = times if found is None else np.where(np.isnat(found), times, found)
    return found


def _strptime(text: pa.Array, form: str, unit: str) -> NDArray[np.datetime64]:
    fraction = None
    if form.endswith(".%f"):
        fraction = pc.replace_substring_regex(text, r"^.*\.(\d+)$", r"0.\1")
        text, form = pc.replace_substring_regex(text, r"\.\d+$", ""), form.removesuffix(".%f")
        fraction = pc.if_else(pc.match_substring_regex(fraction, r"^0\.\d+$"), fraction, None)
    times = pc.strptime(text, format=form, unit=unit, error_is_null=True)
    found = times.to_numpy(zero_copy_only=False).astype(f"datetime64[{unit}]")
    _refuse_rolled(text, form, found)
    if fraction is not None:
        nanoseconds = np.round(pc.cast(fraction, pa.float64()).to_numpy(zero_copy_only=False) * 1e9)
        found = found + nanoseconds.astype("timedelta64[ns]").astype(f"timedelta64[{unit}]")
    return found


def _late(form: str) -> str:
    """The regular expression of a time after the 28th of a month."""
    parts = {"d": "(29|30|31)", "Y": r"\d{4}", "b": r"\w+", "B": r"\w+", "p": r"\w+", "z": ".*"}
    pieces = re.split(r"%(.)", form)
    return "^" + "".join(
        parts.get(piece, r"\d{1,2}") if number % 2 else re.escape(piece).replace(r"\ ", r"\s+")
        for number, piece in enumerate(pieces)
    )


def _refuse_rolled(text: pa.Array, form: str, found: NDArray[np.datetime64]) -> None:
    """strptime makes the 2nd of March of the 30th of February: in place, no time of it."""
    if "%d" not in form:
        return
    days = (found.astype("datetime64[D]") - found.astype("datetime64[M]")).astype(np.int64) + 1
    late = pc.fill_null(pc.match_substring_regex(text, _late(form)), False).to_numpy(zero_copy_only=False)
    for index in np.flatnonzero(late & (days <= 3) & ~np.isnat(found)):
        try:
            datetime.datetime.strptime(text[int(index)].as_py(), form)
        except ValueError:
            found[index] = np.datetime64("NaT")


def joined(columns: Sequence[pa.Array]) -> pa.Array:
    """The cells of a column of times, or of one of dates and one of times of day, as text."""
    trimmed = [pc.utf8_trim_whitespace(column) for column in columns]
    return trimmed[0] if len(trimmed) == 1 else pc.binary_join_element_wise(*trimmed, " ")
