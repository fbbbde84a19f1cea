"""Targets in the form that the loss compares with the model's outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from gpujobs.trainer.data.fitting import classes
from gpujobs.trainer.data.fitting.counted import Placeheld, are_one_hot, without_ignored
from gpujobs.trainer.data.reading.loaded import LoadedData
from gpujobs.trainer.data.samples.rows import Mapped, Rows
from gpujobs.trainer.data.samples.samples import Samples
from gpujobs.trainer.failures import DataError

SPARSE = ("sparse_categorical_crossentropy",)


@dataclass(frozen=True, slots=True)
class Output:
    """`shape`: (None, ...). `loss`: its snake-case name. `ignored`: a label that stands for none."""

    task: str
    shape: tuple[int | None, ...]
    loss: str
    ignored: int | None = None

    @property
    def units(self) -> int:
        return int(self.shape[-1] or 1)


def shaped(
    samples: Samples,
    outputs: Mapping[str, Output],
    raw: LoadedData,
    named: Mapping[str, classes.Classes],
    window: Mapping[str, Any] | None = None,
) -> Samples:
    """`outputs`: by name, which a single target need not have. `named`: the classes of targets that have names.
    `window`: data.window, where samples are windows.

    Raises DataError where labels are outside of the classes, or numbers do not fit the output.
    """
    targets = {}
    for name, rows in samples.targets.items():
        output = name if len(outputs) > 1 else next(iter(outputs))
        one, place = outputs[output], raw.place(name)
        if one.task in ("classification", "labelling"):
            _require_units(place, named.get(name), one)
            targets[output] = _classes(place, samples, name, one)
        else:
            targets[output] = _numbers(place, samples, rows, one, window or {})
    (*names,) = targets
    counted = {name if len(outputs) > 1 else names[0]: rows for name, rows in samples.counted.items()}
    axes = {name: len(outputs[name].shape) - 1 for name in targets}
    return replace(samples, targets=targets, counted=counted, axes=axes)


def _require_units(place: str, known: classes.Classes | None, output: Output) -> None:
    """An output for each class; one is enough for two of them."""
    count = 0 if known is None else len(known.names)
    if known is not None and count != output.units and (count, output.units) != (2, 1):
        some = ", ".join(map(str, known.names[:10])) + (", ..." if count > 10 else "")
        raise DataError(
            f"{place}: has {count} classes ({some}), and the last layer {output.units} "
            f"unit{'s' if output.units > 1 else ''}; expected units: {1 if count == 2 else count}"
        )


def _classes(place: str, samples: Samples, name: str, output: Output) -> Rows:
    rows = samples.targets[name]
    width = rows.row_shape[-1] if rows.row_shape else None
    if width == output.units > 1 and _is_one_hot(samples, name, output):
        is_sparse = output.loss in SPARSE
        return Mapped(rows, lambda y: y.argmax(axis=-1), rows.row_shape[:-1]) if is_sparse else rows
    if width == 2 and output.units == 1 and _is_one_hot(samples, name, output):
        # The unit is that of the second class.
        rows = Mapped(rows, lambda y: y.argmax(axis=-1), rows.row_shape[:-1])
    elif width == 1 and len(rows.row_shape) == len(output.shape) - 1:
        rows = Mapped(rows, lambda y: y[..., 0], rows.row_shape[:-1])
    if len(rows.row_shape) != len(output.shape) - 2:
        per_step = len(output.shape) == 3
        advice = "" if per_step == (output.task == "labelling") else (
            ": give the last recurrent layer return_sequences: " + ("false" if per_step else "true")
        )  # fmt: skip
        if not per_step and len(rows.row_shape) == 1 and width != output.units and output.task != "labelling":
            advice = (
                ": for a class for each step say task: labelling, and return_sequences: true in the last recurrent "
                "layer"
            )
            if classes.is_binary(samples.all_of(rows)):
                advice += (
                    f"; for {width} labels of a sample, of which several may be there, task: multilabel and units: "
                    f"{width}"
                )
        if width == output.units > 1:
            advice = f", with one 1 in each row; several to a {'step' if per_step else 'sample'} are task: multilabel"
        raise DataError(
            f"{place}: has labels of shape {('samples', *rows.row_shape)}, and the model's output is "
            f"{('samples', *output.shape[1:])}; expected a class for each {'step' if per_step else 'sample'}{advice}"
        )
    if name in samples.counted and not classes.are_numbers(samples.all_of(rows), max(output.units, 2)):
        rows = Placeheld(rows, samples.counted[name])  # asks for the mask of each batch once more
    if output.ignored is not None:
        rows = Mapped(rows, partial(without_ignored, ignored=output.ignored))
    count = max(output.units, 2)
    why = f"the last layer has {output.units} unit{'s' if output.units > 1 else ''} (data.classes can name others)"
    classes.require_numbers(place, samples.all_of(rows), count, why)
    return _as_loss_wants(rows, output)


def _as_loss_wants(rows: Rows, output: Output) -> Rows:
    units, shape = output.units, rows.row_shape
    if output.loss in SPARSE:
        return Mapped(rows, lambda y: y.astype(np.int64))
    if units == 1:
        return Mapped(rows, lambda y: y[..., None].astype(np.float32), (*shape, 1))
    return Mapped(rows, lambda y: classes.one_hot(y.astype(np.int64), units), (*shape, units))


def _is_one_hot(samples: Samples, name: str, output: Output) -> bool:
    rows = samples.targets[name]
    return len(rows.row_shape) == len(output.shape) - 1 and are_one_hot(samples.all_of(rows), samples, name)


def _numbers(place: str, samples: Samples, rows: Rows, output: Output, window: Mapping[str, Any]) -> Rows:
    """Any shape with as many numbers as the output has; of multi-label zeros and ones."""
    wanted, have = output.shape[1:], rows.row_shape
    if output.task == "multilabel":
        _require_binary(place, samples, rows)
    if wanted[0] is None:
        _require_steps(place, have, wanted)
    if have == wanted or None in wanted:
        return Mapped(rows, lambda y: y.astype(np.float32, copy=False))
    if math.prod(n or 1 for n in have) != math.prod(n or 1 for n in wanted):
        raise DataError(
            f"{place}: has {_shape(have)} for each sample, and the model's output {_shape(wanted)}; expected as "
            f"many: make the last layer's units {math.prod(n or 1 for n in have)}{_last_step(have, wanted, window)}"
        )
    shape = tuple(int(n or 1) for n in wanted)
    return Mapped(rows, lambda y: y.reshape(len(y), *shape).astype(np.float32, copy=False), shape)


def _require_steps(place: str, have: tuple[int | None, ...], wanted: tuple[int | None, ...]) -> None:
    """What is said for each step of a sequence is compared with as many numbers of each."""
    has_steps, count = have[:1] == (None,), math.prod(n or 1 for n in wanted)
    if has_steps and math.prod(n or 1 for n in have) == count:
        return
    units = "s" if count > 1 else ""
    raise DataError(
        f"{place}: has {_shape(have[1:] if has_steps else have)} for each {'step' if has_steps else 'sequence'}, and "
        f"the model's output {count} number{units} for each step; expected as many for each step"
        + ("" if has_steps else ", or return_sequences: false in the last recurrent layer")
    )


def _last_step(
    have: tuple[int | None, ...], wanted: tuple[int | None, ...], window: Mapping[str, Any]
) -> str:
    """The advice for a model that says one step, where the window asks for all up to it."""
    horizon, gap = int(window.get("horizon") or 0), int(window.get("gap") or 0)
    columns = math.prod(n or 1 for n in wanted)
    if horizon < 2 or math.prod(n or 1 for n in have) != horizon * columns:
        return ""
    return f"; or, for the last of the {horizon} steps alone, say gap: {gap + horizon - 1}, horizon: 1 in data.window"


def _require_binary(place: str, samples: Samples, rows: Rows) -> None:
    y = samples.all_of(rows)
    if not classes.is_binary(y):
        raise DataError(
            f"{place}: holds {y.min():g} to {y.max():g}; expected 0 or 1 for each label, as the task is multilabel"
        )


def _shape(row: tuple[int | None, ...]) -> str:
    count = math.prod(n or 1 for n in row)
    form = f" ({' x '.join(map(str, row))})" if len(row) > 1 else ""
    return f"{count} number{'s' if count > 1 else ''}{form}"
