"""Which sign of a csv file's numbers is the decimal one, and which stands between thousands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from gpujobs.trainer.data.reading import cells
from gpujobs.trainer.data.reading.cells import Writing
from gpujobs.trainer.failures import DataError

NUMBER_WITH = {
    "comma": re.compile(r"^[+-]?\d*,\d+$"),
    "groups": re.compile(r"^[+-]?\d{1,3}(,\d{3})+$"),
    "point": re.compile(r"^[+-]?\d*\.\d+([eE][+-]?\d+)?$"),
    "english": re.compile(r"^[+-]?\d{1,3}(,\d{3})+\.\d+$|^[+-]?\d{1,3}(,\d{3}){2,}$"),
    "german": re.compile(r"^[+-]?\d{1,3}(\.\d{3})+,\d+$|^[+-]?\d{1,3}(\.\d{3}){2,}$"),
}


GROUPED = r"^[+-]?[1-9]\d{0,2}\.\d{3}$"
"""A thousand, or one and a bit."""

EITHER = r"^[+-]?[1-9]\d{0,2}[.,]\d{3}$"
"""With a comma too."""

WHICH = 'say which: data.csv: {thousands: ".", decimal: ","} or {decimal: "."}'

NUMBERS = r"^[+-]?[\d.,]+([eE][+-]?\d+)?$"


class Told(NamedTuple):
    """`decimals`: the decimal signs that a file shows, or the job file has: one, none, or both."""

    writing: Writing
    decimals: str


def writing_of(found: Callable[[], Sequence[pa.Array]], writing: Writing, given: Mapping[str, Any]) -> Told:
    """With the decimal sign and that between thousands, where the job file does not say both and they can be told.

    `writing`: as the job file has it (`given`: data.csv). `found`: gives the text of the columns.
    What could be either stays what it is: text, which is refused where numbers are expected.
    """
    if given.get("decimal") is not None:
        return Told(writing, writing.decimal)
    thousands, seen = given.get("thousands"), Counter[str]()
    if thousands is not None and thousands in ".,":
        decimal = "," if thousands == "." else "."
        return Told(replace(writing, decimal=decimal), decimal)
    for column in found():
        bare = cells.without_units(column, writing.units)
        seen += _signs(bare if thousands is None else cells.without_thousands(bare, thousands))
    decimals = "." * bool(seen["english"] or seen["point"]) + "," * bool(seen["german"] or seen["comma"])
    if decimals == ",":
        writing = replace(writing, decimal=",")
    if thousands is None:
        between = {",": "." if seen["german"] else None, ".": "," if seen["english"] else None}
        writing = replace(writing, thousands=between.get(decimals))
    return Told(writing, decimals)


def _signs(values: pa.Array) -> Counter[str]:
    """How many columns of nothing but numbers have numbers of each form. `comma`: a decimal one for sure."""
    found = Counter[str]()
    matches = {key: pc.any(pc.match_substring_regex(values, one.pattern)) for key, one in NUMBER_WITH.items()}
    held = {key: bool(one.as_py()) for key, one in matches.items()}
    if not len(values) or not (
        held["comma"] or held["groups"] or held["english"] or held["german"] or held["point"]
    ):
        return found
    if not pc.all(pc.match_substring_regex(values, NUMBERS)).as_py():
        return found
    sure = pc.any(
        pc.and_(
            pc.match_substring_regex(values, NUMBER_WITH["comma"].pattern),
            pc.invert(pc.match_substring_regex(values, r"^[+-]?[1-9]\d{0,2},\d{3}$")),
        )
    ).as_py()
    found["comma"] = int(sure)
    found["english"], found["german"] = int(held["english"]), int(held["german"])
    found["point"] = int(held["point"] and not pc.all(is_grouped(values)).as_py())
    return found


def is_grouped(values: pa.Array) -> pa.Array:
    """Whether each has three digits behind a point, or no point at all."""
    return pc.match_substring_regex(values, rf"{GROUPED}|^[+-]?\d+$")


def refuse_groups(name: str, names: Sequence[str], columns: Sequence[pa.Array]) -> None:
    """1.234 beside 567 is rather a thousand than one and a bit. Raises DataError."""
    for column, values in zip(names, columns, strict=True):
        held = pc.match_substring_regex(values, GROUPED)
        if not pc.any(held).as_py() or not pc.all(is_grouped(values)).as_py():
            continue
        if pc.all(held).as_py() or not pc.any(pc.match_substring_regex(values, r"^[+-]?[1-9]\d{2}$")).as_py():
            continue
        example = values.filter(held)[0].as_py()
        raise DataError(
            f"{name}: column {column}: holds {example!r} beside whole numbers, which may be a thousand or one and a "
            'bit; say which: data.csv: {thousands: "."} or data.csv: {decimal: "."}'
        )


def like_thousands(columns: Sequence[pa.Array]) -> list[str]:
    """The first value of each column in which all would be thousands too, as whoever writes decimal commas has them."""
    return [
        str(values[0].as_py())
        for values in columns
        if len(values) and pc.all(pc.match_substring_regex(values, GROUPED)).as_py()
    ]


def example(columns: Sequence[pa.Array], pattern: str) -> str | None:
    """The first value of that form, of the columns that have nothing but numbers."""
    for values in columns:
        if len(values) and pc.all(pc.match_substring_regex(values, NUMBERS)).as_py():
            found = values.filter(pc.match_substring_regex(values, pattern))
            if len(found):
                return str(found[0].as_py())
    return None
