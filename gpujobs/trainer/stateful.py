"""Stateful models: which sample continues which, and where states begin anew."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from gpujobs.trainer.backends import active as backend
from gpujobs.trainer.backends.states import states_of
from gpujobs.trainer.data import Samples
from gpujobs.trainer.data.arrays import Integers, as_float32
from gpujobs.trainer.failures import DataError

FITTING = 10
"""Batch sizes that are proposed at most."""


@dataclass(frozen=True, slots=True)
class Strips:
    """`positions`: batch k is samples k * batch_size to (k + 1) * batch_size; row i continues row i of the
    batch before, unless `resets` says that a series begins. Both of shape (batches, batch_size)."""

    positions: Integers
    resets: NDArray[np.bool_]

    @property
    def batches(self) -> int:
        return len(self.positions)


def require_batches(counts: Mapping[str, int], batch_size: int, file: str, *, is_series: bool) -> None:
    """`counts`: the samples of each part that is trained or validated with, by what it is called. Raises DataError with
    the sizes that fit all of them at once."""
    parts = " and ".join(f"{count} ({name})" for name, count in counts.items())
    if is_series:
        least = min(counts.values())
        if batch_size > least:
            raise DataError(
                f"{file}: {parts} windows do not fill a batch of {batch_size}; expected a batch_size of at most "
                f"{least}, which all parts fill"
            )
        return
    if all(count % batch_size == 0 for count in counts.values()):
        return
    common = math.gcd(*counts.values())
    fitting = [size for size in range(1, common + 1) if common % size == 0]
    nearest = sorted(fitting, key=lambda size: abs(size - batch_size))[:FITTING]
    advice = f"use a batch_size of {', '.join(map(str, sorted(nearest)))}, which fits all of them"
    if common == 1:
        advice += "; or parts with a common divisor: leave samples out, or choose another share"
    raise DataError(
        f"{file}: {parts} samples are no whole batches of {batch_size}, which a stateful model needs; {advice}"
    )


def strips(samples: Samples, batch_size: int, file: str, *, is_series: bool) -> Strips:
    """A series' windows are laid side by side, so that each row of the batches reads on where it stopped.
    Arrays are taken as they stand, as Keras does. Raises DataError where they do not make whole batches."""
    count = len(samples)
    positions: Integers = np.arange(count)
    if is_series:
        batches = count // batch_size
        if batches == 0:
            raise DataError(
                f"{file}: {count} windows do not fill a batch of {batch_size}; use a smaller batch_size"
            )
        if count % batch_size:
            print(
                f"{file}: the last {count % batch_size} of {count} windows do not fill a strip and are left out."
            )
        positions = positions[: batches * batch_size].reshape(batch_size, batches).T
    elif count % batch_size:
        raise DataError(
            f"{file}: {count} samples are no whole batches of {batch_size}, which a stateful model needs"
        )
    else:
        positions = positions.reshape(-1, batch_size)
    resets = np.ones(positions.shape, bool)
    resets[1:] = ~_continues(samples, positions[:-1], positions[1:], is_series=is_series)
    return Strips(positions, resets)


def chains(samples: Samples, batch_size: int, *, is_series: bool) -> list[Integers]:
    """The samples that continue each other, as arrays of positions: for predictions, one pass over each."""
    count = len(samples)
    rows = (
        [np.arange(count)] if is_series else [np.arange(row, count, batch_size) for row in range(batch_size)]
    )
    found: list[Integers] = []
    for row in rows:
        cuts = np.flatnonzero(~_continues(samples, row[:-1], row[1:], is_series=is_series)) + 1
        found += [chain for chain in np.split(row, cuts) if len(chain)]
    return found


def _continues(samples: Samples, before: Integers, after: Integers, *, is_series: bool) -> NDArray[np.bool_]:
    """bool: whether the samples at `after` go on where those at `before` end: they are of one series, and no
    window between them was left out."""
    one, other = samples.at(before), samples.at(after)
    same = np.ones(one.shape, bool)
    if samples.series is not None:
        same &= samples.series.take(one) == samples.series.take(other)
    return same & (other == one + 1) if is_series else same


class States:
    """The states of a model's stateful layers."""

    def __init__(self, model: keras.Model) -> None:
        self._variables = [state for _, state in states_of(model)]

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """Sets the states of these rows, a bool for each of the batch, to zero."""
        if not rows.any():
            return
        for variable in self._variables:
            shape = (len(rows), *[1] * (len(variable.shape) - 1))
            variable.assign(np.where(rows.reshape(shape), 0, np.asarray(variable)))

    def take(self) -> list[Any]:
        return [np.asarray(variable) for variable in self._variables]

    def put_back(self, values: list[Any]) -> None:
        for variable, value in zip(self._variables, values, strict=True):
            variable.assign(value)


def predict(
    model: keras.Model, samples: Samples, found: list[Any], wanted: Any, begin: Callable[[States], None] | None = None
) -> Any:  # fmt: skip
    """The outputs of the samples at the positions `wanted`, shape (len(wanted), ...): all chains side by side from
    states of zero, or those that `begin` puts there. `model` has the batch size len(found)."""
    states = States(model)
    states.reset(np.ones(len(found), bool))
    if begin is not None:
        begin(states)
    kept = set(np.asarray(wanted).tolist())
    longest = max(map(len, found))
    outputs_of = backend.predictor(model, longest)
    parts: dict[int, Any] = {}
    for step in range(longest):
        positions = np.array([chain[min(step, len(chain) - 1)] for chain in found])
        outputs = keras.tree.map_structure(as_float32, outputs_of(samples.x(positions)))
        for row, chain in enumerate(found):
            if step < len(chain) and int(chain[step]) in kept:
                parts[int(chain[step])] = keras.tree.map_structure(lambda one, row=row: one[row], outputs)
    ordered = [parts[position] for position in np.asarray(wanted).tolist()]
    return keras.tree.map_structure(lambda *rows: np.stack(rows), *ordered)
