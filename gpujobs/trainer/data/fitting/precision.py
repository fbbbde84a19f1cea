"""Columns whose values differ by so little that float32, in which tables are held, hardly tells them apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gpujobs.trainer.data.fitting.scaling import Scale
from gpujobs.trainer.data.reading.loaded import LoadedData

STEPS = 1000
"""A width of fewer steps of float32 than this is said: scaled values are then off by up to a 2000th of it."""


def notices(raw: LoadedData, scales: Mapping[str, Scale], names: Sequence[str]) -> Iterator[str]:
    """`scales`: by input or target, whose columns have these `names` where it is a table."""
    for name, scale in scales.items():
        steps = np.spacing(np.abs(scale.center))
        for number in np.flatnonzero(scale.width < STEPS * steps).tolist():
            called = (
                f"{raw.file}: column {names[number]}"
                if len(names) == len(steps)
                else f"{raw.place(name)}{f'[{number}]' * (len(steps) > 1)}"
            )
            yield f"{called}: {_said(float(scale.center[number]), float(scale.width[number]), float(steps[number]))}"


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
