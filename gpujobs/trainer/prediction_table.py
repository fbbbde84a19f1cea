"""Predictions as a table for people: predictions.csv, a row for each prediction, of several steps one for each."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from gpujobs.trainer.data import Part
from gpujobs.trainer.data.arrays import Times
from gpujobs.trainer.data.fitting.counted import Labelled
from gpujobs.trainer.data.samples.ragged import Ragged
from gpujobs.trainer.data.samples.windowed import Windowed

MOST_ROWS = 1_000_000
MOST_VALUES = 10_000_000
PIECE_ROWS = 1 << 16

Columns = dict[str, Any]
"""By name, shape (samples, steps), (samples, 1) of what is said of a sample, or fewer steps, the first."""
StepsThere = dict[str, NDArray[np.bool_]]
"""By the name of a column, or of an output: which of its steps are there, shape (samples, steps), where not all are."""


def write(
    path: Path, arrays: Mapping[str, Any], part: Part, targets: Sequence[str], outputs: Sequence[str],
    scores: Collection[str] = (),
) -> bool:  # fmt: skip
    """`arrays`: of predictions.npz. `targets`: what the columns of numbers are called; `outputs`: of a model with
    several. `scores`: the outputs whose numbers are logits or margins, whatever they come to. False, and a line in the
    log, where the table would be huge."""
    values, there_of, named = Columns(), StepsThere(), len(outputs) > 1
    for output in outputs if named else [""]:
        suffix = f"_{output}" if output else ""
        own = {key: arrays[key + suffix] for key in ("y_pred", "y_class", "y_true") if key + suffix in arrays}
        own["classes"] = arrays.get("classes" + suffix)
        is_score = output in scores if output else bool(scores)
        found = _classes(own, is_score=is_score) if "y_class" in own else _numbers(own, targets, part)
        there = _there(part, output)
        for called, one in found:
            name = _unused(f"{output}_{called}" if output else called, values)
            values[name] = one
            if there is not None and one.shape == there.shape:
                there_of[name] = there
    samples = len(arrays["y_pred"])
    steps = max(one.shape[1] for one in values.values())
    columns = {**_labels(arrays, part, steps), **values}
    rows, cells = samples * steps, samples * steps * len(columns)
    if rows > MOST_ROWS or cells > MOST_VALUES:
        print(
            f"{path.stem}: {rows:,} rows of {len(columns):,} columns are in {path.stem}.npz alone; {path.name} is "
            f"written up to {MOST_ROWS:,} rows and {MOST_VALUES:,} values.",
            flush=True,
        )
        return False
    _write(path, columns, _rows(values, there_of, samples, steps), there_of if named else {})
    return True


def _unused(name: str, values: Columns) -> str:
    """The name, or, where another output has a column called so, with a number."""
    numbers = (name if number == 1 else f"{name}_{number}" for number in count(1))
    return next(one for one in numbers if one not in values)


def _labels(arrays: Mapping[str, Any], part: Part, steps: int) -> Columns:
    found: Columns = {}
    times = _times(arrays, part, steps)
    if times is not None:
        found["time"] = times
    for key in ("group", "sequence"):
        if key in arrays:
            found[key] = arrays[key][:, None]
    if not found or (steps > 1 and "time" not in found and "sequence" not in found):
        found["sample"] = np.arange(1, len(arrays["y_pred"]) + 1)[:, None]
    if steps > 1:
        found["step"] = np.broadcast_to(np.arange(1, steps + 1), (len(arrays["y_pred"]), steps))
    return found


def _times(arrays: Mapping[str, Any], part: Part, steps: int) -> Any:
    """Of each step; where only the sample has one, that."""
    if "time" not in arrays:
        return None
    times, assembled = arrays["time"][:, None], part.assembled
    if steps > 1 and isinstance(assembled, Windowed) and assembled.times is not None:
        own = part.samples.all_of(assembled.times)
        times = own if own.shape[1] == steps else times
    elif steps > 1 and isinstance(assembled, Ragged):
        times = _of_steps(assembled, part, steps)
    if assembled.raw.zone is not None and times.dtype.kind == "M":
        return _Instants(times)
    return times


class _Instants:
    """Times in UTC, which the table says."""

    def __init__(self, times: Times) -> None:
        self.times, self.shape = times, times.shape


def _of_steps(assembled: Ragged, part: Part, steps: int) -> Times:
    numbers = part.samples.at(np.arange(len(part.samples)))
    first, times = assembled.begins[numbers], assembled.raw.time
    assert times is not None
    if len(times) == len(assembled.begins):
        return times[numbers][:, None]
    return times[np.minimum(first[:, None] + np.arange(steps), len(times) - 1)]


def _numbers(own: Mapping[str, Any], targets: Sequence[str], part: Part) -> Iterator[tuple[str, Any]]:
    predicted, truth = own["y_pred"], own.get("y_true")
    horizon = part.assembled.window["horizon"] if isinstance(part.assembled, Windowed) else 1
    if predicted.ndim == 2 and horizon > 1 and predicted.shape[1] == horizon * max(1, len(targets)):
        predicted = predicted.reshape(len(predicted), horizon, -1)
    predicted = _steps(predicted)
    if truth is not None:
        truth = _steps(truth.reshape(predicted.shape) if truth.size == predicted.size else truth)
    names = targets if len(targets) == predicted.shape[-1] else numbered("y", predicted.shape[-1])
    for number, name in enumerate(names):
        if truth is not None and number < truth.shape[-1]:
            yield f"{name}_true", truth[..., number]
        yield f"{name}_predicted", predicted[..., number]


def _classes(own: Mapping[str, Any], *, is_score: bool = False) -> Iterator[tuple[str, Any]]:
    chosen, truth, scores, names = own["y_class"], own.get("y_true"), own["y_pred"], own["classes"]
    is_multilabel = chosen.shape == scores.shape
    is_share = not is_score and (scores.size == 0 or (scores.min() >= 0 and scores.max() <= 1))
    score = "p" if is_share else "score"
    scores = _steps(scores)
    labels = _names(names, scores.shape[-1], is_each=is_multilabel)
    if is_multilabel:
        chosen = _steps(chosen)
        for number, label in enumerate(labels):
            if truth is not None:
                yield f"{label}_true", _steps(truth)[..., number]
            yield f"{label}_predicted", chosen[..., number]
            yield f"{score}_{label}", scores[..., number]
        return
    two = chosen.reshape(len(chosen), -1)
    if truth is not None:
        yield "true", truth.reshape(two.shape)
    yield "predicted", two
    for number, label in enumerate(labels):
        yield f"{score}_{label}", scores[..., number]


def _names(classes: Any, count: int, *, is_each: bool) -> list[str]:
    """What the units are called; a single one that is no label (`is_each`) is that of the second of two classes."""
    if classes is not None and len(classes) == count:
        return [str(one) for one in classes]
    if count == 1 and not is_each:
        return ["1" if classes is None or len(classes) != 2 else str(classes[1])]
    return [str(number) for number in range(count)]


def numbered(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}[{number}]" for number in range(count)]


def _steps(values: Any) -> Any:
    """Shape (samples, steps, columns)."""
    if values.ndim == 1:
        return values[:, None, None]
    return (
        values[:, None]
        if values.ndim == 2
        else values.reshape(*values.shape[:2], math.prod(values.shape[2:]))
    )


def _there(part: Part, output: str) -> NDArray[np.bool_] | None:
    """Which steps of an output (\"\": the only one) are there: not what pads a sequence, or is masked. A step without
    a label is there."""
    of_outputs = part.samples.counted
    counted = of_outputs.get(output) if output else next(iter(of_outputs.values()), None)
    rows = counted.steps if isinstance(counted, Labelled) else counted
    there = None if rows is None else part.samples.all_of(rows)
    return there if there is not None and there.ndim == 2 else None


def _rows(values: Columns, there_of: StepsThere, samples: int, steps: int) -> NDArray[np.bool_]:
    """bool, shape (samples, steps): what any output has a value for."""
    found = np.zeros((samples, steps), bool)
    for name, one in values.items():
        found[:, : one.shape[1]] |= there_of.get(name, np.True_)
        if found.all():
            break
    return found


def _write(path: Path, columns: Columns, rows: NDArray[np.bool_], there_of: StepsThere) -> None:
    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow(columns)
    samples, steps = rows.shape
    with path.open("wb") as file:
        file.write(header.getvalue().encode())
        for first in range(0, samples, max(1, PIECE_ROWS // steps)):
            some = slice(first, first + max(1, PIECE_ROWS // steps))
            arrays = [
                _column(values, some, rows[some], there_of.get(name)) for name, values in columns.items()
            ]
            numbered = [
                str(number) for number in range(len(arrays))
            ]  # two columns of the data may have one name
            table = pa.table(dict(zip(numbered, arrays, strict=True)))
            pacsv.write_csv(table, file, pacsv.WriteOptions(include_header=False))


def _column(values: Any, some: slice, rows: Any, there: NDArray[np.bool_] | None) -> pa.Array:
    """What is not there, NaN, and a time that nobody knows, become an empty field."""
    is_utc = isinstance(values, _Instants)
    own = (values.times if is_utc else values)[some]
    has_all = own.shape[1] in (1, rows.shape[1])
    absent = None
    if there is not None or not has_all:
        is_there = np.ones(own.shape, bool) if there is None else there[some]
        absent = ~_spread(is_there, rows.shape)[rows]
    flat = (np.broadcast_to(own, rows.shape) if has_all else _spread(own, rows.shape))[rows]
    array = pa.array(flat, mask=absent, from_pandas=True)
    if is_utc:
        return array.cast(pa.timestamp(array.type.unit, "UTC"))
    return array


def _spread(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Nothing in the steps that are beyond its own."""
    found = np.zeros(shape, values.dtype)
    found[:, : values.shape[1]] = values
    return found
