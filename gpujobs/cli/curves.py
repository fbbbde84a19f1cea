"""Learning curves: from the history.csv of jobs to the panels that are drawn."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from gpujobs.cli.choosing import Selection
from gpujobs.client import Client
from gpujobs.errors import UsageError
from gpujobs.metric_names import smaller_is_better

FILE = "history.csv"
MAX_FILE_BYTES = 64 << 20
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


def read_histories(client: Client, chosen: Selection) -> list[JobHistory]:
    """Of jobs, and of those jobs of groups and the like that have one. Raises UsageError for a job that has none."""
    found = client.get("/v1/results", own=True, partial=True, **chosen.query)["results"]
    with_curves = [one for one in found if any(file["name"] == FILE for file in one["files"])]
    having = {one["job"] for one in with_curves}
    for id in chosen.ids:
        if isinstance(id, int) and id not in having:
            raise UsageError(
                f"job {id} has no {FILE} yet: it comes with the first checkpoint after an epoch; `gpujobs status {id}` "
                "says how it does"
            )
    if not with_curves:
        raise UsageError(f"no job of {chosen} has a {FILE} yet; `gpujobs status` shows how they do")
    return [_read(client, one) for one in with_curves]


def _read(client: Client, result: dict[str, Any]) -> JobHistory:
    id, content = result["job"], b""
    with client.open(f"/v1/results/{id}/{FILE}") as body:
        while len(content) <= MAX_FILE_BYTES and (piece := body.read1()):
            content += piece
    if len(content) > MAX_FILE_BYTES:
        raise UsageError(f"{FILE} of job {id} is larger than {MAX_FILE_BYTES >> 20} MiB")
    try:
        return JobHistory(id, str(result["name"]), parsed(content.decode()), _unit(result["metrics"]))
    except (ValueError, csv.Error) as error:
        raise UsageError(f"{FILE} of job {id} {error}; expected it as Keras's CSVLogger writes it") from None


def _unit(metrics: dict[str, Any]) -> str:
    """As metrics.json has it; its user may have written anything."""
    units = metrics.get("units")
    unit = units.get("history") if isinstance(units, dict) else None
    return unit[:80] if isinstance(unit, str) and "scaled" in unit else ""


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


def chosen(histories: Sequence[JobHistory], metrics: Collection[str]) -> list[JobHistory]:
    """Only these columns, and the jobs that have any; that of a metric goes with that of its validation.
    Raises UsageError for a metric that no job has."""
    if not metrics:
        return list(histories)
    known = {name for one in histories for name in one.columns if name != "epoch"}
    wanted = {"epoch", *metrics, *(VALIDATION + name for name in metrics)}
    for name in metrics:
        if not {name, VALIDATION + name} & known:
            raise UsageError(f"there is no metric {name}; expected one of {', '.join(sorted(known))}")
    reduced = [
        replace(one, columns={name: column for name, column in one.columns.items() if name in wanted})
        for one in histories
    ]
    return [one for one in reduced if len(one.columns) > 1]


def panels(histories: Sequence[JobHistory]) -> list[Panel]:
    """The loss first, then each metric in a panel of its own."""
    by_metric: dict[str, list[Curve]] = {"loss": []}
    for job, one in enumerate(histories):
        epochs = [epoch + 1 for epoch in one.columns["epoch"]]
        for name, column in one.columns.items():
            if name != "epoch":
                values = [value if math.isfinite(value) else math.nan for value in column]
                curve = Curve(job, name.startswith(VALIDATION), epochs, values)
                by_metric.setdefault(name.removeprefix(VALIDATION), []).append(curve)
    unit = " or ".join(sorted({one.unit or "the data's own" for one in histories}))
    unit = unit if any(one.unit for one in histories) else ""
    return [Panel(metric, curves, unit) for metric, curves in by_metric.items() if curves]


def json_of(one: JobHistory) -> dict[str, Any]:
    """JSON has no NaN: null stands for it."""
    history: dict[str, list[float | int | None]] = {
        name: [value if math.isfinite(value) else None for value in column]
        for name, column in one.columns.items()
    }
    history["epoch"] = [int(epoch) if epoch.is_integer() else epoch for epoch in one.columns["epoch"]]
    return {"id": one.id, "name": one.name, **({"unit": one.unit} if one.unit else {}), "history": history}
