"""Sequences of different length: padded on the right, batch by batch, and masked there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpujobs.trainer.data import missing, splits
from gpujobs.trainer.data.raw import Arrays
from gpujobs.trainer.data.rows import ArrayRows, RaggedRows, Rows, StepMask
from gpujobs.trainer.data.samples import CHUNK, Samples
from gpujobs.trainer.failures import DataError


@dataclass(frozen=True, slots=True)
class Ragged:
    """`begins`: the first step of each sequence in the concatenated arrays of `samples`."""

    raw: Arrays
    samples: Samples
    begins: Any

    def split(self, settings: Mapping[str, Any], labels: Any) -> dict[str, Ragged]:
        chosen = self.samples.at(np.arange(len(self.samples)))
        groups = None if self.raw.group is None else _per_sequence(self.raw.group, self.begins)[chosen]
        parts = splits.split(settings, len(self.samples), labels=labels, groups=groups, times=None)
        return {name: replace(self, samples=self.samples.only(numbers)) for name, numbers in parts.items()}

    def first(self, count: int) -> tuple[Ragged, Ragged]:
        everything = np.arange(len(self.samples))
        one, two = self.samples.only(everything[:count]), self.samples.only(everything[count:])
        return replace(self, samples=one), replace(self, samples=two)

    def x_pieces(self, name: str) -> Callable[[], Iterable[Any]]:
        return self._pieces(self.samples.inputs[name])

    def y_pieces(self, name: str) -> Callable[[], Iterable[Any]]:
        return self._pieces(self.samples.targets[name])

    def _pieces(self, rows: Any) -> Callable[[], Iterable[Any]]:
        def pieces() -> Iterable[Any]:
            for begin in range(0, len(self.samples), CHUNK):
                numbers = self.samples.at(np.arange(begin, min(begin + CHUNK, len(self.samples))))
                if isinstance(rows, RaggedRows):
                    steps = np.concatenate(
                        [np.arange(rows.begins[n], rows.begins[n] + rows.lengths[n]) for n in numbers]
                    )
                    yield rows.values[steps].reshape(len(steps), -1)
                else:
                    yield rows.take(numbers).reshape(len(numbers), -1)

        return pieces


def assemble(
    raw: Arrays, task: str, handling: str, tokens: frozenset[str], padding: float, *, label_each: bool
) -> Ragged:
    """`padding`: what stands on the right of a sequence. Raises DataError for values that are missing."""
    lengths = np.asarray(raw.lengths, np.int64)
    begins = np.cumsum(lengths) - lengths
    keep: Any = np.ones(len(lengths), bool)
    inputs: dict[str, Rows] = {}
    for name, values in raw.inputs.items():
        steps = _concatenated(values, lengths)
        if raw.x_columns is not None:
            steps = steps[:, list(raw.x_columns)]
        steps, gaps = _handled(f"{raw.file}: {name}", steps, begins, lengths, handling)
        keep &= ~gaps
        is_token = name in tokens
        if not is_token and steps.ndim == 1:
            steps = steps[:, None]
        inputs[name] = RaggedRows(steps, begins, lengths, padding, np.int32 if is_token else np.float32)
    targets = {
        name: _target(raw, name, y, begins, lengths, each=label_each or task == "labelling")
        for name, y in _targets(raw).items()
    }
    weight: Rows | None = (
        None if raw.weight is None else ArrayRows(_per_sequence(raw.weight, begins), np.float32)
    )
    if any(isinstance(one, RaggedRows) for one in targets.values()):
        weight = StepMask(lengths)
    labels: dict[str, Rows] = {}
    for key, values in (("time", raw.time), ("group", raw.group)):
        if values is not None:
            labels[key] = ArrayRows(_per_sequence(values, begins), values.dtype)
    if not keep.all():
        print(
            f"{raw.file}: {int((~keep).sum())} of {len(keep)} sequences have missing values and are left out."
        )
    numbers = None if keep.all() else np.flatnonzero(keep)
    return Ragged(raw, Samples(inputs, targets, len(lengths), numbers, weight, labels), begins)


def _concatenated(values: Any, lengths: Any) -> Any:
    """Padded sequences, shape (samples, steps, ...), one after the other without their padding."""
    if len(values) == lengths.sum() and (values.ndim < 2 or len(values) != len(lengths)):
        return values
    return values[np.arange(values.shape[1]) < lengths[:, None]]


def _handled(place: str, steps: Any, begins: Any, lengths: Any, handling: str) -> tuple[Any, Any]:
    """The steps, and which sequences have missing values that were not filled."""
    none: Any = np.zeros(len(lengths), bool)
    if handling == "error":
        missing.refuse(place, steps)
        return steps, none
    missing.refuse_infinite(place, steps)
    wrong = missing.rows_with(steps)
    if not wrong.any():
        return steps, none
    gaps = np.add.reduceat(wrong.astype(np.int64), begins) > 0
    if handling == "drop":
        return np.nan_to_num(steps), gaps
    filled = np.array(steps)
    for number in np.flatnonzero(gaps):
        missing.fill_forward(
            filled[begins[number] : begins[number] + lengths[number]].reshape(lengths[number], -1)
        )
    return filled, none


def _targets(raw: Arrays) -> dict[str, Any]:
    if raw.y_columns is None:
        return raw.targets
    (values,) = raw.inputs.values()
    return {"y": values[:, list(raw.y_columns)]}


def _target(raw: Arrays, name: str, y: Any, begins: Any, lengths: Any, *, each: bool) -> Rows:
    """One per step, or one per sequence: that of its last step, which a class may not differ from."""
    if not each:
        if len(y) == len(lengths):
            return ArrayRows(y, y.dtype)
        last = y[begins + lengths - 1]
        if y.dtype.kind in "USOiub" and (np.repeat(last, lengths, axis=0) != y).any():
            raise DataError(
                f"{raw.file}: {name}: differs within a sequence; expected one label for each, or say "
                "data.sequence.label: each"
            )
        return ArrayRows(last, y.dtype)
    steps = _concatenated(y, lengths)
    if len(steps) != lengths.sum():
        raise DataError(
            f"{raw.file}: array {name}: has shape {y.shape}; expected a label for each of {lengths.sum()} steps"
        )
    return RaggedRows(steps, begins, lengths, 0, steps.dtype)


def _per_sequence(values: Any, begins: Any) -> Any:
    return values if len(values) == len(begins) else values[begins]
