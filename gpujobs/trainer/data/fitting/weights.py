"""`training.class_weight` as weights of samples, or of the steps of sequences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpujobs.trainer.data.arrays import Integers
from gpujobs.trainer.data.fitting.classes import Classes
from gpujobs.trainer.data.fitting.targets import SPARSE, Output
from gpujobs.trainer.data.samples.rows import Mapped, Rows
from gpujobs.trainer.data.samples.samples import Samples
from gpujobs.trainer.failures import DataError


def class_weights(weights: Any, samples: Samples, output: Output, known: Classes | None) -> Samples:
    """`weights`: None, "balanced" (n / (classes * count), as scikit-learn has it), or a number by class; a class
    that is not named has 1. `samples`: with targets as the loss of the only output wants them.

    Raises DataError for a class that is not there.
    """
    if weights is None:
        return samples
    ((_, rows),) = samples.targets.items()
    of = Labels(
        rows, len(rows.row_shape) > len(output.shape) - 2, output.units > 1 and output.loss not in SPARSE
    )
    count = max(output.units, 2)
    table = _balanced(samples, of, count) if weights == "balanced" else _given(weights, count, known)
    by_class = Mapped(of, lambda labels: table[labels], of.row_shape)
    weight = by_class if samples.weight is None else Product(samples.weight, by_class)
    return replace(samples, weight=weight)


@dataclass(frozen=True, slots=True)
class Labels:
    """The number of the class of each sample, or of each of its steps. `has_units`: the last axis is that of the
    output's units; a sequence of one step has an axis of 1, too."""

    rows: Rows
    has_units: bool
    is_one_hot: bool

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        shape = self.rows.row_shape
        return shape[:-1] if self.has_units else shape

    def take(self, numbers: Integers) -> Integers:
        y = self.rows.take(numbers)
        if self.is_one_hot:
            return y.argmax(axis=-1)
        return (y[..., 0] if self.has_units else y).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Product:
    """Two weights of the same samples; the second may have one for each step."""

    one: Rows
    other: Rows

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        return self.other.row_shape

    def take(self, numbers: Integers) -> NDArray[np.float32]:
        one, other = self.one.take(numbers), self.other.take(numbers)
        return one.reshape(one.shape + (1,) * (other.ndim - one.ndim)) * other


def _balanced(samples: Samples, labels: Labels, count: int) -> NDArray[np.float32]:
    found = samples.all_of(labels)
    for rows in samples.counted.values():
        found = found[samples.all_of(rows)]
    counts = np.bincount(found.reshape(-1), minlength=count)
    there = counts > 0
    table = np.ones(count, np.float32)
    table[there] = counts.sum() / (there.sum() * counts[there])
    return table


def _given(weights: Mapping[Any, float], count: int, known: Classes | None) -> NDArray[np.float32]:
    table = np.ones(count, np.float32)
    for name, weight in weights.items():
        if known is not None:
            table[known.number("training.class_weight", name)] = weight
        elif str(name).isdecimal() and int(name) < count:
            table[int(name)] = weight
        else:
            raise DataError(
                f"training.class_weight: {name} is no class; expected numbers from 0 to {count - 1}"
            )
    return table
