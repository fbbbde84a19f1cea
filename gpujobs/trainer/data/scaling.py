"""Scaling, fitted on the training part alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Scale:
    """Column by column: scaled = (value - center) / width. Arrays, shape (columns,)."""

    center: Any
    width: Any

    def apply(self, values: Any) -> Any:
        return (values - self.center) / self.width

    def invert(self, values: Any) -> Any:
        return values * self.width + self.center

    def only(self, columns: Any) -> Scale:
        return Scale(self.center[columns], self.width[columns])

    def to_json(self) -> dict[str, list[float]]:
        return {"center": self.center.tolist(), "width": self.width.tolist()}


def from_json(value: dict[str, list[float]]) -> Scale:
    return Scale(np.asarray(value["center"], np.float32), np.asarray(value["width"], np.float32))


def fit(method: str, pieces: Callable[[], Iterable[Any]]) -> Scale:
    """`pieces` gives the training values again and again, each time as arrays of shape (rows, columns)."""
    center, width = {"standard": _standard, "minmax": _minmax, "robust": _robust}[method](pieces)
    width = np.where(width > 0, width, 1.0)  # a constant column becomes 0
    return Scale(center.astype(np.float32), width.astype(np.float32))


def _standard(pieces: Callable[[], Iterable[Any]]) -> tuple[Any, Any]:
    """Mean and standard deviation."""
    count, total = 0, 0.0
    for piece in pieces():
        count, total = count + len(piece), total + piece.sum(axis=0, dtype=np.float64)
    mean = np.asarray(total / count)
    squares: Any = 0.0
    for piece in pieces():
        squares = squares + np.square(piece - mean).sum(axis=0)
    return mean, np.sqrt(squares / count)


def _minmax(pieces: Callable[[], Iterable[Any]]) -> tuple[Any, Any]:
    """To 0 and 1."""
    low = np.min([piece.min(axis=0) for piece in pieces()], axis=0)
    high = np.max([piece.max(axis=0) for piece in pieces()], axis=0)
    return low.astype(np.float64), high.astype(np.float64) - low


def _robust(pieces: Callable[[], Iterable[Any]]) -> tuple[Any, Any]:
    """Median and interquartile range, a column at a time."""
    columns = next(iter(pieces())).shape[1]
    found = [
        np.percentile(np.concatenate([piece[:, column] for piece in pieces()]), [25, 50, 75])
        for column in range(columns)
    ]
    low, middle, high = np.array(found, np.float64).T
    return middle, high - low


def rows_in_pieces(values: Any, chosen: Any = None) -> Callable[[], Iterable[Any]]:
    """`values`, shape (rows, columns), in pieces; only the rows of the (first, end) pairs in `chosen`."""
    spans = [(0, len(values))] if chosen is None else [(int(a), int(b)) for a, b in chosen]

    def pieces() -> Iterable[Any]:
        for first, end in spans:
            for begin in range(first, end, PIECE):
                yield np.asarray(values[begin : min(begin + PIECE, end)], np.float32)

    return pieces
