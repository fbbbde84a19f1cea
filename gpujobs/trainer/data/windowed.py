"""Series cut into windows, which are never copied: a batch gathers its rows from the series."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from gpujobs.trainer.data import missing, scaling, splits
from gpujobs.trainer.data.raw import Arrays
from gpujobs.trainer.data.rows import ArrayRows, Mapped, Rows, StepRows, WindowIndex, WindowRows
from gpujobs.trainer.data.samples import Samples
from gpujobs.trainer.data.series import begins
from gpujobs.trainer.failures import DataError


@dataclass(frozen=True, slots=True)
class Windowed:
    """The windows of a series. `segments`: the (first, end) rows that hold together, shape (n, 2).

    `fitted`: the (first, end) rows that scaling may see.
    """

    raw: Arrays
    window: Mapping[str, int]
    task: str
    segments: Any
    index: WindowIndex
    fitted: Any
    numbers: Any = None

    @property
    def samples(self) -> Samples:
        raw, index, target = self.raw, self.index, self.target
        labels: dict[str, Rows] = {}
        for key, values in (("time", raw.time), ("group", raw.group)):
            if values is not None:
                labels[key] = StepRows(values, index, target[0])
        inputs: dict[str, Rows] = {
            name: WindowRows(_two(x), raw.x_columns, index, 0, self.window["length"])
            for name, x in raw.inputs.items()
        }
        weight = None if raw.weight is None else StepRows(raw.weight, index, target[0])
        series = ArrayRows(index.segments(np.arange(len(index))), np.int64) if len(index) < 1 << 24 else None
        return Samples(inputs, self._targets(), len(index), self.numbers, weight, labels, series)

    @property
    def target(self) -> tuple[int, int]:
        """The rows of the target, counted from a window's start: the first, and the end."""
        return _target(self.window)

    def _targets(self) -> dict[str, Rows]:
        first, end = self.target
        if self.raw.y_columns is not None:
            (x,) = self.raw.inputs.values()
            return {"y": _squeezed(WindowRows(_two(x), self.raw.y_columns, self.index, first, end - first))}
        found: dict[str, Rows] = {}
        for name, y in self.raw.targets.items():
            if self.task == "labelling":
                found[name] = _steps(WindowRows(_two(y), None, self.index, 0, self.window["length"], y.dtype))
            elif self.task in ("classification", "multilabel"):
                found[name] = StepRows(y, self.index, end - 1)
            else:
                found[name] = _squeezed(WindowRows(_two(y), None, self.index, first, end - first))
        return found

    def split(self, settings: Mapping[str, Any], labels: Any) -> dict[str, Windowed]:
        if settings["method"] == "chronological":
            length, stride = self.window["length"], self.window["stride"]
            indices = splits.chronological_windows(self.segments, length, self.target, stride, settings)
            begin = self.segments[:, 0]
            trained = [splits.shares(int(end - first), settings["validation"], settings["test"])[0]
                       for first, end in self.segments]  # fmt: skip
            fitted = np.stack([begin, begin + np.array(trained)], axis=1)
            return {name: replace(self, index=index, fitted=fitted) for name, index in indices.items()}
        groups = (
            None if self.raw.group is None else self.raw.group[self.index.starts(np.arange(len(self.index)))]
        )
        parts = splits.split(settings, len(self.index), labels=labels, groups=groups, times=None)
        if self.window["stride"] < self.target[1] and settings["method"] != "group":
            print("Windows overlap: with this split, training sees rows that validation and test have too; "
                  "method: chronological keeps them apart.")  # fmt: skip
        return {name: replace(self, numbers=numbers) for name, numbers in parts.items()}

    def first(self, count: int) -> tuple[Windowed, Windowed]:
        everything = np.arange(len(self.index))
        return replace(self, numbers=everything[:count]), replace(self, numbers=everything[count:])

    def x_pieces(self, name: str) -> Callable[[], Iterable[Any]]:
        return self._pieces(self.raw.inputs[name], self.raw.x_columns)

    def y_pieces(self, name: str) -> Callable[[], Iterable[Any]]:
        if self.raw.y_columns is not None:
            (x,) = self.raw.inputs.values()
            return self._pieces(x, self.raw.y_columns)
        return self._pieces(self.raw.targets[name], None)

    def _pieces(self, values: Any, columns: Any) -> Callable[[], Iterable[Any]]:
        spans = self.fitted if self.numbers is None else _covered(self)
        pieces = scaling.rows_in_pieces(_two(values), spans)
        return pieces if columns is None else lambda: (piece[:, list(columns)] for piece in pieces())


def assemble(raw: Arrays, window: Mapping[str, int], task: str, handling: str) -> Windowed:
    """Raises DataError for values that are missing, and for series shorter than a window."""
    starts = begins(raw.group) if raw.group is not None else np.zeros(1, np.int64)
    segments = np.stack([starts, [*starts[1:], len(raw)]], axis=1)
    raw, segments = _without_missing(raw, segments, handling)
    length, reach = window["length"], max(window["length"], _target(window)[1])
    index = splits.windows(segments, length, reach, window["stride"])
    if len(index) == 0:
        longest = int((segments[:, 1] - segments[:, 0]).max(initial=0))
        raise DataError(
            f"{raw.file}: the longest series has {longest} rows; a window takes {reach} (data.window.length "
            f"{length}, horizon {window['horizon']})"
        )
    return Windowed(raw, window, task, segments, index, segments)


def _target(window: Mapping[str, int]) -> tuple[int, int]:
    length, horizon = window["length"], window["horizon"]
    return (length, length + horizon) if horizon else (length - 1, length)


def _two(values: Any) -> Any:
    return values if values.ndim == 2 else values.reshape(len(values), -1)


def _squeezed(rows: WindowRows) -> Rows:
    """One step ahead: shape (columns,) instead of (1, columns)."""
    return Mapped(rows, lambda taken: taken[:, 0], rows.row_shape[1:]) if rows.length == 1 else rows


def _steps(rows: WindowRows) -> Rows:
    """A label per step: shape (length,) instead of (length, 1)."""
    if rows.series.shape[1] > 1:
        return rows
    return Mapped(rows, lambda taken: taken[:, :, 0], (rows.length,))


def _without_missing(raw: Arrays, segments: Any, handling: str) -> tuple[Arrays, Any]:
    """With `drop` the rows that have missing values end a segment: no window crosses them."""
    inputs = dict(raw.inputs)
    wrong: Any = np.zeros(len(raw), bool)
    for name, values in [*inputs.items(), *raw.targets.items()]:
        place = f"{raw.file}: {name}" if not raw.features else _columns_with(raw, values)
        if handling == "error":
            missing.refuse(place, values)
            continue
        missing.refuse_infinite(place, values)
        gaps = missing.rows_with(values)
        wrong |= gaps
        if handling == "fill" and gaps.any() and name in inputs:
            inputs[name] = np.array(_two(values))
            for first, end in segments:
                missing.fill_forward(inputs[name][first:end])
    if handling == "drop" and wrong.any():
        print(
            f"{raw.file}: {int(wrong.sum())} of {len(wrong)} rows have missing values; no window contains them."
        )
        segments = _cut(segments, wrong)
    return replace(raw, inputs=inputs), segments


def _columns_with(raw: Arrays, values: Any) -> str:
    """The file, and the columns that have values missing."""
    if values.ndim != 2 or values.dtype.kind != "f":
        return raw.file
    names = [*raw.features, *(name for name in raw.target_names if name not in raw.features)]
    if len(names) != values.shape[1]:
        return raw.file
    found = [name for number, name in enumerate(names) if not np.isfinite(values[:, number]).all()]
    return f"{raw.file}: column{'s' if len(found) > 1 else ''} {', '.join(found)}"


def _cut(segments: Any, wrong: Any) -> Any:
    pieces = []
    for first, end in segments:
        cuts = np.flatnonzero(wrong[first:end]) + first
        borders = [first - 1, *cuts.tolist(), end]
        pieces += [(a + 1, b) for a, b in pairwise(borders) if b > a + 1]
    return np.array(pieces, np.int64).reshape(-1, 2)


def _covered(windowed: Windowed) -> Any:
    """The (first, end) rows that the chosen windows see."""
    is_seen: Any = np.zeros(len(windowed.raw), bool)
    starts = windowed.index.starts(windowed.numbers)
    for step in range(windowed.window["length"]):
        is_seen[starts + step] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_seen.view(np.int8), [0]])))
    return edges.reshape(-1, 2)
