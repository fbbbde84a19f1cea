"""What stands in the cells of a csv file, as numbers, truths and words; and what stands there instead."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gpujobs.trainer.data.arrays import Integers

NO_NUMBER = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "NAN", "None", "none", "n/a", "nan", "null", "NaT",
)  # fmt: skip
"""What stands for a number that is missing, as pandas has it. Of words only the empty one does."""

TRUE = ("True", "true", "TRUE", "yes", "Yes", "YES", "y", "Y", "on", "On", "ON", "t", "T")
FALSE = ("False", "false", "FALSE", "no", "No", "NO", "n", "N", "off", "Off", "OFF", "f", "F")
WITH_UNIT = re.compile(
    r"[+-]?[\d.,' ]*\d\s*([^\d\s.,+-][^\d]{0,15})|[+-]?([^\d\s.,+-][^\d]{0,5}?)\s*[+-]?[\d.,' ]*\d"
)
POWER = r"(?:[A-Za-z°µμ%]{1,5}[/*·])?(?:[cdkmnuµμ]?m|ft|in|yd|s)\^?[23](?:[/*·][A-Za-z]{1,3})?"
WITH_POWER = re.compile(rf"[+-]?[\d.,' ]*\d\s*({POWER})")
"""A number beside a unit with a digit, such as m3 or kg/m3."""

AMOUNT = r"[^\w\s.,()+-]?\s?\d[\d.,']*\s?[%€$£]?"
FORTRAN = r"[+-]?(?:(?:\d+\.?\d*|\.\d+)[dD][+-]?\d{1,3}|\d*\.\d+[+-]\d{3})"
DECORATED = (
    r"^[+-]?[^\w\s.,+?-]{0,2}\s*[+-]?\d[\d.,'\x{a0}\x{202f} ]*"
    rf"\s*([%°€$£]|°[CF]|[A-Za-z]{{1,3}}(/[A-Za-z]{{1,2}})?|{POWER})?$"
    rf"|^\(\s*{AMOUNT}\s*\)$|^{AMOUNT}-$|^{FORTRAN}$"
)
"""A number with what may stand beside it, or between its digits, or written as elsewhere."""

NOT_CLOSED = "a quote that is opened there is not closed where it should be"

BLANKS = ("\u00a0", "\u202f", " ")

PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?([iI]nf(inity)?|INF)")


@dataclass(frozen=True, slots=True)
class Writing:
    """How numbers are written. `missing`: what else stands for none. `units`: what may stand beside them."""

    decimal: str = "."
    thousands: str | None = None
    missing: tuple[str, ...] = ()
    units: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether pyarrow reads numbers as they stand."""
        return self.thousands is None and not self.units

    @property
    def no_number(self) -> list[str]:
        return [*NO_NUMBER, *self.missing]

    @property
    def missing_numbers(self) -> tuple[float, ...]:
        """Those that are numbers themselves, however they are written: -999 and -999.0 are one."""
        return _missing_numbers(self) if self.missing else ()


def without_thousands(cells: pa.Array, sign: str) -> pa.Array:
    """Where the sign stands between digits."""
    text, sign = (_with_blanks(cells), " ") if sign in BLANKS else (cells, sign)
    return pc.replace_substring_regex(text, rf"(\d){re.escape(sign)}(\d{{3}})", r"\1\2")


def _with_blanks(text: pa.Array) -> pa.Array:
    """With ordinary ones in the place of those that do not break a line."""
    return pc.replace_substring(pc.replace_substring(text, "\u00a0", " "), "\u202f", " ")


def pattern(writing: Writing) -> str:
    """The regular expression of a number."""
    point = re.escape(writing.decimal)
    whole = r"\d+"
    if writing.thousands:
        whole = rf"(\d+|\d{{1,3}}({re.escape(writing.thousands)}\d{{3}})+)"
    return rf"^[+-]?({whole}({point}\d*)?|{point}\d+)([eE][+-]?\d+)?$|^[+-]?([iI]nf(inity)?|INF)$"


class Converted(NamedTuple):
    """float64 of an array of texts, NaN where none is, and the indices of those that are neither a value
    nor nothing."""

    values: NDArray[np.float64]
    wrong: Integers


def bare(cells: pa.Array) -> pa.Array:
    """Without the blanks around, and with the minus of a keyboard in the place of that of a typesetter."""
    return pc.replace_substring(pc.utf8_trim_whitespace(cells), "\u2212", "-")


def numbers(cells: pa.Array, writing: Writing) -> Converted:
    text = bare(cells)
    is_missing = _is_missing(text, writing)
    if writing.units:
        text = without_units(text, writing.units)
        is_missing = pc.or_(is_missing, _is_missing(text, writing))
    if writing.thousands in BLANKS:
        text, writing = _with_blanks(text), replace(writing, thousands=" ")
    is_number = pc.fill_null(pc.match_substring_regex(text, pattern(writing)), False)
    is_number = pc.and_not(is_number, is_missing)
    plain = pc.if_else(is_number, text, None)
    if writing.thousands:
        plain = pc.replace_substring(plain, writing.thousands, "")
    if writing.decimal == ",":
        plain = pc.replace_substring(plain, ",", ".")
    found = _numpy(pc.cast(pc.replace_substring_regex(plain, r"^\+", ""), pa.float64()))
    wrong = ~_numpy(pc.or_(is_number, is_missing))
    return Converted(without_missing(found, writing), np.flatnonzero(wrong))


def _is_missing(text: pa.Array, writing: Writing) -> pa.Array:
    """Whether a cell stands for no value, whatever else could be read there."""
    return pc.fill_null(pc.is_in(text, value_set=pa.array(writing.no_number)), True)


def without_missing(values: NDArray[np.float64], writing: Writing) -> NDArray[np.float64]:
    """NaN in the place of the numbers that stand for no value."""
    absent = writing.missing_numbers
    if not absent:
        return values
    return np.where(np.isin(values, absent), np.nan, values)


@lru_cache(maxsize=64)
def _missing_numbers(writing: Writing) -> tuple[float, ...]:
    """As the cells are read; what is no number then, as the job file writes numbers."""
    found = numbers(pa.array(writing.missing, pa.string()), replace(writing, missing=())).values
    plain = [one if writing.thousands == "," else one.replace(",", ".") for one in writing.missing]
    known = [
        float(one) if np.isnan(value) and PLAIN.fullmatch(one) else float(value)
        for one, value in zip(plain, found, strict=True)
    ]
    return tuple(one for one in known if not np.isnan(one))


def without_units(text: pa.Array, units: Iterable[str]) -> pa.Array:
    for unit in units:
        text = _without_unit(text, unit)
    return text


def _without_unit(text: pa.Array, unit: str) -> pa.Array:
    sign = re.escape(unit)
    bare = pc.replace_substring_regex(text, rf"^([+-]?)\s*{sign}\s*([+-]?[\d.,])", r"\1\2")
    return pc.replace_substring_regex(bare, rf"([\d.,])\s*{sign}$", r"\1")


def truths(cells: pa.Array, writing: Writing) -> Converted:
    """As `numbers`, of cells that say yes (1) or no (0)."""
    text = pc.utf8_trim_whitespace(cells)
    is_true = pc.fill_null(pc.is_in(text, value_set=pa.array([*TRUE, "1", "1.0"])), False)
    is_false = pc.fill_null(pc.is_in(text, value_set=pa.array([*FALSE, "0", "0.0"])), False)
    as_numbers = [one for one in ("1", "1.0", "0", "0.0") if float(one) in writing.missing_numbers]
    is_missing = _is_missing(text, replace(writing, missing=(*writing.missing, *as_numbers)))
    found = np.where(_numpy(is_true), 1.0, np.where(_numpy(is_false), 0.0, np.nan))
    found[_numpy(is_missing)] = np.nan
    wrong = ~_numpy(pc.or_(pc.or_(is_true, is_false), is_missing))
    return Converted(found, np.flatnonzero(wrong))


def words(cells: pa.Array, missing: Sequence[str]) -> pa.Array:
    """Dictionary-encoded; null where there is none."""
    text = cells.cast(pa.string())
    absent = pc.is_in(text, value_set=pa.array(["", *missing]))
    return pc.if_else(absent, None, text).dictionary_encode()


def _numpy(values: pa.Array) -> NDArray[Any]:
    return values.to_numpy(zero_copy_only=False)


def advice(text: str, writing: Writing, name: str) -> str:
    """What could be said of a cell that is no number, so that it can be read. `name`: of its column."""
    one = text.strip()
    if len(one.splitlines()) > 1:
        return f"a line ends within it: {NOT_CLOSED}"
    if one == name:
        return (
            "the names of the columns stand there once more, as where files were put one below the other: "
            "remove that row, or name the files as a list in data.train"
        )
    return _of_signs(one, writing) or _of_other_writing(one) or _of_words(one)


def _of_signs(one: str, writing: Writing) -> str | None:
    """Of a number with another decimal sign, or another one between thousands."""
    comma = re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", one)
    point = re.fullmatch(r"[+-]?\d{1,3}(\.\d{3})+(,\d+)?", one)
    if comma and writing.decimal == ".":
        return 'data.csv: {thousands: ","} reads it' + (
            ', or {decimal: ","} where the comma is the decimal sign'
            if one.count(",") == 1 and "." not in one
            else ""
        )
    if point and (writing.decimal == "," or "," in one or one.count(".") > 1):
        return 'data.csv: {thousands: ".", decimal: ","} reads it'
    if re.fullmatch(r"[+-]?\d{1,3}([ '_\u00a0\u202f\u2019]\d{3})+([.,]\d+)?", one):
        mark = re.sub(r"[\d+-]", "", one)[0]
        mark = " " if mark in BLANKS else mark  # they look alike, and this one reads them all
        rest = ', decimal: ","' if "," in one and writing.decimal != "," else ""
        return f'data.csv: {{thousands: "{mark}"{rest}}} reads it'
    for sign, other in ((",", "."), (".", ",")):
        if writing.decimal == other and re.fullmatch(rf"[+-]?\d*{re.escape(sign)}\d+", one):
            if writing.thousands != sign:
                return f'data.csv: {{decimal: "{sign}"}} reads it'
            return (
                f'"{sign}" stands between thousands, with three digits behind it: correct it, or data.csv: '
                f'{{decimal: "{sign}"}}, without thousands: "{sign}", where it is the decimal sign'
            )
    return None


def _of_other_writing(one: str) -> str | None:
    """Of a value that no key of data.csv reads, and that shall not be left out either."""
    if re.fullmatch(rf"\(\s*{AMOUNT}\s*\)", one):
        return f"it looks like a negative number in parentheses, as in accounting: write it as -{one.strip('( )')}"
    if re.fullmatch(rf"{AMOUNT}-", one):
        return f"it looks like a negative number with its minus behind it: write it as -{one[:-1].strip()}"
    if re.fullmatch(FORTRAN, one):
        plain = re.sub(r"[dD]|(?<=\d)(?=[+-])", "e", one, count=1)
        return f"it looks like a number with an exponent as Fortran writes it: write it as {plain}"
    return None


def _of_words(one: str) -> str:
    """Of what stands beside a number, or in its place."""
    if found := WITH_POWER.fullmatch(one) or WITH_UNIT.fullmatch(one):
        return f"data.csv: {{units: [{quoted(next(filter(None, found.groups())))}]}} reads numbers that stand beside it"
    if one in (*TRUE, *FALSE):
        return "the column has numbers elsewhere: write 1 and 0"
    if len(one) <= 20 and not re.search(r"\d|[A-Za-z]{4}", one):
        return f"data.csv: {{missing: [{quoted(one)}]}} says that it stands for no value"
    if len(one) > 40:
        return "correct it"
    return f"correct it, or data.csv: {{missing: [{quoted(one)}]}} where it stands for no value"


def quoted(text: str) -> str:
    """As a job file has it."""
    return json.dumps(text, ensure_ascii=False)


def shown(text: str) -> str:
    """A cell in a message."""
    return text if len(text) <= 40 else text[:39] + "…"
