"""Rows of series whose values are missing: an error, left out, or filled."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpujobs.trainer.data import missing
from gpujobs.trainer.data.arrays import Integers
from gpujobs.trainer.data.memory import allocate, pieces, row_bytes
from gpujobs.trainer.data.reading.loaded import LoadedData

NO_ROWS = np.zeros(0, np.int64)


class Whole(NamedTuple):
    """What is left of series: the arrays, the (first, end) rows without a gap, whether a row's target is missing (None:
    of none), and the numbers of the rows that are left out. `seen`: of each series the row by which every feature has
    had a value, where rows before it were filled with a later one (None: in no series)."""

    raw: LoadedData
    segments: Integers
    holes: NDArray[np.bool_] | None
    left_out: Integers
    seen: Integers | None = None


def without_missing(
    raw: LoadedData, series: Integers, segments: Integers, handling: str, least: int, scratch: Path
) -> Whole:
    """`drop` ends a segment where a value is missing: no window contains one. `fill` puts the last value that the
    series has seen into inputs; a target is never made up. `segments`: the (first, end) rows within the series that
    follow each other by the step; `least`: how many of them a window needs.

    Raises DataError for what is missing with `error`, and for infinities always.
    """
    missing.require(raw, handling)
    if handling == "error":
        return Whole(raw, segments, None, NO_ROWS)
    of_inputs = {name: missing.rows_with(x) for name, x in raw.inputs.items()}
    holes = _holes(raw)
    if handling == "drop":
        wrong = np.logical_or.reduce([holes, *of_inputs.values()])
        rows = np.flatnonzero(wrong)
        return Whole(raw, cut(segments, wrong) if len(rows) else segments, None, rows)
    inputs = dict(raw.inputs)
    of = np.searchsorted(series[:, 0], segments[:, 0], side="right") - 1
    has_windows = np.bincount(of, segments[:, 1] - segments[:, 0] >= least, len(series)) > 0
    idle = set(np.flatnonzero(~has_windows).tolist())
    seen = _seen(raw, series)
    empty: set[int] = set()
    for name, gaps in of_inputs.items():
        if gaps.any():
            inputs[name], none = _filled(raw, name, series, idle, scratch)
            empty |= none
    segments = segments[~np.isin(of, list(empty))] if empty else segments
    return Whole(replace(raw, inputs=inputs), segments, holes if holes.any() else None, NO_ROWS, seen)


def _seen(raw: LoadedData, series: Integers) -> Integers | None:
    """As `Whole` has it, before anything is filled."""
    found = series[:, 0].copy()
    for name, x in raw.inputs.items():
        shown = list(missing.features(raw, name)) or list(range(x.reshape(len(x), -1).shape[1]))
        begins = np.isnan(x.reshape(len(x), -1)[series[:, 0]][:, shown]).any(axis=1)
        for number in np.flatnonzero(begins).tolist():
            first, end = series[number]
            is_there = ~np.isnan(x[first:end].reshape(end - first, -1)[:, shown])
            rows = is_there.argmax(axis=0)[is_there.any(axis=0)]
            found[number] = max(found[number], first + rows.max(initial=0))
    return found if (found > series[:, 0]).any() else None


def _holes(raw: LoadedData) -> NDArray[np.bool_]:
    found = np.zeros(len(raw), bool)
    for y in raw.targets.values():
        found |= missing.rows_with(y)
    if raw.y_columns is not None:
        (x,) = raw.inputs.values()
        for column in raw.y_columns:
            found |= missing.rows_with(x[:, column])
    return found


def cut_at(segments: Integers, rows: Integers) -> Integers:
    """The (first, end) rows of what lies between these rows, each of which begins anew. `rows`: sorted."""
    firsts = np.concatenate([segments[:, 0], rows])
    firsts.sort()
    place = np.searchsorted(segments[:, 0], firsts, side="right") - 1
    ends = np.minimum(np.append(firsts[1:], segments[-1:, 1]), segments[place, 1])
    return np.stack([firsts, ends], axis=1)


def cut(segments: Integers, wrong: NDArray[np.bool_]) -> Integers:
    """The (first, end) rows of what is left between the rows that are wrong, shape (n, 2)."""
    found = []
    for first, end in segments:
        cuts = np.flatnonzero(wrong[first:end]) + first
        borders = [first - 1, *cuts.tolist(), end]
        found += [(a + 1, b) for a, b in pairwise(borders) if b > a + 1]
    return np.array(found, np.int64).reshape(-1, 2)


def _filled(
    raw: LoadedData, name: str, series: Integers, idle: Container[int], scratch: Path
) -> tuple[NDArray[np.float32], set[int]]:
    """In place, or, where the file itself is mapped, in a copy that is on the disk where it is large; and which of the
    `idle` series, which have no window, lack a feature altogether."""
    values = raw.inputs[name]
    if not values.flags.writeable:
        copy = allocate(values.shape, np.float32, scratch)
        for rows in pieces(0, len(values), row_bytes(values)):
            copy[rows] = values[rows]
        values = copy

    def called(number: int) -> str:
        first, end = series[number]
        rows = f"rows {raw.row_number(first)} to {raw.row_number(end - 1)}"
        return rows if raw.group is None else f"series {raw.group.decode(raw.group.codes[first])} ({rows})"

    empty = missing.fill(raw, name, (values[first:end] for first, end in series), called, idle)
    return values, empty
