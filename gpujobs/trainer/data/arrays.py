"""Kinds of arrays that have no one dtype."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Times: TypeAlias = NDArray[Any]
"""datetime64, int64 or float64, as the file's column of times is."""

Integers: TypeAlias = NDArray[np.integer[Any]]
"""int32 or int64: numbers of rows, samples or classes, which take the smaller type where they fit."""

Arrays: TypeAlias = NDArray[Any] | dict[str, NDArray[Any]]
"""One array, or each by the name of its input or output."""


class Batch(NamedTuple):
    """As Keras takes it; y and weight are None where there are none."""

    x: Arrays
    y: Arrays | None
    weight: Arrays | None


def as_float32(array: Any) -> NDArray[np.float32]:
    """What a model gives: neither NumPy nor Arrow writes the halves of mixed precision so that others can read them."""
    return np.asarray(array).astype(np.float32, copy=False)


def portable(values: NDArray[Any]) -> NDArray[Any]:
    """In the byte order of this machine, and of a type that Arrow has too: floats of 32 or 64 bits; times in days, or
    in seconds and finer (months and years as their first days)."""
    kind = values.dtype.newbyteorder("=")
    if kind.kind == "f" and kind.itemsize not in (4, 8):
        kind = np.dtype(np.float32 if kind.itemsize < 4 else np.float64)
    if kind.kind == "M":
        unit, _ = np.datetime_data(kind)
        known = {"Y": "D", "M": "D", "W": "D", "h": "s", "m": "s"}.get(unit, unit)
        known = known if known in ("D", "s", "ms", "us", "ns") else "ns"
        kind = np.dtype(f"M8[{known}]")
    return values.astype(kind, copy=False)
