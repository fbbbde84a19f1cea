"""What an axis shows, and what stands beside it: matplotlib's locators and formatters, without its axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.ticker import (
    Formatter,
    Locator,
    LogFormatterSciNotation,
    LogLocator,
    MaxNLocator,
    ScalarFormatter,
)

from gpujobs.results.pictures.canvas import POINT

LETTER = 10 * POINT
"""Of a label's usual size; on an upright axis there is one for every two of them at most."""
NEAR = 1e-9
"""Of an axis: so far out a tick is still in view."""


@dataclass(frozen=True, slots=True)
class Ticks:
    """`labels` stand at `places`, and none at `minor`; `offset` is what all labels lack, such as 1e-5."""

    places: Sequence[float]
    labels: Sequence[str]
    minor: Sequence[float] = ()
    offset: str = ""
    is_formula: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """What an axis shows: from `low` to `high`."""

    low: float
    high: float
    is_log: bool = False

    def part(self, value: float) -> float:
        """0 at the low end, 1 at the high one, and NaN of NaN."""
        low, high, at = (math.log10(one) if self.is_log else one for one in (self.low, self.high, value))
        return (at - low) / (high - low)


def linear(values: Iterable[float], margin: float, locator: Locator) -> Scale:
    """Of all values that are numbers, with a `margin` (of all) before and behind them."""
    low, high = map(float, locator.nonsingular(*_span(values)))
    more = margin * (high - low)
    return Scale(low - more, high + more)


def logarithmic(values: Iterable[float], margin: float) -> Scale:
    """Of values of different sizes, all above 0."""
    low, high = _span(values)
    more = (high / low) ** margin
    return Scale(low / more, high * more, is_log=True)


def _span(values: Iterable[float]) -> tuple[float, float]:
    known = [value for value in values if math.isfinite(value)]
    return min(known, default=0.0), max(known, default=1.0)


def upright(high: float) -> MaxNLocator:
    """For an upright axis of so many pixels."""
    return MaxNLocator(min(9, max(1, int(high / LETTER / 2))), steps=[1, 2, 2.5, 5, 10])


def ticks(scale: Scale, locator: Locator, formatter: Formatter | None = None) -> Ticks:
    found, offset = _labelled(scale, locator, formatter or ScalarFormatter())
    return Ticks(list(found), list(found.values()), offset=offset)


def log_ticks(scale: Scale) -> Ticks:
    """The powers of ten, and what is between them, which has labels where there would be few."""
    found = _labelled(scale, LogLocator(), LogFormatterSciNotation())[0]
    between = _labelled(scale, LogLocator(subs="auto"), LogFormatterSciNotation(labelOnlyBase=False))[0]
    found = {**{at: label for at, label in between.items() if label}, **found}
    minor = [at for at in between if at not in found]
    return Ticks(list(found), list(found.values()), minor, is_formula=True)


def _labelled(scale: Scale, locator: Any, formatter: Any) -> tuple[dict[float, str], str]:
    """The labels of the ticks in view, and what all of them lack."""
    locator.create_dummy_axis()
    locator.axis.set_view_interval(scale.low, scale.high)
    locator.axis.set_data_interval(scale.low, scale.high)
    formatter.set_axis(locator.axis)
    places = [float(one) for one in locator()]
    labels = zip(places, formatter.format_ticks(places), strict=True)
    return {at: label for at, label in labels if -NEAR <= scale.part(at) <= 1 + NEAR}, formatter.get_offset()
