"""How far apart the rows of a series are, as people write it: `1h`, `15min`, `business day`, `1mo`. Standard library
only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Unit = Literal["time", "months", "business days", "number"]

SECOND = 10**9
DAY = 86_400 * SECOND
_UNITS: dict[str, tuple[Unit, int]] = {
    "ns": ("time", 1),
    "us": ("time", 10**3),
    "ms": ("time", 10**6),
    "s": ("time", SECOND),
    "min": ("time", 60 * SECOND),
    "h": ("time", 3600 * SECOND),
    "d": ("time", DAY),
    "w": ("time", 7 * DAY),
    "mo": ("months", 1),
    "q": ("months", 3),
    "y": ("months", 12),
}
_WORDS = {
    "second": "1s",
    "minute": "1min",
    "hour": "1h",
    "day": "1d",
    "week": "1w",
    "month": "1mo",
    "quarter": "1q",
    "year": "1y",
}
_NAMES = (
    (7 * DAY, "week"),
    (DAY, "day"),
    (3600 * SECOND, "hour"),
    (60 * SECOND, "minute"),
    (SECOND, "second"),
    (10**6, "millisecond"),
    (10**3, "microsecond"),
    (1, "nanosecond"),
)


@dataclass(frozen=True, slots=True)
class Written:
    """`count`: nanoseconds where `unit` is time; else months, business days, or a number."""

    unit: Unit
    count: float

    @property
    def name(self) -> str:
        if self.unit == "number":
            return f"{self.count:g}"
        if self.unit == "business days":
            return _counted(int(self.count), "business day")
        if self.unit == "months":
            months = int(self.count)
            size, word = next(
                pair for pair in ((12, "year"), (3, "quarter"), (1, "month")) if not months % pair[0]
            )
            return _counted(months // size, word)
        size, word = next(pair for pair in _NAMES if not self.count % pair[0])
        return _counted(int(self.count) // size, word)


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def read(value: object) -> Written | None:
    """`1h`, `15min`, `1d`, `1w`, `1mo`, `1q`, `1y`, `business day`, a word such as `month`, or a number where time is
    numbers. None: `none`, no step at all. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 < value < float("inf"):
            raise ValueError("not a step")
        return Written("number", value)
    if not isinstance(value, str):
        raise ValueError("not a step")
    text = " ".join(value.lower().split())
    if text == "none":
        return None
    if text in ("business day", "1 business day"):
        return Written("business days", 1)
    found = re.fullmatch(r"(\d{1,9}) ?(ns|us|ms|s|min|h|d|w|mo|q|y)", _WORDS.get(text, text), re.ASCII)
    if not found or not int(found[1]):
        raise ValueError("not a step")
    unit, size = _UNITS[found[2]]
    return Written(unit, int(found[1]) * size)
