"""Arrays that are samples already: one row each, of any shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpujobs.trainer.data import missing
from gpujobs.trainer.data.arrays import Integers
from gpujobs.trainer.data.memory import allocate, pieces, row_bytes
from gpujobs.trainer.data.reading.loaded import LoadedData
from gpujobs.trainer.data.samples import accounts
from gpujobs.trainer.data.samples.array_dataset import ArrayDataset
from gpujobs.trainer.data.samples.rows import ArrayRows, Mapped, Rows
from gpujobs.trainer.data.samples.samples import Samples
from gpujobs.trainer.failures import together


class Plain(ArrayDataset):
    """Samples of one length, a row of every array each."""

    def of_samples(self, values: Integers) -> Integers:
        return values

    def x_steps(self, name: str) -> Iterable[NDArray[np.float32]]:
        """Pieces of an input as its samples have it, shape (samples, steps, ...)."""
        rows = self.samples.inputs[name]
        for some in pieces(0, len(self.samples), 4 * math.prod(size or 1 for size in rows.row_shape)):
            yield rows.take(self.samples.at(np.arange(some.start, some.stop)))

    def read_in_pieces(self, rows: Any) -> Callable[[], Iterable[NDArray[Any]]]:
        def found() -> Iterable[NDArray[Any]]:
            for some in pieces(0, len(self.samples), row_bytes(rows.values)):
                taken = rows.take(self.samples.at(np.arange(some.start, some.stop)))
                yield taken.reshape(-1, taken.shape[-1] if taken.ndim > 1 else 1)

        return found


def assemble(raw: LoadedData, handling: str, tokens: Iterable[str], scratch: Path) -> Plain:
    """`tokens`: the inputs that are ids, which stay integers. Raises DataError for values that are missing."""
    inputs = dict(raw.inputs)
    keep = np.ones(len(raw), bool)
    for name, x in inputs.items():
        gaps = _gaps(raw, name, x, handling)
        if handling == "fill" and gaps.any() and x.ndim > 2:  # facts have no step before to take a value from
            inputs[name] = _filled(raw, name, gaps, scratch)
        else:
            keep &= ~gaps
    for name, y in raw.targets.items():
        keep &= ~_gaps(raw, name, y, handling)
    samples = Samples(
        {name: ArrayRows(x, np.int32 if name in tokens else np.float32) for name, x in inputs.items()},
        {name: ArrayRows(y, y.dtype) for name, y in raw.targets.items()},
        len(raw),
        None if keep.all() else np.flatnonzero(keep),
        None if raw.weight is None else ArrayRows(raw.weight),
        _labels(raw),
        None if raw.group is None else ArrayRows(raw.group.codes, raw.group.codes.dtype),
    )
    return Plain(raw, samples, accounts.of_samples(raw, keep, "samples"))


def _gaps(raw: LoadedData, name: str, values: NDArray[Any], handling: str) -> NDArray[np.bool_]:
    """Which samples have values missing. Raises DataError where that is an error."""
    errors = missing.wrong(raw, name, values, handling)
    if errors:
        raise together(errors)
    return np.zeros(len(values), bool) if handling == "error" else missing.rows_with(values)


def _labels(raw: LoadedData) -> dict[str, Rows]:
    """What people ask for with a prediction."""
    labels: dict[str, Rows] = {}
    if raw.time is not None:
        labels["time"] = ArrayRows(raw.time, raw.time.dtype)
    if raw.group is not None:
        codes = raw.group.codes
        labels["group"] = Mapped(ArrayRows(codes, codes.dtype), raw.group.decode)
    return labels


def _filled(raw: LoadedData, name: str, gaps: NDArray[np.bool_], scratch: Path) -> NDArray[Any]:
    """In place, or, where the file itself is mapped, in a copy: within each sample, step after step."""
    x = raw.inputs[name]
    if not x.flags.writeable:
        copy = allocate(x.shape, np.float32, scratch)
        for some in pieces(0, len(x), row_bytes(x)):
            copy[some] = x[some]
        x = copy
    samples = np.flatnonzero(gaps).tolist()
    missing.fill(raw, name, (x[sample] for sample in samples), lambda number: f"sample {samples[number] + 1}")
    return x
