"""Sequences of different length: padded on the right, batch by batch, and masked there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpujobs.trainer.data import missing
from gpujobs.trainer.data.arrays import Integers
from gpujobs.trainer.data.memory import pieces, row_bytes
from gpujobs.trainer.data.notices import say
from gpujobs.trainer.data.reading.input_requirements import InputRequirements
from gpujobs.trainer.data.reading.loaded import CLASS_TASKS, Coded, LoadedData
from gpujobs.trainer.data.samples import accounts
from gpujobs.trainer.data.samples.array_dataset import ArrayDataset
from gpujobs.trainer.data.samples.rows import ArrayRows, Mapped, RaggedRows, Rows
from gpujobs.trainer.data.samples.samples import Samples
from gpujobs.trainer.data.samples.windows import columns
from gpujobs.trainer.failures import DataError, together


@dataclass(frozen=True, slots=True)
class Ragged(ArrayDataset):
    """Sequences of different length. `begins`: the first step of each in the arrays of `samples`, in which
    they follow each other."""

    begins: Integers

    def of_samples(self, values: Integers) -> Integers:
        return _first(values, self.begins)

    def read_in_pieces(self, rows: Any) -> Callable[[], Iterable[NDArray[Any]]]:
        values = rows.values
        width = row_bytes(values)
        if isinstance(rows, RaggedRows):
            width *= int(rows.lengths.mean())

        def found() -> Iterable[NDArray[np.float64]]:
            for some in pieces(0, len(self.samples), width):
                numbers = self.samples.at(np.arange(some.start, some.stop))
                taken = values[rows.steps(numbers)] if isinstance(rows, RaggedRows) else rows.take(numbers)
                yield taken.reshape(len(taken), -1)

        return found


def assemble(
    raw: LoadedData,
    task: str,
    handling: str,
    heads: Mapping[str, InputRequirements],
    *,
    per_step: Collection[str],
) -> Ragged:
    """`per_step`: the targets with a value for each step. Raises DataError for values that are missing."""
    lengths = np.asarray(raw.lengths, np.int64)
    begins = np.cumsum(lengths) - lengths
    keep = np.ones(len(lengths), bool)
    inputs: dict[str, Rows] = {}
    for name, values in raw.inputs.items():
        inputs[name], gaps = _input(
            raw, name, values, begins, lengths, handling, heads.get(name, InputRequirements())
        )
        keep &= ~gaps
    targets = {}
    for name, y in _targets(raw).items():
        targets[name] = (
            _each(raw, name, y, begins, lengths, task)
            if name in per_step
            else _one(raw, name, y, begins, lengths, task)
        )
        keep &= ~_without_target(raw, name, y, targets[name], handling)
    numbers = None if keep.all() else np.flatnonzero(keep)
    weight = _weights(raw, begins, lengths, is_per_step=bool(targets) and set(targets) <= set(per_step))
    names = None if raw.sequence is None else raw.sequence.decode(_first(raw.sequence.codes, begins))
    account = accounts.of_samples(raw, keep, "sequences", names=names)
    samples = Samples(inputs, targets, len(lengths), numbers, weight, _labels(raw, begins))
    return Ragged(raw, samples, account, begins)


def _input(
    raw: LoadedData,
    name: str,
    values: NDArray[Any],
    begins: Integers,
    lengths: Integers,
    handling: str,
    head: InputRequirements,
) -> tuple[Rows, NDArray[np.bool_]]:
    """The input's rows, and which sequences have values missing that were not filled."""
    if is_static(raw, values, head):
        return ArrayRows(values), _gaps(raw, name, values, handling)
    steps = columns(concatenated(values, lengths), raw.x_columns)
    steps, gaps = _handled(raw, name, steps, begins, lengths, handling)
    if head.ids is not None:
        steps = steps[:, 0] if raw.features and steps.shape[1] == 1 else steps  # the only column of a table
        return RaggedRows(steps, begins, lengths, head.padding, np.int32), gaps
    return RaggedRows(steps if steps.ndim > 1 else steps[:, None], begins, lengths, head.padding), gaps


def is_static(raw: LoadedData, values: NDArray[Any], head: InputRequirements) -> bool:
    """Whether an input beside the sequences has facts about each, shape (sequences, facts)."""
    assert raw.lengths is not None
    is_one_each = len(values) == len(raw.lengths) and values.ndim == 2
    return len(raw.inputs) > 1 and is_one_each and head.ids is None


def concatenated(values: NDArray[Any], lengths: Integers) -> NDArray[Any]:
    """Padded sequences, shape (samples, steps, ...), one after the other without their padding."""
    if len(values) == lengths.sum() and (values.ndim < 3 or len(values) != len(lengths)):
        return values
    return values[np.arange(values.shape[1]) < lengths[:, None]]


def _handled(
    raw: LoadedData,
    name: str,
    steps: NDArray[Any],
    begins: Integers,
    lengths: Integers,
    handling: str,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The steps, and which sequences have missing values that were not filled."""
    wrong = _gaps(raw, name, steps, handling)
    none = np.zeros(len(lengths), bool)
    if not wrong.any():
        return steps, none
    gaps = np.add.reduceat(wrong.astype(np.int64), begins) > 0
    if handling == "drop":
        return steps, gaps
    filled = np.array(steps)
    numbers = np.flatnonzero(gaps).tolist()
    missing.fill(
        raw,
        name,
        (filled[begins[number] : begins[number] + lengths[number]] for number in numbers),
        lambda place: _sequence(raw, numbers[place]),
    )
    return filled, none


def _gaps(raw: LoadedData, name: str, values: NDArray[Any], handling: str) -> NDArray[np.bool_]:
    """Which rows have values missing. Raises DataError where that is an error."""
    errors = missing.wrong(raw, name, values, handling)
    if errors:
        raise together(errors)
    return np.zeros(len(values), bool) if handling == "error" else missing.rows_with(values)


def _sequence(raw: LoadedData, number: int) -> str:
    return (
        f"sequence {number + 1}"
        if raw.sequence is None
        else f"sequence {raw.sequence.decode(raw.sequence.codes)[number]}"
    )


def _targets(raw: LoadedData) -> dict[str, NDArray[Any]]:
    if raw.y_columns is None:
        return raw.targets
    (values,) = raw.inputs.values()
    return {"y": values[:, list(raw.y_columns)]}


def _one(
    raw: LoadedData,
    name: str,
    y: NDArray[Any],
    begins: Integers,
    lengths: Integers,
    task: str,
) -> Rows:
    """One label for a sequence: that of its last step, from which a class may not differ before."""
    if len(y) == len(lengths):
        return ArrayRows(y, y.dtype)
    last = y[begins + lengths - 1]
    absent = missing.rows_with(y)
    if absent.any():
        last = np.array(last)
        last[np.add.reduceat(absent, begins) > 0] = np.nan
    differs = np.repeat(last, lengths, axis=0) != y
    differs &= ~np.isnan(np.repeat(last, lengths, axis=0)) if absent.any() else True
    rows = np.flatnonzero(differs.reshape(len(y), -1).any(axis=1))
    count = len(np.unique(np.searchsorted(begins, rows, side="right")))
    which = f"differs within {count} of {len(lengths)} sequences"
    if count and task in CLASS_TASKS:
        advice = "" if task == "multilabel" else ", or say task: labelling"
        raise DataError(f"{raw.place(name)}: {which}; expected one label for each{advice}")
    if count:
        say([f"{raw.place(name)}: {which}: the number of a sequence is that of its last row."])
    return ArrayRows(last, y.dtype)


def is_padded(y: NDArray[Any], lengths: Integers) -> bool:
    """Whether a target has a value for each step of the longest sequence."""
    return y.ndim > 1 and len(y) == len(lengths) and y.shape[1] >= lengths.max()


def has_steps(raw: LoadedData, name: str) -> bool:
    """Whether a target has a value for each step, not for each sequence."""
    y, lengths = raw.targets[name], raw.lengths
    assert lengths is not None
    return is_padded(y, lengths) or len(y) == lengths.sum() != len(lengths)


def without_padding(raw: LoadedData, per_step: Collection[str]) -> LoadedData:
    """With padded targets one after the other: what stands beyond a length is no label."""
    lengths = raw.lengths
    assert lengths is not None
    targets = {
        name: concatenated(y, lengths) if name in per_step and is_padded(y, lengths) else y
        for name, y in raw.targets.items()
    }
    return replace(raw, targets=targets)


def _each(raw: LoadedData, name: str, y: Integers, begins: Integers, lengths: Integers, task: str) -> Rows:
    """A label for each step, or numbers."""
    if len(y) != lengths.sum():
        raise DataError(
            f"{raw.place(name)}: has shape {y.shape}; expected a label for each of {lengths.sum()} steps, as the "
            "task is labelling"
        )
    steps = y if task in CLASS_TASKS or y.ndim > 1 else y[:, None]
    return RaggedRows(steps, begins, lengths, 0, steps.dtype)


def _without_target(
    raw: LoadedData, name: str, y: NDArray[Any], rows: Any, handling: str
) -> NDArray[np.bool_]:
    """Which sequences lack a target. Raises DataError, with the rows of the file, where that is an error."""
    errors = missing.wrong(raw, name, y, handling) if raw.y_columns is None else _columns_wrong(raw, handling)
    if errors:
        raise together(errors)
    wrong = missing.rows_with(rows.values)
    return np.add.reduceat(wrong, rows.begins) > 0 if isinstance(rows, RaggedRows) else wrong


def _columns_wrong(raw: LoadedData, handling: str) -> list[DataError]:
    """As `missing.wrong`, of targets that are columns of a table's."""
    (values,) = raw.inputs.values()
    return missing.by_column(raw, values, handling=handling, numbers=raw.y_columns)


def _weights(raw: LoadedData, begins: Integers, lengths: Integers, *, is_per_step: bool) -> Rows | None:
    """Of sequences, or of steps."""
    weight = raw.weight
    if weight is None:
        return None
    if not is_per_step:
        if weight.ndim > 1:
            raise DataError(
                f"{raw.file}: the weights have shape {weight.shape}, one for each step, and some target one value for "
                f"each sequence; expected a weight for each of {len(begins)} sequences"
            )
        return ArrayRows(weight if len(weight) == len(begins) else _of_last(raw, weight, begins, lengths))
    weight = concatenated(weight, lengths) if weight.ndim > 1 else weight
    weight = np.repeat(weight, lengths) if len(weight) == len(lengths) else weight
    return RaggedRows(weight, begins, lengths)


def _of_last(raw: LoadedData, weight: NDArray[Any], begins: Integers, lengths: Integers) -> NDArray[Any]:
    """Of weights of rows that of each sequence's last, as its label is."""
    differ = int((np.maximum.reduceat(weight, begins) != np.minimum.reduceat(weight, begins)).sum())
    if differ:
        which = f"{differ} of {len(begins)} sequences"
        say([f"{raw.file}: weights differ within {which}: that of the last row counts."])
    return weight[begins + lengths - 1]


def _labels(raw: LoadedData, begins: Integers) -> dict[str, Rows]:
    """What people ask for with a prediction. The time of a sequence is that of its first step."""
    labels: dict[str, Rows] = {}
    if raw.time is not None:
        times = _first(raw.time, begins)
        labels["time"] = ArrayRows(times, times.dtype)
    for key, named in (("group", raw.group), ("sequence", raw.sequence)):
        if named is not None:
            labels[key] = _named(Coded(_first(named.codes, begins), named.names))
    return labels


def _named(named: Coded) -> Rows:
    return Mapped(ArrayRows(named.codes, named.codes.dtype), named.decode)


def _first(values: NDArray[Any], begins: Integers) -> NDArray[Any]:
    """Of each sequence, where there is a value for each step."""
    return values if len(values) == len(begins) else values[begins]
