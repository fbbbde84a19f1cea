"""Steps of time: how many lie between two times, and which time is some steps later. In numpy, array by array.

Times are datetime64 without a zone, or numbers; zones are the affair of clock.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gpujobs import steps
from gpujobs.steps import DAY, SECOND, Written
from gpujobs.trainer.data.arrays import Integers, Times

NANOSECONDS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": SECOND}
"""Of the units that times have here."""

Day = int | Literal["end", "business start", "business end"]
"""Of a month: a number (in a shorter month its last day), or its first or last day of all or of those of business."""


@dataclass(frozen=True, slots=True)
class Step:
    """`day`: of the month, where the step is months. `is_about`: rows keep it only roughly, so that nobody can say
    when the next one will be."""

    unit: steps.Unit
    count: float
    day: Day | None = None
    is_about: bool = False

    @property
    def name(self) -> str:
        name = Written(self.unit, self.count).name
        if isinstance(self.day, str):
            name += (
                f" ({'last' if 'end' in self.day else 'first'} {'business ' * ('business' in self.day)}day)"
            )
        return f"about {name}" if self.is_about else name

    @property
    def is_of_calendar(self) -> bool:
        """Whether it is counted in days of the wall calendar, which may have 23 or 25 hours."""
        return self.unit in ("months", "business days") or (self.unit == "time" and self.count % DAY == 0)


def moves(step: Step, before: Times, after: Times) -> tuple[Integers, NDArray[np.bool_]]:
    """How many steps (int64, rounded) lie between each two times, and whether exactly so."""
    if step.unit == "months":
        count = np.rint((_months(after) - _months(before)) / step.count).astype(np.int64)
        return count, later(step, before, count) == after
    if step.unit == "business days":
        days = np.busday_count(_days(before), _days(after))
        count = np.rint(days / step.count).astype(np.int64)
        is_exact = np.is_busday(_days(after)) & (count * step.count == days)
        return count, is_exact & (after - _days(after) == before - _days(before))
    size, apart = _size(step, after), _numbers(after) - _numbers(before)
    if apart.dtype.kind == "f" or isinstance(size, float):
        count = np.rint(apart / size).astype(np.int64)
        return count, np.isclose(apart, count * size, rtol=1e-4, atol=1e-4 * size)
    count = (apart + size // 2) // size
    return count, apart == count * size


def is_near(step: Step, before: Times, after: Times) -> NDArray[np.bool_]:
    """Whether one step of time, or of numbers, lies between each two, to a quarter of it."""
    size, apart = _size(step, after), _numbers(after) - _numbers(before)
    return np.abs(apart - size) <= size / 4


def later(step: Step, times: Times, count: Integers) -> Times:
    """The times so many steps later."""
    if step.unit == "months":
        date = _date(_months(times) + (np.asarray(count) * int(step.count)), step.day)
        return (date + (times - _days(times))).astype(times.dtype)
    if step.unit == "business days":
        date = np.busday_offset(_days(times), np.asarray(count) * int(step.count), roll="forward")
        return (date + (times - _days(times))).astype(times.dtype)
    size = np.asarray(count) * _size(step, times)
    if times.dtype.kind == "M":
        size = np.rint(size).astype(np.int64).astype(times.dtype.str.replace("M8", "m8"))
    return times + size


def day_of(times: NDArray[np.datetime64]) -> Day:
    """Which day of its month most of the times are."""
    days, first = _days(times), times.astype("M8[M]").astype("M8[D]")
    numbers = (days - first).astype(np.int64) + 1
    found, counts = np.unique(numbers, return_counts=True)
    rules: dict[Day, None] = dict.fromkeys(
        ("end", int(numbers.max()), int(found[counts.argmax()]), "business end", "business start")
    )
    months = _months(times)
    return max(rules, key=lambda rule: int((days == _date(months, rule)).sum()))  # the first of the best


def _date(months: Integers, day: Day | None) -> NDArray[np.datetime64]:
    first = months.astype("M8[M]").astype("M8[D]")
    last = (months + 1).astype("M8[M]").astype("M8[D]") - 1
    if day == "end":
        return last
    if day == "business end":
        return np.busday_offset(last, 0, roll="backward")
    if day == "business start":
        return np.busday_offset(first, 0, roll="forward")
    return np.minimum(first + (int(day or 1) - 1), last)


def _months(times: NDArray[np.datetime64]) -> Integers:
    return times.astype("M8[M]").astype(np.int64)


def _days(times: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    return times.astype("M8[D]")


def _numbers(times: Times) -> Integers:
    return times.astype(np.int64) if times.dtype.kind == "M" else times


def _size(step: Step, times: Times) -> Any:
    """The step in the unit of the times' own numbers."""
    if times.dtype.kind != "M":
        return float(step.count) if times.dtype.kind == "f" or step.count % 1 else int(step.count)
    per = NANOSECONDS[np.datetime_data(times.dtype)[0]]
    whole, rest = divmod(int(step.count), per)
    return whole if not rest else step.count / per
