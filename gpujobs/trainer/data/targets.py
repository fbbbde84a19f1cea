"""Targets in the form that the loss compares with the model's outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gpujobs.trainer.data import classes
from gpujobs.trainer.data.rows import Mapped, Rows
from gpujobs.trainer.data.samples import Samples
from gpujobs.trainer.failures import DataError

SPARSE = ("sparse_categorical_crossentropy",)
CLASS_TASKS = ("classification", "labelling")


def shaped(
    samples: Samples,
    outputs: Mapping[str, tuple[int | None, ...]],
    losses: Mapping[str, str],
    task: str,
    file: str,
) -> Samples:
    """`outputs`: the shape of each output, (None, ...); `losses`: the snake-case name of its loss.

    Raises DataError where labels are outside of the classes, or numbers do not fit the output.
    """
    if not samples.targets:
        return samples
    targets = {}
    for (name, rows), output in zip(samples.targets.items(), _by_target(samples, outputs), strict=True):
        own = (
            task
            if task != "several"
            else ("classification" if "crossentropy" in losses[output] else "regression")
        )
        place = f"{file}: array {name}"
        is_class = own in CLASS_TASKS
        targets[output] = (_classes if is_class else _numbers)(
            place, samples, rows, outputs[output], losses[output]
        )
    return replace(samples, targets=targets)


def _by_target(samples: Samples, outputs: Mapping[str, Any]) -> list[str]:
    return list(samples.targets) if len(outputs) > 1 else list(outputs)


def _classes(place: str, samples: Samples, rows: Rows, output: tuple[int | None, ...], loss: str) -> Rows:
    units = int(output[-1] or 1)
    width = rows.row_shape[-1] if rows.row_shape else None
    if width == units and units > 1 and _is_one_hot(samples, rows, output):
        return Mapped(rows, lambda y: y.argmax(axis=-1), rows.row_shape[:-1]) if loss in SPARSE else rows
    if width == 1 and len(rows.row_shape) == len(output) - 1:
        rows = Mapped(rows, lambda y: y[..., 0], rows.row_shape[:-1])
    if len(rows.row_shape) != len(output) - 2:
        raise DataError(
            f"{place}: has shape {('samples', *rows.row_shape)} and the model's output {('samples', *output[1:])}; "
            "expected a class for each " + ("sample" if len(output) == 2 else "step")
        )
    _require_labels(place, samples, rows, units)
    if loss in SPARSE:
        return Mapped(rows, lambda y: y.astype(np.int64))
    if units == 1:
        return Mapped(rows, lambda y: y[..., None].astype(np.float32), (*rows.row_shape, 1))
    return Mapped(rows, lambda y: classes.one_hot(y.astype(np.int64), units), (*rows.row_shape, units))


def _is_one_hot(samples: Samples, rows: Rows, output: tuple[int | None, ...]) -> bool:
    return len(rows.row_shape) == len(output) - 1 and classes.is_one_hot(samples.all_of(rows))


def _require_labels(place: str, samples: Samples, rows: Rows, units: int) -> None:
    classes.require_numbers(place, samples.all_of(rows), units)


def _numbers(place: str, samples: Samples, rows: Rows, output: tuple[int | None, ...], loss: str) -> Rows:
    """Any shape with as many numbers as the output has."""
    wanted = output[1:]
    have = rows.row_shape
    if have == wanted or None in wanted:
        return Mapped(rows, lambda y: y.astype(np.float32, copy=False))
    if math.prod(n or 1 for n in have) != math.prod(n or 1 for n in wanted):
        raise DataError(
            f"{place}: has {_shape(have)} for each sample, and the model's output {_shape(wanted)}; "
            f"make the last layer's units {math.prod(n or 1 for n in have)}"
        )
    shape = tuple(int(n or 1) for n in wanted)
    return Mapped(rows, lambda y: y.reshape(len(y), *shape).astype(np.float32, copy=False), shape)


def _shape(row: tuple[int | None, ...]) -> str:
    count = math.prod(n or 1 for n in row)
    form = f" ({' x '.join(map(str, row))})" if len(row) > 1 else ""
    return f"{count} number{'s' if count > 1 else ''}{form}"


def class_weights(weights: Any, samples: Samples) -> Samples:
    """`training.class_weight` as weights of samples. Raises DataError for a class that is not there."""
    if weights is None:
        return samples
    name = next(iter(samples.targets))
    y = samples.target(name)
    labels = y.argmax(axis=-1) if y.ndim > 1 and y.shape[-1] > 1 else y.reshape(len(y)).astype(np.int64)
    found, counts = np.unique(labels, return_counts=True)
    size = int(found.max()) + 1
    table: Any = np.ones(size, np.float32)
    if weights == "balanced":
        table[found] = len(labels) / (len(found) * counts)
    else:
        for label, weight in weights.items():
            if not 0 <= int(label) < size:
                raise DataError(f"training.class_weight: {label} is no class; expected 0 to {size - 1}")
            table[int(label)] = weight
    before = samples.weight
    if before is None:
        return replace(samples, weight=Mapped(samples.targets[name], lambda y: table[_labels(y)], ()))
    return replace(
        samples, weight=_Product(before, Mapped(samples.targets[name], lambda y: table[_labels(y)], ()))
    )


def _labels(y: Any) -> Any:
    return y.argmax(axis=-1) if y.ndim > 1 and y.shape[-1] > 1 else y.reshape(len(y)).astype(np.int64)


class _Product:
    """Two weights of the same samples."""

    def __init__(self, one: Rows, two: Rows) -> None:
        self._one, self._two = one, two

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        return ()

    def take(self, numbers: Any) -> Any:
        return self._one.take(numbers) * self._two.take(numbers)
