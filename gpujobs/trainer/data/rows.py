"""Arrays that are read row by row: what a batch needs is gathered when it is needed, and nothing before.

Every class has `take(numbers)`: the rows of these numbers, shape (len(numbers), *row_shape).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


class Rows(Protocol):
    @property
    def row_shape(self) -> tuple[int | None, ...]: ...

    def take(self, numbers: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class ArrayRows:
    """An array, in memory or mapped, shape (rows, ...)."""

    values: Any
    dtype: Any = np.float32

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        return tuple(self.values.shape[1:])

    def take(self, numbers: Any) -> Any:
        return self.values[numbers].astype(self.dtype, copy=False)


@dataclass(frozen=True, slots=True)
class WindowIndex:
    """Windows of consecutive rows within segments. Segment i has `counts[i]` windows: the first begins at
    row `first[i]`, each next one `stride` rows later. Three numbers a segment, however many windows."""

    first: Any
    counts: Any
    stride: int

    def __len__(self) -> int:
        return int(self.counts.sum())

    def segments(self, numbers: Any) -> Any:
        return np.searchsorted(np.cumsum(self.counts), numbers, side="right")

    def starts(self, numbers: Any) -> Any:
        """The first row of each window."""
        if len(self.counts) == 1:
            return self.first[0] + np.asarray(numbers) * self.stride
        segment = self.segments(numbers)
        before = np.cumsum(self.counts) - self.counts
        return self.first[segment] + (np.asarray(numbers) - before[segment]) * self.stride


@dataclass(frozen=True, slots=True)
class WindowRows:
    """`length` rows of a series, shape (series rows, columns), from `offset` after each window's start."""

    series: Any
    columns: Any
    """The columns' numbers; None: all of them."""

    index: WindowIndex
    offset: int
    length: int
    dtype: Any = np.float32

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        width = self.series.shape[1] if self.columns is None else len(self.columns)
        return (self.length, width)

    def take(self, numbers: Any) -> Any:
        rows = self.index.starts(numbers)[:, None] + np.arange(self.offset, self.offset + self.length)
        taken = self.series[rows] if self.columns is None else self.series[rows[:, :, None], self.columns]
        return taken.astype(self.dtype, copy=False)


@dataclass(frozen=True, slots=True)
class StepRows:
    """One row of a series, or of a column, for each window: that `offset` after the window's start."""

    series: Any
    index: WindowIndex
    offset: int

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        return tuple(self.series.shape[1:])

    def take(self, numbers: Any) -> Any:
        return self.series[self.index.starts(numbers) + self.offset]


@dataclass(frozen=True, slots=True)
class RaggedRows:
    """Sequences of different length, concatenated: row i is `values[begins[i] : begins[i] + lengths[i]]`.

    `change` is applied to the values that are there; the rest, on the right, is `padding`.
    """

    values: Any
    begins: Any
    lengths: Any
    padding: float = 0.0
    dtype: Any = np.float32
    change: Callable[[Any], Any] | None = None

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        return (None, *self.values.shape[1:])

    def take(self, numbers: Any) -> Any:
        lengths = self.lengths[numbers]
        longest = int(self.lengths.max())  # of all, so that every batch has one shape and is traced once
        steps = np.arange(longest)
        is_there = steps < lengths[:, None]
        taken = self.values[(self.begins[numbers][:, None] + steps)[is_there]]
        if self.change is not None:
            taken = self.change(taken)
        batch = np.full((len(lengths), longest, *taken.shape[1:]), self.padding, self.dtype)
        batch[is_there] = taken
        return batch


@dataclass(frozen=True, slots=True)
class StepMask:
    """Weights of sequences' steps: 1 where there is one, 0 on the right of it."""

    lengths: Any

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        return (None,)

    def take(self, numbers: Any) -> Any:
        steps = np.arange(int(self.lengths.max()))
        return (steps < self.lengths[numbers][:, None]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Mapped:
    """Rows changed as they are taken. `shape` is the row's afterwards, where it differs."""

    rows: Rows
    change: Callable[[Any], Any]
    shape: tuple[int | None, ...] | None = None

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        return self.rows.row_shape if self.shape is None else self.shape

    def take(self, numbers: Any) -> Any:
        return self.change(self.rows.take(numbers))
