"""Which numbers the scales are fitted on, of the training part alone, and what is scaled by them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpujobs.jobfile.consistency import task_of_output
from gpujobs.protocol.spec import AttemptSpec
from gpujobs.trainer.data.fitting import scaling
from gpujobs.trainer.data.fitting.counted import counted, output_has_steps
from gpujobs.trainer.data.fitting.preprocessing import Preprocessing
from gpujobs.trainer.data.memory import pieces
from gpujobs.trainer.data.reading.input_requirements import InputRequirements, heads, is_there
from gpujobs.trainer.data.reading.loaded import CLASS_TASKS
from gpujobs.trainer.data.samples.plain import Plain
from gpujobs.trainer.data.samples.ragged import Ragged
from gpujobs.trainer.data.samples.rows import Mapped, RaggedRows, Rows
from gpujobs.trainer.data.samples.windowed import Windowed
from gpujobs.trainer.failures import DataError

NUDGE = np.float32(1e-6)

Assembled = Plain | Windowed | Ragged


def fitted_inputs(spec: AttemptSpec, train: Assembled) -> dict[str, scaling.Scale]:
    """Numbers are scaled; ids are not."""
    method = (spec.jobfile["data"].get("scaling") or {}).get("x", "none")
    names = (
        [] if method == "none" else [name for name in train.raw.inputs if name not in ids_of(spec.jobfile)]
    )
    return {name: scaling.fit(method, _x_pieces(spec, train, name), train.raw.place(name)) for name in names}


def unscaled_inputs(spec: AttemptSpec, train: Assembled, learned: Preprocessing) -> dict[str, scaling.Pieces]:
    """The numbers, no ids, that stay as they are."""
    ids = ids_of(spec.jobfile)
    return {n: train.x_pieces(n) for n in train.raw.inputs if n not in ids and n not in learned.x}


def unscaled_targets(
    spec: AttemptSpec, train: Assembled, learned: Preprocessing
) -> dict[str, scaling.Pieces]:
    """The numbers, no classes, that stay as they are."""
    are_numbers = [n for n in train.samples.targets if task_of_output(spec.jobfile, n) not in CLASS_TASKS]
    return {n: train.y_pieces(n) for n in are_numbers if n not in learned.y}


def _x_pieces(spec: AttemptSpec, train: Assembled, name: str) -> scaling.Pieces:
    """The steps that are there: those that Masking skips are not fitted on."""
    head = masked_heads(spec, train.samples.inputs).get(name)
    values = train.x_pieces(name) if head is None else _unmasked(train, name, head)
    if head is not None and not any(len(one) for one in values()):
        raise DataError(
            f"{train.raw.place(name)}: every step is {head.padding:g}, which Masking skips; expected some "
            "that are not"
        )
    return values


def _unmasked(train: Assembled, name: str, head: InputRequirements) -> scaling.Pieces:
    def found() -> Iterable[NDArray[np.float32]]:
        if isinstance(train, Plain):
            for some in train.x_steps(name):
                yield (taken := some[is_there(some, head)]).reshape(-1, taken.shape[-1])
        else:
            for rows in train.x_pieces(name)():
                yield rows[is_there(rows[None], head)[0]]

    return lambda: (one for one in found() if len(one))


def masked_heads(spec: AttemptSpec, inputs: Mapping[str, Rows]) -> dict[str, InputRequirements]:
    """Of the inputs whose padding the file itself has, in numbers, and Masking skips."""
    return {
        name: head
        for name, head in heads(spec.jobfile).items()
        if head.is_masked and head.ids is None and not isinstance(inputs[name], RaggedRows)
        and len(inputs[name].row_shape) > 1
    }  # fmt: skip


def fitted_targets(spec: AttemptSpec, train: Assembled) -> dict[str, scaling.Scale]:
    """Numbers are scaled; classes are not."""
    method = (spec.jobfile["data"].get("scaling") or {}).get("y", "none")
    names = [] if method == "none" else list(train.samples.targets)
    numbers = [name for name in names if task_of_output(spec.jobfile, name) not in CLASS_TASKS]
    found = counted(spec.jobfile, train.samples)
    return {
        name: scaling.fit(
            method,
            _step_pieces(train, name, found.get(name))
            if _is_by_step(spec, train, name, found)
            else train.y_pieces(name),
            train.raw.place(name),
        )
        for name in numbers
    }


def _is_by_step(spec: AttemptSpec, train: Assembled, name: str, found: Mapping[str, Rows]) -> bool:
    """Whether a target of arrays has a number for each step that goes in: then all steps have one scale."""
    samples, target = train.samples, train.samples.targets[name]
    if isinstance(target, RaggedRows) or name in found:
        return name in found and not isinstance(target, RaggedRows)
    steps = {rows.row_shape[0] for rows in samples.inputs.values() if len(rows.row_shape) > 1}
    is_one = len(target.row_shape) == 1 and target.row_shape[0] in steps
    return isinstance(train, Plain) and is_one and output_has_steps(spec.jobfile, name, samples)


def _step_pieces(train: Assembled, name: str, counts: Rows | None) -> scaling.Pieces:
    """Numbers of the steps that count (None: of all), shape (steps, columns)."""
    samples, rows = train.samples, train.samples.targets[name]

    def found() -> Iterable[Any]:
        for some in pieces(0, len(samples), 4 * math.prod(n or 1 for n in rows.row_shape)):
            numbers = samples.at(np.arange(some.start, some.stop))
            y = rows.take(numbers)
            y = y.reshape(-1) if counts is None else y[counts.take(numbers)]
            if len(y):
                yield y.reshape(len(y), -1)

    return found


def scaled_inputs(spec: AttemptSpec, inputs: Mapping[str, Rows], learned: Preprocessing) -> dict[str, Rows]:
    masked = masked_heads(spec, inputs)
    return {name: scaled(rows, learned.x.get(name), masked.get(name)) for name, rows in inputs.items()}


def scaled(rows: Rows, scale: scaling.Scale | None, masked: InputRequirements | None = None) -> Rows:
    """`masked`: of an input whose masked steps stay what they are."""
    if scale is None:
        return rows
    if masked is not None:
        return Mapped(rows, partial(_scaled_steps, scale=scale, head=masked))
    if isinstance(rows, RaggedRows):  # before padding: what stands on the right is not scaled
        return replace(rows, change=scale.apply)
    return Mapped(rows, scale.apply)


def _scaled_steps(
    x: NDArray[np.float32], scale: scaling.Scale, head: InputRequirements
) -> NDArray[np.float32]:
    """A step that is there and would become what masks is moved by a millionth, so that it stays there."""
    there = is_there(x, head)
    done = scale.apply(x)
    done[~there] = head.padding
    done[there & ~is_there(done, head)] += NUDGE * max(1.0, abs(head.padding))
    return done


def ids_of(job: Mapping[str, Any]) -> Iterable[str]:
    """The inputs that are ids for an embedding."""
    return [name for name, head in heads(job).items() if head.ids is not None]
