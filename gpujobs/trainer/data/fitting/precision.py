"""Columns whose values differ by so little that float32, in which tables are held, hardly tells them apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gpujobs.trainer.data.fitting.scaling import Pieces, Scale
from gpujobs.trainer.data.notices import n
from gpujobs.trainer.data.reading.loaded import LoadedData

STEPS = 1000
"""A width of fewer steps of float32 than this is said: scaled values are then off by up to a 2000th of it."""


NAMED = 3
"""Columns that are said one by one."""


def notices(raw: LoadedData, scales: Mapping[str, Scale], names: Sequence[str]) -> Iterator[str]:
    """`scales`: by input or target, whose columns have these `names` where it is a table."""
    for name, scale in scales.items():
        steps = np.spacing(np.abs(scale.center))
        for number in np.flatnonzero(scale.width < STEPS * steps).tolist():
            called = _called(raw, name, number, names, len(steps))
            yield f"{called}: {_said(float(scale.center[number]), float(scale.width[number]), float(steps[number]))}"


def unscaled(raw: LoadedData, values: Mapping[str, Pieces], names: Sequence[str]) -> Iterator[str]:
    """Of inputs and targets that stay as they are, by name, by their first piece: a whole pass would cost more than it
    could tell."""
    for name, pieces in values.items():
        first = np.asarray(next(iter(pieces()), ()), np.float32)
        if not len(first):
            continue
        low, high = np.fmin.reduce(first, axis=0), np.fmax.reduce(first, axis=0)
        steps, width = np.spacing(np.fmax(np.abs(low), np.abs(high))), high - low
        is_near = np.where(width > 0, width < STEPS * steps, steps >= 1)
        numbers = [
            one for one in np.flatnonzero(is_near).tolist() if steps[one] > 1 or _has_fractions(first[:, one])
        ]
        for number in numbers[:NAMED]:
            lie = (
                f"its values lie about {low[number]:.7g}, spread by {width[number]:.2g}"
                if width[number] > 0
                else f"all its values are {low[number]:.7g}, or nearer to it than can be told"
            )
            yield (
                f"{_called(raw, name, number, names, len(low))}: {lie}, and numbers of 32 bits have steps of "
                f"{steps[number]:.3g} there: where they differ they are rounded; subtract {low[number]:.7g} in the "
                "file to keep them exact."
            )
        if len(numbers) > NAMED:
            yield f"{raw.file}: {n(len(numbers) - NAMED, 'column')} more are rounded likewise."


def _has_fractions(values: NDArray[np.float32]) -> bool:
    held = np.nan_to_num(values)
    return bool((held != np.floor(held)).any())


def _called(raw: LoadedData, name: str, number: int, names: Sequence[str], count: int) -> str:
    """A column of a table, or of an array."""
    if len(names) == count:
        return f"{raw.file}: column {names[number]}"
    return f"{raw.place(name)}{f'[{number}]' * (count > 1)}"


def _said(center: float, width: float, step: float) -> str:
    rounded = f"numbers of 32 bits have steps of {step:.2g} there"
    if width == 1.0:  # that of a constant column too
        return (
            f"all its values are {center:.7g}, or nearer to it than can be told, or spread by 1 about it: {rounded}; "
            f"where they differ, subtract {center:.7g} in the file to keep them exact."
        )
    return (
        f"its values lie about {center:.7g}, spread by {width:.2g}, and {rounded}: scaled, they are rounded; subtract "
        f"{center:.7g} in the file to keep them exact."
    )
