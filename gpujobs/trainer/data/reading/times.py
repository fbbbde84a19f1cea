"""Times as people write them: ISO 8601, numbers, or days, months and years in an order that is found or given."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gpujobs.trainer.data.arrays import Integers, Times
from gpujobs.trainer.data.reading import cells as numeric
from gpujobs.trainer.data.reading import date_formats, signs
from gpujobs.trainer.data.reading.cells import Writing
from gpujobs.trainer.data.reading.date_formats import NEARLY_ALL

ISO = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?)?"
ZONE = r"(Z|[+-]\d{2}(:?\d{2})?)$"
NUMBER = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"

NUMBER_PART = r"\s*\d{1,2}"
PARTS = {"Y": r"\s*\d{4}", "j": r"\s*\d{1,3}", "b": r"\w+", "B": r"\w+", "p": r"\w+", "z": ".*"}
LATE = {"d": r"\s*(?:29|30|31)", "j": r"\s*366", "S": r"\s*6\d", "z": r"\s*[+-](?:2[4-9]|[3-9]\d).*"}
"""What may be beyond the end of its month, year, minute or day. Blanks stand before any number."""

ANY_ZONE = r"\s*(?:Z|[+-]\d{2}(?::?\d{2})?)"
FIRST_YEAR = np.datetime64("1000-01-01")
"""What %Y makes of fewer than four digits is before it."""

PLAIN = Writing()
FINEST = ("s", "us", "ns")
NANOSECONDS = np.dtype("datetime64[ns]")
FIRST_OF_NS, LAST_OF_NS = np.datetime64("1677-09-22"), np.datetime64("2262-04-11")
"""What lies beyond cannot be counted in nanoseconds of 64 bits."""

SUFFICIENT = 20_000
"""So many times of the beginning of a file are looked at."""


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """`kind`: iso, number, or written, by `formats` of strptime. `unit`: of datetime64, the coarsest that holds what
    was looked at of ISO. `has_zone`: whether the zone is written, which makes UTC of a time. `writing`: of numbers.
    `is_told`: whether other files have shown in which order days and months are."""

    kind: str
    formats: tuple[str, ...] = ()
    unit: str = "s"
    has_zone: bool = False
    writing: Writing = PLAIN
    is_told: bool = False

    def __str__(self) -> str:
        return {"iso": "ISO 8601", "number": "numbers"}.get(self.kind, " or ".join(self.formats))

    @property
    def said(self) -> str:
        why = " (days and months in the order that other files of this job show)" if self.is_told else ""
        return f"times as {self}{why}"

    @property
    def date_order(self) -> str | None:
        """None where it shows no order."""
        return date_formats.order_of(self.formats[0]) if self.formats else None

    @property
    def arrow(self) -> pa.DataType:
        return pa.timestamp(self.unit, "UTC" if self.has_zone else None)


def look(
    place: str,
    cells: Sequence[str],
    declared: Sequence[str],
    writing: Writing = PLAIN,
    *,
    date_order: str | None = None,
) -> TimeFormat:
    """The format of the times at the beginning of a file, whose numbers are written so: that of nearly all of them.
    `date_order`: what other files have shown. Raises EitherOrder where days and months could be either."""
    texts = pa.array([cell.strip() for cell in cells[:SUFFICIENT]], pa.string())
    if declared:
        return _by(tuple(declared))
    if (found_writing := _writing(texts, writing)) is not None:
        return TimeFormat("number", writing=found_writing)
    return (
        _iso_format(texts, 1)
        or _written(place, texts, 1, date_order)
        or _iso_format(texts, NEARLY_ALL)
        or _written(place, texts, NEARLY_ALL, date_order)
        or _of_most(texts, writing)
    )


def is_iso(cell: str, *, has_zone: bool) -> bool:
    return re.match(ISO + (ZONE if has_zone else "$"), cell) is not None


def _iso_format(texts: pa.Array, share: float) -> TimeFormat | None:
    for has_zone in (False, True):
        fitting = texts.filter(pc.match_substring_regex(texts, ISO + (ZONE if has_zone else "$")))
        if len(fitting) >= share * len(texts):
            return TimeFormat("iso", unit=_unit(fitting.to_pylist()), has_zone=has_zone)
    return None


def _written(place: str, texts: pa.Array, share: float, date_order: str | None) -> TimeFormat | None:
    found = date_formats.find(place, texts.to_pylist(), share, date_order=date_order)
    return None if found is None else _by((found,))


def _of_most(texts: pa.Array, writing: Writing) -> TimeFormat:
    """Each that is not so is named when it is read."""
    if 2 * len(_numbers(texts, writing)[1]) < len(texts):
        return TimeFormat("number", writing=writing)
    return TimeFormat("iso", unit=_unit(texts.to_pylist()))


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
    return PLAIN if plain and not pc.all(signs.is_grouped(texts)).as_py() else None


def _all(texts: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(texts, pattern)).as_py())


def _unit(cells: Sequence[str]) -> str:
    """The coarsest that holds all."""
    if not pc.any(pc.match_substring_regex(pa.array(cells, pa.string()), r":\d{2}\.\d")).as_py():
        return "s"
    digits = max((len(found[1]) for cell in cells if (found := re.search(r":\d{2}\.(\d+)", cell))), default=0)
    return "s" if digits == 0 else "us" if digits <= 6 else "ns"


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


def _pattern(form: str, parts: Mapping[str, str] = {}) -> str:
    """The regular expression of a format of strptime, without groups that are kept. `parts`: other ones of some
    directives."""
    parts = {**PARTS, **parts}
    return "".join(
        parts.get(piece, NUMBER_PART) if number % 2 else re.escape(piece).replace(r"\ ", r"\s*")
        for number, piece in enumerate(re.split(r"%(.)", form))
    )


def _refuse_rolled(text: pa.Array, form: str, found: NDArray[np.datetime64]) -> None:
    """strptime makes the 2nd of March of the 30th of February, a day of another year of one that the year lacks, and
    the next minute of second 60: in place, no time of it. Of what is doubtful Python's has the last word."""
    days, years = _late(text, form, "d", found), _late(text, form, "j", found)
    doubtful = [
        days[_ordinal(_local(text.take(days), form, found[days]), "M") <= 3],
        years[_ordinal(_local(text.take(years), form, found[years]), "Y") != 366],
        _late(text, form, "S", found),
        _late(text, form, "z", found),
        np.flatnonzero(found < FIRST_YEAR) if "%Y" in form else days[:0],
    ]
    for index in np.unique(np.concatenate(doubtful)):
        if _python(text[int(index)].as_py(), form) != found[index]:
            found[index] = np.datetime64("NaT")


def _python(cell: str, form: str) -> np.datetime64:
    """What datetime makes of it, in UTC."""
    try:
        moment = datetime.datetime.strptime(cell, form)
        return np.datetime64(
            moment if moment.tzinfo is None else moment.astimezone(datetime.UTC).replace(tzinfo=None)
        )
    except (ValueError, OverflowError):
        return np.datetime64("NaT")


def _late(text: pa.Array, form: str, part: str, found: NDArray[np.datetime64]) -> Integers:
    """The places in which a part of a time may be beyond its end."""
    if f"%{part}" not in form:
        return np.zeros(0, np.int64)
    late = pc.match_substring_regex(text, f"^{_pattern(form, {part: LATE[part]})}$")
    return np.flatnonzero(pc.fill_null(late, False).to_numpy(zero_copy_only=False) & ~np.isnat(found))


def _ordinal(times: NDArray[np.datetime64], unit: str) -> Integers:
    """The number of the day in its month, or year."""
    days = times.astype("datetime64[D]")
    return (days - days.astype(f"datetime64[{unit}]").astype("datetime64[D]")).astype(np.int64) + 1


def _local(text: pa.Array, form: str, found: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """The times without what their zone has moved them by."""
    if "%z" not in form:
        return found
    before, _, after = form.partition("%z")
    zone = rf"^(?P<before>{_pattern(before)}){ANY_ZONE}(?P<after>{_pattern(after)})$"
    parts = pc.extract_regex(text, zone)
    start, end = pc.struct_field(parts, "before"), pc.struct_field(parts, "after")
    bare = pc.binary_join_element_wise(start, end, "")
    local = pc.strptime(bare, format=before + after, unit="s", error_is_null=True)
    return local.to_numpy(zero_copy_only=False)


def joined(columns: Sequence[pa.Array]) -> pa.Array:
    """The cells of a column of times, or of one of dates and one of times of day, as text; of two, null where one of
    them is empty: a day without its time of day is no midnight."""
    trimmed = [pc.utf8_trim_whitespace(column) for column in columns]
    if len(trimmed) == 1:
        return trimmed[0]
    filled = [pc.if_else(pc.equal(column, ""), None, column) for column in trimmed]
    return pc.binary_join_element_wise(*filled, " ")
