"""The step that most rows of a series keep."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpujobs.steps import DAY, SECOND
from gpujobs.trainer.data.samples import calendar
from gpujobs.trainer.data.samples.calendar import NANOSECONDS, Step
from gpujobs.trainer.data.samples.pairs import Pairs

SURE = 0.75
"""A step is found where at least this share of the rows keeps it."""

ROUGHLY = 0.9
"""The share of rows that must keep a step that they keep only about, which is to a quarter of it."""

COMMON = [
    *(number * SECOND for number in (1, 2, 5, 10, 15, 20, 30)),
    *(number * 60 * SECOND for number in (1, 2, 5, 10, 15, 20, 30)),
    *(number * 3600 * SECOND for number in (1, 2, 3, 4, 6, 8, 12)),
    *(number * DAY for number in (1, 2, 7, 14, 28)),
]
"""Steps that are kept only about are called so."""


def common_step(pairs: Pairs, usual: str | None) -> Step | None:
    """The step that most rows keep."""
    best, share = None, 0.0
    for step in _candidates(pairs) if len(pairs.at) else ():
        own = pairs.share(step) + (1e-9 if step.name == usual else 0.0)
        if own > share:
            best, share = step, own
    return best if share >= SURE else _roughly(pairs)


def _candidates(pairs: Pairs) -> Iterator[Step]:
    """The most frequent difference, and, of days and more, the steps of the calendar."""
    if pairs.after.dtype.kind != "M":
        size = _most_frequent(pairs.after - pairs.before)
        if size > 0:
            yield Step("number", size)
        return
    nanoseconds = _most_frequent_time(pairs.after - pairs.before)
    wall = _most_frequent_time(pairs.wall_after - pairs.wall_before)
    if wall >= 28 * DAY:
        months = (pairs.wall_after.astype("M8[M]") - pairs.wall_before.astype("M8[M]")).astype(np.int64)
        count = _most_frequent(months)
        if count > 0:
            yield Step(
                "months", int(count), calendar.day_of(np.append(pairs.wall_before[:1], pairs.wall_after))
            )
    for size in dict.fromkeys((wall, nanoseconds)):
        if size > 0:
            yield Step("time", size)
    if wall == DAY:
        yield Step("business days", 1)


def _most_frequent(values: NDArray[Any]) -> Any:
    found, counts = np.unique(values, return_counts=True)
    best = found[counts.argmax()].item()
    if isinstance(best, float):  # 0.1 apart, but for what floats lose: the middle of those that are the same
        near = values[np.isclose(values, best, rtol=1e-6)]
        return float(np.median(near))
    return best


def _most_frequent_time(values: NDArray[np.timedelta64]) -> int:
    """In nanoseconds."""
    return int(_most_frequent(values.astype(np.int64))) * NANOSECONDS[np.datetime_data(values.dtype)[0]]


def _roughly(pairs: Pairs) -> Step | None:
    apart = pairs.after - pairs.before
    apart = apart.astype("m8[ns]").astype(np.int64) if apart.dtype.kind == "m" else apart
    middle = float(np.median(apart)) if len(apart) > 1 else 0.0
    if middle <= 0 or (np.abs(apart - middle) <= middle / 4).mean() < ROUGHLY:
        return None
    if pairs.after.dtype.kind != "M":
        return Step("number", middle, is_about=True)
    return Step("time", _rounded(middle), is_about=True)


def _rounded(nanoseconds: float) -> int:
    """To a length that people would name, where one is near; else to two digits."""
    nearest = min(COMMON, key=lambda one: abs(one - nanoseconds))
    if abs(nearest - nanoseconds) <= nanoseconds / 20:
        return nearest
    unit: int = 10 ** max(0, math.floor(math.log10(nanoseconds)) - 1)
    return round(nanoseconds / unit) * unit
