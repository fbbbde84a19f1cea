"""Values that are not there (NaN) or are not finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpujobs.trainer.data.memory import pieces, row_bytes
from gpujobs.trainer.failures import DataError

LARGEST = float(np.finfo(np.float32).max)
"""Models compute in float32: what is beyond is infinite there."""

Place = Callable[[], str]
"""The file and the array or columns, for a message; a function where finding them takes a look at all values."""


def count(values: Any) -> tuple[int, int]:
    """How many values are NaN, and how many are infinite as float32."""
    if values.dtype.kind != "f":
        return 0, 0
    missing = infinite = 0
    for rows in pieces(0, len(values), row_bytes(values)):
        piece = np.asarray(values[rows])
        if np.isfinite(piece).all() and np.abs(piece).max(initial=0) <= LARGEST:
            continue
        missing += int(np.isnan(piece).sum())
        infinite += int((np.abs(piece) > LARGEST).sum())
    return missing, infinite


def refuse(place: Place, values: Any) -> None:
    """Raises DataError with the numbers of both, where there is one."""
    missing, infinite = count(values)
    if missing or infinite:
        raise DataError(
            f"{place()}: holds {missing} NaN and {infinite} infinite values; expected finite numbers: remove or "
            "replace them" + (", or say data.missing: drop or fill" if not infinite else "")
        )


def refuse_infinite(place: Place, values: Any) -> None:
    """Raises DataError: an infinity is no missing value, which could be left out or filled."""
    infinite = count(values)[1]
    if infinite:
        raise DataError(
            f"{place()}: holds {infinite} infinite values; expected finite numbers: remove or replace them"
        )


def rows_with(values: Any) -> Any:
    """bool, shape (rows,): where a value of the row is NaN."""
    found: Any = np.zeros(len(values), bool)
    if values.dtype.kind == "f":
        for rows in pieces(0, len(values), row_bytes(values)):
            piece = np.isnan(np.asarray(values[rows]))
            found[rows] = piece.reshape(len(piece), -1).any(axis=1)
    return found


def fill_forward(values: Any) -> None:
    """In place, along axis 0 of shape (steps, columns): the last value seen, before the first the first one;
    0 where there is none at all."""
    for column in values.T:
        there = np.flatnonzero(~np.isnan(column))
        if len(there) == len(column):
            continue
        if len(there) == 0:
            column[:] = 0.0
            continue
        last = np.maximum(np.searchsorted(there, np.arange(len(column)), side="right") - 1, 0)
        column[:] = column[there[last]]
