"""Learning curves: from a history.csv to the panels that are drawn."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from gpujobs.metric_names import smaller_is_better

VALIDATION = "val_"
LOG_RATIO = 1000
"""A panel with positive values that span more than this has a logarithmic axis."""

History = dict[str, list[float]]
"""Columns by name, as in the file; `epoch` is the first."""


@dataclass(frozen=True, slots=True)
class JobHistory:
    id: int
    name: str
    columns: History
    unit: str = ""
    """Of the losses and errors, where that is not the data's own."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One column of one job. `job`: its place among those that are drawn. Epochs count from 1, as `status` shows
    them, and what is not finite is NaN."""

    job: int
    is_validation: bool
    epochs: list[float]
    values: list[float]

    def runs(self) -> Iterator[list[int]]:
        """Places of values that follow one another; NaN parts them."""
        for is_gap, places in groupby(range(len(self.values)), lambda place: math.isnan(self.values[place])):
            if not is_gap:
                yield list(places)


@dataclass(frozen=True, slots=True)
class Panel:
    metric: str
    curves: list[Curve]
    unit: str = ""

    def finite(self) -> list[float]:
        return [value for curve in self.curves for value in curve.values if not math.isnan(value)]

    def epochs(self) -> tuple[float, float]:
        known = [epoch for curve in self.curves for epoch in curve.epochs]
        return min(known), max(known)

    def is_log(self) -> bool:
        values = self.finite()
        return bool(values) and min(values) > 0 and max(values) > LOG_RATIO * min(values)

    def title(self) -> str:
        kinds = {curve.is_validation for curve in self.curves}
        unit = f", of {self.unit}" if self.unit and smaller_is_better(self.metric) else ""
        if kinds == {True}:
            return VALIDATION + self.metric + unit
        return self.metric + unit + ("" if kinds == {False} else f" (dashed: {VALIDATION}{self.metric})")


def parsed(text: str) -> History:
    """What is not a number is NaN. Raises ValueError where there is nothing to draw."""
    head, *rows = [row for row in csv.reader(text.splitlines()) if row] or [[]]
    if "epoch" not in head or len(head) < 2:
        raise ValueError("has no column epoch with others beside it")
    if not rows:
        raise ValueError("has no epoch")
    columns = {
        name: [_number(row[place]) if place < len(row) else math.nan for row in rows]
        for place, name in enumerate(head)
    }
    epochs = columns.pop("epoch")
    if not all(map(math.isfinite, epochs)):
        raise ValueError("has an epoch that is no number")
    return {"epoch": epochs, **columns}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def panels(histories: Sequence[JobHistory]) -> list[Panel]:
    """The loss first, then each metric in a panel of its own."""
    by_metric: dict[str, list[Curve]] = {"loss": []}
    for job, one in enumerate(histories):
        if "epoch" not in one.columns:
            continue
        epochs = [epoch + 1 for epoch in one.columns["epoch"]]
        for name, column in one.columns.items():
            if name != "epoch":
                values = [value if math.isfinite(value) else math.nan for value in column]
                curve = Curve(job, name.startswith(VALIDATION), epochs, values)
                by_metric.setdefault(name.removeprefix(VALIDATION), []).append(curve)
    unit = " or ".join(sorted({one.unit or "the data's own" for one in histories}))
    unit = unit if any(one.unit for one in histories) else ""
    return [Panel(metric, curves, unit) for metric, curves in by_metric.items() if curves]
