"""Times as people write them: ISO 8601, numbers, or days, months and years in an order that is found or given."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gpujobs.trainer.data.arrays import Integers, Times
from gpujobs.trainer.data.reading import cells as numeric
from gpujobs.trainer.data.reading.cells import Writing
from gpujobs.trainer.failures import DataError

ISO = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?)?"
ZONE = r"(Z|[+-]\d{2}(:?\d{2})?)$"
NUMBER = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"
GROUPED = r"^[+-]?[1-9]\d{0,2}\.\d{3}$|^[+-]?\d+$"
"""With a point that may stand between thousands, or none."""

LATE = "(?:29|30|31)"
PLAIN = Writing()
FINEST = ("s", "us", "ns")
NANOSECONDS = np.dtype("datetime64[ns]")
FIRST_OF_NS, LAST_OF_NS = np.datetime64("1677-09-22"), np.datetime64("2262-04-11")
"""What lies beyond cannot be counted in nanoseconds of 64 bits."""

CLOCK = re.compile(r"(?:[T ]+(\d{1,2}:\d{2})(:\d{2})?([.,]\d+)?\s*([AaPp][Mm])?)?$")
NAMED_MONTH = re.compile(r"^\d{1,2}([-/. ])([A-Za-z]+)\1(\d{4}|\d{2})")
DATE = re.compile(r"^(\d{1,4})([-/.])(\d{1,2})(?:\2(\d{1,4}))?")
SUFFICIENT = 20_000
"""So many times of the beginning of a file are looked at."""


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """`kind`: iso, number, or written, by `formats` of strptime. `unit`: of datetime64, the coarsest that holds what
    was looked at of ISO. `has_zone`: whether the zone is written, which makes UTC of a time. `writing`: of numbers."""

    kind: str
    formats: tuple[str, ...] = ()
    unit: str = "s"
    has_zone: bool = False
    writing: Writing = PLAIN

    def __str__(self) -> str:
        return {"iso": "ISO 8601", "number": "numbers"}.get(self.kind, " or ".join(self.formats))

    @property
    def arrow(self) -> pa.DataType:
        return pa.timestamp(self.unit, "UTC" if self.has_zone else None)


def look(place: str, cells: Sequence[str], declared: Sequence[str], writing: Writing = PLAIN) -> TimeFormat:
    """The format of the times at the beginning of a file, whose numbers are written so. Raises DataError where days and
    months could be either."""
    texts = pa.array([cell.strip() for cell in cells[:SUFFICIENT]])
    if declared:
        return _by(tuple(declared))
    if (found_writing := _writing(texts, writing)) is not None:
        return TimeFormat("number", writing=found_writing)
    if _all(texts, ISO + "$"):
        return TimeFormat("iso", unit=_unit(cells))
    if _all(texts, ISO + ZONE):
        return TimeFormat("iso", unit=_unit(cells), has_zone=True)
    found = _written(place, texts.to_pylist())
    if found is None and 2 * len(_numbers(texts, writing)[1]) < len(texts):
        return TimeFormat("number", writing=writing)
    if found is None:
        return TimeFormat("iso", unit=_unit(cells))  # each that is not is named when it is read
    return _by((found,))


def _by(formats: tuple[str, ...]) -> TimeFormat:
    return TimeFormat("written", formats, has_zone=any("%z" in one for one in formats))


def _writing(texts: pa.Array, writing: Writing) -> Writing | None:
    """By which all are numbers: the file's, or, where the file has decimal commas, with points that stand between no
    thousands; None where some are none."""
    if not len(texts):
        return writing
    plain = _all(texts, NUMBER)
    if plain and writing.is_plain and writing.decimal == ".":
        return writing
    if not len(_numbers(texts, writing)[1]):
        return writing
    return PLAIN if plain and not _all(texts, GROUPED) else None


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
    seconds = (f"%S{found[3][0]}%f" if found[3] else "%S") if found[2] else ""
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
        return _numbers(text, form.writing)
    found = _iso(text, form) if form.kind == "iso" else _by_formats(text, form)
    wrong = np.flatnonzero(np.isnat(found))
    return found, wrong


def _numbers(text: pa.Array, writing: Writing) -> tuple[NDArray[Any], Integers]:
    """Whole ones, of which none is too large, as int64."""
    if writing.is_plain and writing.decimal == ".":
        is_number = pc.fill_null(pc.match_substring_regex(text, NUMBER), False)
        wrong = np.flatnonzero(~is_number.to_numpy(zero_copy_only=False))
        found = None
    else:
        found = numeric.numbers(text, writing).values
        wrong = np.flatnonzero(~np.isfinite(found))
    if len(wrong) == 0:
        try:
            return pc.cast(_without_thousands(text, writing), pa.int64()).to_numpy(
                zero_copy_only=False
            ), wrong
        except pa.ArrowInvalid:
            pass
    if found is None:
        plain = pc.if_else(is_number, text, None) if len(wrong) else text
        found = pc.cast(plain, pa.float64()).to_numpy(zero_copy_only=False)
    return found, wrong


def _without_thousands(text: pa.Array, writing: Writing) -> pa.Array:
    if writing.thousands is None:
        return text
    signs = numeric.BLANKS if writing.thousands in numeric.BLANKS else (writing.thousands,)
    for sign in signs:
        text = pc.replace_substring(text, sign, "")
    return text


def _iso(text: pa.Array, form: TimeFormat) -> NDArray[np.datetime64]:
    valid = pc.match_substring_regex(text, ISO + (ZONE if form.has_zone else "$"))
    kept = pc.if_else(valid, text, None)
    for unit in FINEST[FINEST.index(form.unit) :]:  # later rows may have more digits than the beginning
        try:
            return pc.cast(kept, replace(form, unit=unit).arrow).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            continue
    # a day that is none: one by one
    finest = replace(form, unit=max(_unit(kept.drop_null().to_pylist()), form.unit, key=FINEST.index))
    found = pa.array([_one(cell, finest) for cell in kept.to_pylist()], finest.arrow)
    return found.to_numpy(zero_copy_only=False)


def _one(cell: str | None, form: TimeFormat) -> int | None:
    """Units since 1970; None where there is no such day."""
    try:
        return None if cell is None else pc.cast(pa.scalar(cell), form.arrow).value
    except pa.ArrowInvalid:
        return None


def _by_formats(text: pa.Array, form: TimeFormat) -> NDArray[np.datetime64]:
    found: Any = None
    for one in form.formats:
        times = _strptime(text, one.replace("%T", "%H:%M:%S"))
        if found is not None:
            unit = np.promote_types(found.dtype, times.dtype)
            times = np.where(np.isnat(found), _as(unit, times), _as(unit, found))
        found = times
    return found


def _as(unit: np.dtype[Any], times: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """None where nanoseconds cannot say it: NumPy would take another year for it."""
    if unit == NANOSECONDS != times.dtype:
        times = np.where(is_beyond_nanoseconds(times), np.datetime64("NaT"), times)
    return times.astype(unit)


def is_beyond_nanoseconds(times: NDArray[np.datetime64]) -> NDArray[np.bool_]:
    return (times < FIRST_OF_NS) | (times > LAST_OF_NS)


def _strptime(text: pa.Array, form: str) -> NDArray[np.datetime64]:
    """datetime64[s], and where the format has fractions of them [us], or [ns] where some have so many digits."""
    fraction = None
    if "%f" in form:
        text, fraction = _without_fraction(text, form)
        form = form.replace("%f", "", 1)
    times = pc.strptime(text, format=form, unit="s", error_is_null=True)
    found = times.to_numpy(zero_copy_only=False).astype("datetime64[s]")
    _refuse_rolled(text, form, found)
    return found if fraction is None else _with_fraction(found, fraction)


def _without_fraction(text: pa.Array, form: str) -> tuple[pa.Array, NDArray[np.int64]]:
    """What is left where the digits of %f are cut out, null where there are none, and their nanoseconds."""
    before, _, after = form.partition("%f")
    pattern = rf"^(?P<before>{_pattern(before)})(?P<digits>\d+)(?P<after>{_pattern(after)})$"
    parts = pc.extract_regex(text, pattern)
    start, digits, end = (pc.struct_field(parts, name) for name in ("before", "digits", "after"))
    nine = pc.utf8_slice_codeunits(pc.ascii_rpad(digits, 9, "0"), 0, 9)
    nanoseconds = pc.fill_null(pc.cast(nine, pa.int64()), 0).to_numpy(zero_copy_only=False)
    return (pc.binary_join_element_wise(start, end, "") if after else start), nanoseconds


def _with_fraction(found: NDArray[np.datetime64], nanoseconds: NDArray[np.int64]) -> NDArray[np.datetime64]:
    if not (nanoseconds % 1000).any():
        return found.astype("datetime64[us]") + (nanoseconds // 1000).astype("timedelta64[us]")
    return _as(NANOSECONDS, found) + nanoseconds.astype("timedelta64[ns]")


def _pattern(form: str, day: str = r"\d{1,2}") -> str:
    """The regular expression of a format of strptime, without groups that are kept."""
    parts = {"d": day, "Y": r"\d{4}", "j": r"\d{1,3}", "b": r"\w+", "B": r"\w+", "p": r"\w+", "z": ".*"}
    return "".join(
        parts.get(piece, r"\d{1,2}") if number % 2 else re.escape(piece).replace(r"\ ", r"\s*")
        for number, piece in enumerate(re.split(r"%(.)", form))
    )


def _refuse_rolled(text: pa.Array, form: str, found: NDArray[np.datetime64]) -> None:
    """strptime makes the 2nd of March of the 30th of February: in place, no time of it."""
    if "%d" not in form:
        return
    days = (found.astype("datetime64[D]") - found.astype("datetime64[M]")).astype(np.int64) + 1
    late = pc.fill_null(pc.match_substring_regex(text, f"^{_pattern(form, LATE)}"), False)
    for index in np.flatnonzero(late.to_numpy(zero_copy_only=False) & (days <= 3) & ~np.isnat(found)):
        try:
            datetime.datetime.strptime(text[int(index)].as_py(), form)
        except ValueError:
            found[index] = np.datetime64("NaT")


def joined(columns: Sequence[pa.Array]) -> pa.Array:
    """The cells of a column of times, or of one of dates and one of times of day, as text; of two, null where one of
    them is empty: a day without its time of day is no midnight."""
    trimmed = [pc.utf8_trim_whitespace(column) for column in columns]
    if len(trimmed) == 1:
        return trimmed[0]
    filled = [pc.if_else(pc.equal(column, ""), None, column) for column in trimmed]
    return pc.binary_join_element_wise(*filled, " ")
