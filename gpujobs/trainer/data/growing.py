"""Arrays of rows whose number is not known before the last one has come."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpujobs.trainer.data.memory import MAPPED_SHARE, allocate, available_bytes


class Growing:
    """`rows`: of undefined content, as `allocate` makes them. What is not written takes no memory, so there may be more
    than are needed."""

    def __init__(self, rows: int, shape: tuple[int, ...], dtype: DTypeLike, scratch: Path) -> None:
        """`shape`: of a row. Raises DataError where there is no room for so many."""
        self._scratch = scratch
        self.rows: NDArray[Any] = allocate((rows, *shape), dtype, scratch)

    def reserve(self, count: int) -> None:
        """For at least so many rows; those that are there stay. Raises DataError where there is no room."""
        if count <= len(self.rows):
            return
        shape = (max(count, len(self.rows) * 5 // 4), *self.rows.shape[1:])
        more = math.prod(shape) * self.rows.itemsize - self.rows.nbytes
        if not isinstance(self.rows, np.memmap) and more <= MAPPED_SHARE * available_bytes():
            self.rows.resize(shape, refcheck=False)  # the kernel moves its pages, and copies nothing
            return
        held, self.rows = self.rows, allocate(shape, self.rows.dtype, self._scratch)
        self.rows[: len(held)] = held

    def first(self, count: int) -> NDArray[Any]:
        """So many rows. What was reserved beyond them is given back."""
        if not isinstance(self.rows, np.memmap) and count < len(self.rows):
            self.rows.resize((count, *self.rows.shape[1:]), refcheck=False)
        return self.rows[:count]
