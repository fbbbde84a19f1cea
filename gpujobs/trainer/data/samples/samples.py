"""What a training draws its batches from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpujobs.trainer.data.arrays import Arrays, Batch, Integers
from gpujobs.trainer.data.samples.rows import Rows

CHUNK = 8192
"""Rows that are taken at once where all of them are looked at."""

UNCOUNTED = -1.0
"""The weight of a step (or sample) that counts nowhere. A weight of 0 counts: Keras divides by the number of them."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Inputs and targets by name, read sample by sample.

    `numbers` are the rows that belong to these samples, in order; None: all `count`.
    `labels` says of each sample what people ask for with a prediction: its time, its group.
    `series` tells which samples continue each other, for stateful models: consecutive ones with one number.
    `counted`: by target, which samples, or which of their steps, count, bool; where it is not named, all do.
    `axes`: by target, along how many axes the loss has values: samples, and their steps; where it is not named, one.
    """

    inputs: Mapping[str, Rows]
    targets: Mapping[str, Rows]
    count: int
    numbers: Integers | None = None
    weight: Rows | None = None
    labels: Mapping[str, Rows] = field(default_factory=dict)
    series: Rows | None = None
    counted: Mapping[str, Rows] = field(default_factory=dict)
    axes: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.count if self.numbers is None else len(self.numbers)

    def at(self, positions: Integers) -> Integers:
        """The rows' numbers of the samples at these positions, 0 to len - 1."""
        return np.asarray(positions) if self.numbers is None else self.numbers[positions]

    def batch(self, positions: Integers) -> Batch:
        """As Keras takes it: an array where there is one input or output, else by name. Where not
        all count, there is a weight for each output, which is UNCOUNTED for what does not."""
        rows = self.at(positions)
        y = (
            _one_or_all({name: one.take(rows) for name, one in self.targets.items()})
            if self.targets
            else None
        )
        return Batch(self.x(positions), y, self._weights(rows))

    def _weights(self, rows: Integers) -> Arrays | None:
        weight = None if self.weight is None else self.weight.take(rows)
        if not self.counted:
            return None if weight is None else self._of_samples(weight)
        given = np.ones(len(rows), np.float32) if weight is None else weight
        return _one_or_all({name: self._marked(name, given, rows) for name in self.targets})

    def _of_samples(self, weight: NDArray[np.float32]) -> Arrays:
        """The weight of a sample is that of each of its steps; NumPy would take it for that of a step."""
        shapes = {name: (1,) * (self.axes.get(name, 1) - weight.ndim) for name in self.targets}
        if not any(shapes.values()):
            return weight
        return _one_or_all({name: weight.reshape(weight.shape + one) for name, one in shapes.items()})

    def _marked(self, name: str, weight: NDArray[np.float32], rows: Integers) -> NDArray[np.float32]:
        """With a value for each step, where the loss has one; UNCOUNTED where it does not count."""
        if name not in self.counted:
            steps = self.targets[name].row_shape[: self.axes.get(name, 1) - 1]
            return np.broadcast_to(
                weight.reshape(weight.shape + (1,) * (1 + len(steps) - weight.ndim)), (len(rows), *steps)
            )
        counts = self.counted[name].take(rows)
        shape = weight.shape + (1,) * (counts.ndim - weight.ndim)
        return np.where(counts, weight.reshape(shape), np.float32(UNCOUNTED)).astype(np.float32, copy=False)

    def x(self, positions: Integers) -> Arrays:
        rows = self.at(positions)
        return _one_or_all({name: one.take(rows) for name, one in self.inputs.items()})

    def target(self, name: str) -> NDArray[Any]:
        """Every sample's target, shape (samples, ...)."""
        return self.all_of(self.targets[name])

    def all_of(self, rows: Rows) -> NDArray[Any]:
        positions = np.arange(len(self))
        if len(self) <= CHUNK:
            return rows.take(self.at(positions))
        return np.concatenate(
            [rows.take(self.at(positions[begin : begin + CHUNK])) for begin in range(0, len(self), CHUNK)]
        )

    def first(self, count: int) -> Samples:
        """The first rows of the file, whatever part they are in."""
        return replace(self, numbers=np.arange(count))

    def only(self, positions: Integers) -> Samples:
        return replace(self, numbers=self.at(positions))


def _one_or_all(arrays: dict[str, NDArray[Any]]) -> Arrays:
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays
