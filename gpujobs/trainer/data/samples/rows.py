"""Arrays that are read row by row: what a batch needs is gathered when it is needed, and nothing before.

Every class has `take(numbers)`: the rows of these numbers, shape (len(numbers), *row_shape).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpujobs.trainer.data.arrays import Integers


class Rows(Protocol):
    @property
    def row_shape(self) -> tuple[int | None, ...]: ...

    def take(self, numbers: Integers) -> NDArray[Any]: ...


@dataclass(frozen=True, slots=True)
class ArrayRows:
    """An array, in memory or mapped, shape (rows, ...)."""

    values: NDArray[Any]
    dtype: DTypeLike = np.float32

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        return tuple(self.values.shape[1:])

    def take(self, numbers: Integers) -> NDArray[Any]:
        return self.values[numbers].astype(self.dtype, copy=False)


@dataclass(frozen=True, slots=True)
class RaggedRows:
    """Sequences of different length, concatenated: row i is `values[begins[i] : begins[i] + lengths[i]]`.

    `change` is applied to the values that are there; the rest, on the right, is `padding`.
    """

    values: NDArray[Any]
    begins: Integers
    lengths: Integers
    padding: float = 0.0
    dtype: DTypeLike = np.float32
    change: Callable[[NDArray[Any]], NDArray[Any]] | None = None

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        return (None, *self.values.shape[1:])

    def steps(self, numbers: Integers) -> Integers:
        """The numbers of all steps of these sequences, one after the other."""
        lengths = self.lengths[numbers]
        return np.repeat(self.begins[numbers] - (np.cumsum(lengths) - lengths), lengths) + np.arange(
            lengths.sum()
        )

    def take(self, numbers: Integers) -> NDArray[Any]:
        taken = self.values[self.steps(numbers)]
        if self.change is not None:
            taken = self.change(taken)
        is_there = there(self.lengths, numbers)
        batch = np.full((*is_there.shape, *taken.shape[1:]), self.padding, self.dtype)
        batch[is_there] = taken
        return batch


def there(lengths: Integers, numbers: Integers) -> NDArray[np.bool_]:
    """bool, shape (sequences, steps): false on the right of a sequence. As long as the longest of all sequences,
    so that every batch has one shape and is traced once."""
    return np.arange(int(lengths.max())) < lengths[numbers][:, None]


@dataclass(frozen=True, slots=True)
class ThereRows:
    """Which steps of sequences are there, bool: false where they are padded."""

    lengths: Integers

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        return (None,)

    def take(self, numbers: Integers) -> NDArray[np.bool_]:
        return there(self.lengths, numbers)


@dataclass(frozen=True, slots=True)
class Mapped:
    """Rows changed as they are taken. `shape` is the row's afterwards, where it differs."""

    rows: Rows
    change: Callable[[NDArray[Any]], NDArray[Any]]
    shape: tuple[int | None, ...] | None = None

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        return self.rows.row_shape if self.shape is None else self.shape

    def take(self, numbers: Integers) -> NDArray[Any]:
        return self.change(self.rows.take(numbers))
