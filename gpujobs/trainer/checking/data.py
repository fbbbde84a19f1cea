"""A job's data as a training would read it, with a bounded look at the values of large arrays."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpujobs.protocol.spec import AttemptSpec
from gpujobs.trainer.data import Part, Prepared, missing, prepare
from gpujobs.trainer.data.fitting.counted import labels, task_of_target
from gpujobs.trainer.data.memory import looking_at
from gpujobs.trainer.data.notices import Account, once
from gpujobs.trainer.data.prepare import all_of, read_training, to_predict
from gpujobs.trainer.data.reading import partial
from gpujobs.trainer.data.reading.input_requirements import InputRequirements, heads
from gpujobs.trainer.data.reading.loaded import CLASS_TASKS, LoadedData, place
from gpujobs.trainer.data.samples.plain import Plain
from gpujobs.trainer.data.samples.ragged import Ragged
from gpujobs.trainer.data.samples.samples import Samples
from gpujobs.trainer.data.samples.timeline import Timeline
from gpujobs.trainer.data.samples.windowed import Windowed

LOOK_BYTES = 32 << 20
"""Of each array that is larger, only so much is looked at."""

MOST_CLASSES = 1000
"""Of an output, in a report."""


@dataclass(frozen=True, slots=True)
class Looked:
    """`notices`: what a training would have said of the data in its log. `arrays`: a row of the report for each.
    `accounts`: of each file."""

    prepared: Prepared
    arrays: list[dict[str, Any]]
    notices: list[str]
    accounts: tuple[Account, ...]

    @property
    def left_out(self) -> list[dict[str, Any]]:
        return [{"file": one.file, **left.to_json()} for one in self.accounts for left in one.left_out]


def look(spec: AttemptSpec) -> Looked:
    """Raises DataError, as a training would, for the files of training, validation, test and prediction."""
    said = io.StringIO()
    accounts = []
    with looking_at(LOOK_BYTES), contextlib.redirect_stdout(said), once():
        raw = read_training(spec)
        arrays = rows(spec, raw)  # before missing values are filled
        prepared = prepare(spec, raw)
        entries = {
            entry["name"]: entry for entry in spec.jobfile.get("predict") or [] if not entry.get("source")
        }
        predicted = all_of(entries, lambda entry: to_predict(spec, entry, prepared.preprocessing))
        accounts += [part.assembled.account for part in predicted.values()]
    notices = list(dict.fromkeys(said.getvalue().splitlines()))
    return Looked(prepared, arrays, notices, (*prepared.accounts, *accounts))


def rows(spec: AttemptSpec, raw: LoadedData) -> list[dict[str, Any]]:
    """`array`, `shape`, `dtype`, `nan`, `infinite` and `looked_at` of each input and target of the training file."""
    found = []
    for name, values in [*raw.inputs.items(), *raw.targets.items()]:
        nan, infinite = missing.count(values)
        found.append(
            {
                "array": raw.called.get(name, f"array {name}").removeprefix("array ") if not raw.features
                else f"{values.shape[1] if values.ndim > 1 else 1} columns" if name in raw.inputs
                else raw.called.get(name, name),
                "shape": list(values.shape),
                "dtype": "text" if name in raw.words else str(values.dtype),
                "nan": nan,
                "infinite": infinite,
                "looked_at": _looked_at(spec, raw, name, values),
            }
        )  # fmt: skip
    return found


def _looked_at(spec: AttemptSpec, raw: LoadedData, name: str, values: Any) -> str:
    if values.nbytes <= LOOK_BYTES or name in raw.words:
        return "all"
    source = spec.jobfile["data"]["train"]
    member = raw.called.get(name, f"array {name}").removeprefix("array ") + ".npy"
    path = str(source.get("path") or "")
    part = f"{LOOK_BYTES >> 20} MiB of {values.nbytes >> 20}"
    is_whole = heads(spec.jobfile).get(name, InputRequirements()).is_masked
    if path.lower().endswith(".npz") and not is_whole and partial.is_compressed(place(spec, path), member):
        return f"the first {part}"
    return f"{part}, evenly spread"


def described(prepared: Prepared) -> dict[str, Any]:
    """What the samples are: how many for each part, their shape, windows, gaps, lengths."""
    train = prepared.train
    found: dict[str, Any] = {
        "file": train.file,
        "task": prepared.preprocessing.task,
        "samples": {name: len(part.samples) for name, part in prepared.parts.items()},
        "sample_shapes": {name: list(rows.row_shape) for name, rows in train.samples.inputs.items()},
    }
    raw = train.assembled.raw
    if raw.features:
        found["features"] = list(raw.features)
        found["target"] = list(raw.target_names)
    return found | dict(_of_kind(train))


def _of_kind(train: Part) -> Iterator[tuple[str, Any]]:
    assembled = train.assembled
    if isinstance(assembled, Windowed):
        yield "series", len(assembled.series)
        yield "gaps", _gaps(assembled)
        yield "window", dict(assembled.window)
        if assembled.timeline is not None:
            yield from _of_time(assembled.timeline)
    elif isinstance(assembled, Ragged):
        lengths = np.asarray(assembled.raw.lengths)
        yield "sequences", len(lengths)
        median = float(np.median(lengths))
        yield "lengths", {"least": int(lengths.min()), "median": median, "most": int(lengths.max())}
    elif isinstance(assembled, Plain):
        yield "left_out", assembled.samples.count - _kept(assembled)


def _gaps(assembled: Windowed) -> int:
    """Of all series but those of which nothing is left."""
    firsts = assembled.series[:, 0]
    there = np.unique(np.searchsorted(firsts, assembled.segments[:, 0], side="right"))
    return len(assembled.segments) - len(there)


def _of_time(line: Timeline) -> Iterator[tuple[str, Any]]:
    yield "steps", line.step_names
    yield "absent_rows", int(line.broken.absent[line.broken.absent > 0].sum())
    yield "doubled_times", line.doubles
    yield "timezone", line.clock.zone


def _kept(assembled: Plain) -> int:
    """Samples that have no value missing, in whichever part."""
    raw = assembled.raw
    arrays = [*raw.inputs.values(), *raw.targets.values()]
    if all(values.nbytes > LOOK_BYTES or values.dtype.kind != "f" for values in arrays):
        return assembled.samples.count
    gaps = np.zeros(assembled.samples.count, bool)
    for values in arrays:
        if values.nbytes <= LOOK_BYTES:
            gaps |= missing.rows_with(values)
    return int((~gaps).sum())


def class_counts(spec: AttemptSpec, prepared: Prepared) -> list[dict[str, Any]]:
    """`output`, `class` and `samples` of the training part for each class; labelled steps that count are each one. Of
    labels, how many samples (or steps) have each."""
    found = []
    samples = prepared.train.truth
    for name in samples.targets:
        task = task_of_target(spec.jobfile, name, samples)
        if task not in CLASS_TASKS:
            continue
        known = prepared.preprocessing.classes.get(name)
        names = None if known is None else known.names
        if task == "multilabel":
            names = names or prepared.preprocessing.target_names or None
            counts = _of_labels(samples, name)
            numbers = np.arange(len(counts))
        else:
            numbers, counts = np.unique(labels(samples, name, task), return_counts=True)
        for number, count in list(zip(numbers.tolist(), counts.tolist(), strict=True))[:MOST_CLASSES]:
            called = names[int(number)] if names is not None else int(number)
            found.append({"output": name, "class": str(called), "samples": count})
    return found


def _of_labels(samples: Samples, name: str) -> NDArray[np.int64]:
    """How many have each, of those that count."""
    y = samples.target(name)
    if name in samples.counted:
        y = y[samples.all_of(samples.counted[name])]
    found: NDArray[np.int64] = (y.reshape(-1, y.shape[-1]) == 1).sum(axis=0)
    return found
