"""Scaling, fitted on the training part alone, in pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpujobs.trainer.data.arrays import Integers
from gpujobs.trainer.data.memory import pieces, row_bytes
from gpujobs.trainer.data.samples.windows import columns
from gpujobs.trainer.failures import DataError

Pieces = Callable[[], Iterable[NDArray[Any]]]
"""Gives the training values again and again, each time as arrays of shape (rows, columns)."""


NARROW = 1e-37
"""A column that is narrower counts as constant: float32 has no such widths."""

NOISE = 1e-13
"""Of its center: what rounding in float64 makes of the width of a constant column."""

BLOCK_COLUMNS = 64
"""Columns whose histograms are counted at once."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Column by column: scaled = (value - center) / width. Arrays, shape (columns,)."""

    center: NDArray[np.float32]
    width: NDArray[np.float32]

    def apply(self, values: NDArray[Any]) -> NDArray[np.floating[Any]]:
        return (values - self.center) / self.width

    def invert(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return values * self.width + self.center

    def to_json(self) -> dict[str, list[float]]:
        return {"center": self.center.tolist(), "width": self.width.tolist()}


def from_json(value: dict[str, list[float]]) -> Scale:
    return Scale(np.asarray(value["center"], np.float32), np.asarray(value["width"], np.float32))


def fit(method: str, values: Pieces, place: str) -> Scale:
    """`method`: standard, minmax or robust. `place`: the file and array, for the DataError where there is no value to
    learn from."""
    if not any(len(piece) for piece in values()):
        raise DataError(
            f"{place}: holds no value that the training part may learn scales from; expected some: give it more rows, "
            "or leave data.scaling out"
        )
    center, width = {"standard": _standard, "minmax": _minmax, "robust": _robust}[method](values)
    least = np.maximum(NARROW, NOISE * np.abs(center))
    width = np.where(width > least, width, 1.0)  # a constant column becomes 0
    return Scale(center.astype(np.float32), width.astype(np.float32))


def _standard(values: Pieces) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation."""
    count, total = 0, 0.0
    for piece in values():
        count, total = count + len(piece), total + piece.sum(axis=0, dtype=np.float64)
    mean = np.asarray(total / count)
    squares: Any = 0.0
    for piece in values():
        squares = squares + np.square(piece - mean).sum(axis=0)
    return mean, np.sqrt(squares / count)


def _minmax(values: Pieces) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """To 0 and 1."""
    low = np.min([piece.min(axis=0) for piece in values()], axis=0)
    high = np.max([piece.max(axis=0) for piece in values()], axis=0)
    return low.astype(np.float64), high.astype(np.float64) - low


def _robust(values: Pieces) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median and interquartile range."""
    count = next(iter(values())).shape[1]
    blocks = [slice(first, first + BLOCK_COLUMNS) for first in range(0, count, BLOCK_COLUMNS)]
    found = [quantiles(_only(values, block), (0.25, 0.5, 0.75)) for block in blocks]
    low, middle, high = np.concatenate(found, axis=1)
    return middle, high - low


def _only(values: Pieces, block: slice) -> Pieces:
    return lambda: (piece[:, block] for piece in values())


def quantiles(values: Pieces, shares: Sequence[float]) -> NDArray[np.float64]:
    """float64, shape (len(shares), columns): as numpy.quantile's, between neighbours linearly, but in two passes
    over float32 values and in memory that does not grow with them (a radix selection by halves of 16 bits)."""
    upper = _histograms(values)
    count = int(upper[0].sum())
    at = [share * (count - 1) for share in shares]
    ranks = sorted({int(one) for one in at} | {min(int(one) + 1, count - 1) for one in at})
    found = _select(values, upper, ranks)
    below = np.array([found[int(one)] for one in at], np.float64)
    above = np.array([found[min(int(one) + 1, count - 1)] for one in at], np.float64)
    return below + (above - below) * (np.array(at) - np.floor(at))[:, None]


def _histograms(values: Pieces) -> Integers:
    """How often each upper half occurs, shape (columns, 65536)."""
    counts: Any = 0
    for piece in values():
        upper = _sortable(piece) >> 16
        counts = counts + np.stack([np.bincount(column, minlength=1 << 16) for column in upper.T])
    return counts


def _select(values: Pieces, upper: Integers, ranks: Sequence[int]) -> dict[int, NDArray[np.float32]]:
    """The value of each rank (0: the smallest) of each column."""
    ends = upper.cumsum(axis=1)
    halves = {rank: (ends <= rank).sum(axis=1) for rank in ranks}
    lower: dict[tuple[int, int], Any] = {
        (column, half): 0 for rank in ranks for column, half in enumerate(halves[rank].tolist())
    }
    for piece in values():
        bits = _sortable(piece)
        for column, half in lower:
            chosen = bits[:, column]
            chosen = chosen[chosen >> 16 == half] & 0xFFFF
            lower[column, half] += np.bincount(chosen, minlength=1 << 16)
    found = {}
    for rank in ranks:
        own = []
        for column, half in enumerate(halves[rank].tolist()):
            before = int(ends[column, half] - upper[column, half])
            own.append(half << 16 | int((lower[column, half].cumsum() <= rank - before).sum()))
        found[rank] = _floats(np.array(own, np.uint32))
    return found


def _sortable(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """float32 as uint32 in the same order: the sign bit is turned, and negative numbers are complemented."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))


def _floats(bits: NDArray[np.uint32]) -> NDArray[np.float32]:
    return np.where(bits >> 31, bits ^ np.uint32(1 << 31), ~bits).astype(np.uint32).view(np.float32)


def rows_in_pieces(values: NDArray[np.float32], chosen: Sequence[int] | None, spans: Integers) -> Pieces:
    """`values`, shape (rows, columns): some columns (None: all) of the rows of (first, end) pairs."""

    def found() -> Iterable[NDArray[np.float32]]:
        for first, end in spans:
            for rows in pieces(int(first), int(end), row_bytes(values)):
                yield np.asarray(columns(values[rows], chosen), np.float32)

    return found
