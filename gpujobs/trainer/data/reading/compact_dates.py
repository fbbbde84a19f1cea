"""Dates that are written as one number, such as 20260131: as numbers, a month 13 would follow December."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gpujobs.trainer.data.arrays import Integers, Times
from gpujobs.trainer.data.notices import say
from gpujobs.trainer.data.reading.loaded import LoadedData

FORMS = {6: "YYYYMM", 8: "YYYYMMDD", 10: "YYYYMMDDhh", 12: "YYYYMMDDhhmm", 14: "YYYYMMDDhhmmss"}
"""By the number of digits."""

FIRST = 1000
"""So many tell of most numbers that they are none."""

FIRST_YEAR, LAST_YEAR = 1900, 2100


def with_dates(found: LoadedData, step: object) -> LoadedData:
    """With times in the place of numbers that are all dates. `step`: data.step; where it is a number, so are these."""
    time = found.time
    if time is None or len(time) == 0 or isinstance(step, int | float):
        return found
    dates = None if _dates(time[:FIRST]) is None else _dates(time)
    if dates is None:
        return found
    form = FORMS[len(str(int(time[0])))]
    say([f"{found.place('time')}: numbers such as {int(time[0])} are read as dates, {form} (data.step: 1 makes them "
         "numbers)."])  # fmt: skip
    return replace(found, time=dates)


def _dates(numbers: Times) -> Times | None:
    whole = _whole(numbers)
    return None if whole is None else dated(whole)


def _whole(numbers: Times) -> Integers | None:
    """Integers, also of floats, as which pandas has a column of integers with a hole; None where some is not whole, or
    so large that the next whole number is no float."""
    if numbers.dtype.kind != "f":
        return numbers if numbers.dtype.kind in "iu" else None
    most = 2 ** (np.finfo(numbers.dtype).nmant + 1)
    if not ((np.abs(numbers) < most) & (numbers == np.rint(numbers))).all():
        return None
    return numbers.astype(np.int64)


def dated(numbers: Any) -> Times | None:
    """datetime64[s]; None where some number is no date, as soon happens when one counts."""
    digits = len(str(int(numbers[0])))
    if digits not in FORMS:
        return None
    rest = np.asarray(numbers, np.int64)
    parts: list[Any] = []  # seconds first
    for _ in range((digits - 4) // 2):
        rest, part = np.divmod(rest, 100)
        parts.append(part)
    if digits == 6:
        parts.insert(0, np.ones_like(rest))
    month, day, *clock = reversed(parts)
    if not _within(rest, FIRST_YEAR, LAST_YEAR) or not _within(month, 1, 12):
        return None
    if not all(_within(part, 0, most) for part, most in zip(clock, (23, 59, 59), strict=False)):
        return None
    months = ((rest - 1970) * 12 + month - 1).astype("M8[M]")
    days = months.astype("M8[D]") + (day - 1)
    if (day < 1).any() or (days.astype("M8[M]") != months).any():
        return None
    seconds = sum(
        (part * size for part, size in zip(clock, (3600, 60, 1), strict=False)), np.zeros_like(rest)
    )
    return days.astype("M8[s]") + seconds.astype("m8[s]")


def _within(values: Any, low: int, high: int) -> bool:
    return bool(((values >= low) & (values <= high)).all())
