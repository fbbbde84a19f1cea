"""Which sign separates the fields of a csv file, by the lines at its beginning."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from gpujobs.trainer.failures import DataError

SAMPLE_LINES = 200
SEPARATORS = (",", ";", "\t", "|")
FEWEST_LINES = 3
"""So many that agree are the rows below lines of another kind."""

MOST_LINES = 3
"""In a row, of those that are looked at."""

QUOTED_LINES = re.compile(r'(?:^|(?<=[,;\t| ]))"(?:[^"]|"")*"(?=[,;\t| ]|$)', re.MULTILINE)
"""A cell in quotes, whatever separates cells."""

DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")


def found(name: str, lines: Sequence[str], given: Mapping[str, Any]) -> str:
    """The sign that stands as often in each line, or `whitespace`; of an only column of decimal commas, one that stands
    nowhere. `given`: data.csv. Raises DataError where several may be meant."""
    sample = _bare(lines)
    sign = _found(name, sample)
    is_decimal = [bool(DECIMAL_COMMA.fullmatch(line.strip())) for line in sample]
    if sign != "," or not all(is_decimal[1:] or is_decimal):
        return sign
    is_alone = given.get("decimal") == "," and ("," not in sample[0] or is_decimal[0])
    return ";" if is_alone or (is_decimal[0] and len(given.get("names") or ()) == 1) else sign


def _bare(lines: Sequence[str]) -> list[str]:
    """The first rows, with nothing in quotes: a line's end there ends no row."""
    text = QUOTED_LINES.sub('""', "\n".join(lines[: MOST_LINES * SAMPLE_LINES]))
    return [re.sub(r'"(?:[^"]|"")*"', '""', line) for line in text.split("\n")[:SAMPLE_LINES]]


def may_be_decimals(rows: Sequence[Sequence[str]], sign: str, given: Mapping[str, Any]) -> str:
    """The first of rows such as 1,5 that may be one column too: nothing says that they are two. Else nothing."""
    said = [key for key in ("separator", "decimal", "names") if given.get(key) is not None]
    is_so = sign == "," and not said and given.get("thousands") != ","
    is_so = is_so and all(len(row) == 2 and DECIMAL_COMMA.fullmatch(",".join(row).strip()) for row in rows)
    return ",".join(rows[0]).strip() if is_so else ""


def _found(name: str, sample: Sequence[str]) -> str:
    even = [sign for sign in SEPARATORS if is_even([line.count(sign) for line in sample])]
    if len(even) > 1:
        even = _by_header(sample, even)
    if len(even) > 1:
        raise DataError(_which(name, even))
    if even and even != [","]:
        return even[0]
    blanks = [len(line.split()) - 1 for line in sample]
    if not even and is_even(blanks) and "," not in sample[0]:
        return "whitespace"
    if below := _below(sample, even):
        if len(below) > 1:
            raise DataError(_which(name, below))
        return below[0]
    counts = {sign: sample[0].count(sign) for sign in SEPARATORS}
    most = max(SEPARATORS, key=lambda sign: counts[sign])
    return even[0] if even else most if counts[most] else ","


def _which(name: str, signs: Sequence[str]) -> str:
    either = " or ".join(f'"{escaped(sign)}"' for sign in signs)
    return (
        f"{name}: its fields may be separated by {either}; say which: data.csv: {{separator: "
        f'"{escaped(signs[0])}"}}'
    )


def _below(sample: Sequence[str], even: Sequence[str]) -> list[str]:
    """The signs of the rows that follow lines of another kind, where `even` has the sign of all lines: then only one
    that leaves a number with a decimal comma in each of these rows."""
    starts = {
        sign: start
        for sign in SEPARATORS
        if sign not in even and (start := _start([line.count(sign) for line in sample])) is not None
    }
    if "," in even:
        apart = [sign for sign, at in starts.items() if _by_header(sample[at:], [",", sign]) == [sign]]
        return apart if len(apart) == 1 else []
    first = min(starts.values(), default=0)
    return [sign for sign, at in starts.items() if at == first]


def _start(counts: Sequence[int]) -> int | None:
    """From which line on a sign stands as often in each."""
    return next(
        (at for at in range(1, len(counts) - FEWEST_LINES + 1) if counts[at] and is_even(counts[at:])), None
    )


def escaped(sign: str) -> str:
    return "\\t" if sign == "\t" else sign


def is_even(counts: Sequence[int]) -> bool:
    """Nine of ten lines as the first, or as most with the first one less."""
    common = Counter(counts[1:] or counts).most_common(1)[0]
    return counts[0] > 0 and common[0] - counts[0] in (0, 1) and common[1] >= 0.9 * len(counts[1:] or counts)


def _by_header(sample: Sequence[str], signs: list[str]) -> list[str]:
    """A decimal comma separates nothing: where another sign does, no number is left with a comma between."""
    if "," in signs and len(signs) == 2:
        other = signs[0] if signs[1] == "," else signs[1]
        split = [line.split(other) for line in sample[1:]]
        if split and all(any(DECIMAL_COMMA.fullmatch(one.strip()) for one in row) for row in split):
            names = sample[0].split(other)
            if not any("," in name for name in names):
                return [other]
    return signs
