"""Values that are not there (NaN) or are not finite."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpujobs.trainer.failures import DataError

PIECE = 1 << 20


def count(values: Any) -> tuple[int, int]:
    """How many values are NaN, and how many infinite."""
    if values.dtype.kind != "f":
        return 0, 0
    missing = infinite = 0
    for begin in range(0, len(values), PIECE):
        piece = values[begin : begin + PIECE]
        missing += int(np.isnan(piece).sum())
        infinite += int(np.isinf(piece).sum())
    return missing, infinite


def refuse(place: str, values: Any) -> None:
    """Raises DataError with the numbers of both, where there is one."""
    missing, infinite = count(values)
    if missing or infinite:
        raise DataError(
            f"{place}: holds {missing} NaN and {infinite} infinite values; remove or replace them, or say "
            "data.missing: drop or fill"
        )


def refuse_infinite(place: str, values: Any) -> None:
    infinite = count(values)[1]
    if infinite:
        raise DataError(f"{place}: holds {infinite} infinite values; remove or replace them")


def rows_with(values: Any) -> Any:
    """bool, shape (rows,): where a value of the row is NaN."""
    if values.dtype.kind != "f":
        return np.zeros(len(values), bool)
    return np.isnan(values).reshape(len(values), -1).any(axis=1)


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
