"""Windows of a series as rows: what a batch needs is copied when it is needed, and nothing before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import DTypeLike, NDArray

from gpujobs.trainer.data.arrays import Integers, Times


@dataclass(frozen=True, slots=True)
class WindowIndex:
    """Windows of consecutive rows within segments. Segment i ends before row `ends[i]` and has `counts[i]`
    windows: the first begins at row `first[i]`, each next one `stride` rows later. A few numbers a segment,
    however many windows."""

    first: Integers
    counts: Integers
    ends: Integers
    stride: int

    def __len__(self) -> int:
        return int(self.counts.sum())

    def segments(self, numbers: Integers) -> Integers:
        """The number of each window's segment."""
        if len(self.counts) == 1:
            return np.zeros(np.shape(numbers), np.int64)
        return np.searchsorted(np.cumsum(self.counts), numbers, side="right")

    def starts(self, numbers: Integers) -> Integers:
        """The first row of each window, int64."""
        numbers = np.asarray(numbers, np.int64)
        if len(self.counts) == 1:
            return self.first[0] + numbers * self.stride
        segment = self.segments(numbers)
        before = np.cumsum(self.counts) - self.counts
        return self.first[segment] + (numbers - before[segment]) * self.stride


@dataclass(frozen=True, slots=True)
class WindowRows:
    """`length` rows of a series, shape (series rows, columns), from `offset` after each window's start, `every` rows
    apart."""

    series: NDArray[np.float32]
    index: WindowIndex
    offset: int
    length: int
    dtype: DTypeLike = np.float32
    every: int = 1

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        return (self.length, *self.series.shape[1:])

    def take(self, numbers: Integers) -> NDArray[Any]:
        span = (self.length - 1) * self.every + 1
        view = np.moveaxis(sliding_window_view(self.series, span, axis=0)[..., :: self.every], -1, 1)
        return view[self.index.starts(numbers) + self.offset].astype(self.dtype, copy=False)


@dataclass(frozen=True, slots=True)
class FutureRows:
    """As WindowRows, NaN where the rows lie beyond the end of the window's segment, which nobody knows yet, and
    where they are `holes` (bool, a row each)."""

    series: NDArray[np.floating[Any]]
    index: WindowIndex
    offset: int
    length: int
    holes: Any = None

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        return (self.length, *self.series.shape[1:])

    def take(self, numbers: Integers) -> NDArray[np.float32]:
        first = self.index.starts(numbers) + self.offset
        rows = first[:, None] + np.arange(self.length)
        ends = self.index.ends[self.index.segments(numbers)][:, None]
        there = np.minimum(rows, ends - 1)
        taken = self.series[there].astype(np.float32)
        taken[(rows >= ends) if self.holes is None else (rows >= ends) | self.holes[there]] = np.nan
        return taken


@dataclass(frozen=True, slots=True)
class StepRows:
    """One row of a series, or of a column, for each window: that `offset` after the window's start."""

    series: NDArray[Any]
    index: WindowIndex
    offset: int

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        return tuple(self.series.shape[1:])

    def take(self, numbers: Integers) -> NDArray[Any]:
        return self.series[self.index.starts(numbers) + self.offset]


@dataclass(frozen=True, slots=True)
class TimeRows:
    """As StepRows for times; with a `length`, for so many rows, shape (windows, length). Beyond the end of a segment
    they are what `beyond` says of its last row and of how many steps come after it."""

    times: Times
    index: WindowIndex
    offset: int
    beyond: Callable[[Integers, Integers], Times]
    length: int | None = None
    every: int = 1

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        return () if self.length is None else (self.length,)

    def take(self, numbers: Integers) -> Times:
        rows = self.index.starts(numbers) + self.offset
        last = self.index.ends[self.index.segments(numbers)] - 1
        if self.length is not None:
            rows, last = rows[:, None] + np.arange(self.length) * self.every, last[:, None]
        beyond = np.maximum(rows - last, 0)
        if not beyond.any():
            return self.times[rows]
        return self.beyond((rows - beyond).reshape(-1), beyond.reshape(-1)).reshape(rows.shape)


@dataclass(frozen=True, slots=True)
class SegmentRows:
    """The number of the segment that each window is in."""

    index: WindowIndex

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        return ()

    def take(self, numbers: Integers) -> NDArray[Any]:
        return self.index.segments(numbers)


def is_contiguous(numbers: Sequence[int]) -> bool:
    return list(numbers) == list(range(numbers[0], numbers[0] + len(numbers)))


def columns(values: NDArray[np.float32], numbers: Sequence[int] | None) -> NDArray[np.float32]:
    """Columns of a table, shape (rows, len(numbers)): a view where they lie next to each other."""
    if numbers is None:
        return values
    if is_contiguous(numbers):
        return values[:, numbers[0] : numbers[0] + len(numbers)]
    return values[:, list(numbers)]
