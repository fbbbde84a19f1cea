"""What the first layers of a model ask of its inputs: ids for an embedding, a value that stands for padding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpujobs.jobfile import ways
from gpujobs.trainer.data.samples.rows import RaggedRows, Rows


def names_of(entry: str | Mapping[str, str]) -> dict[str, str]:
    """`data.x` or `data.y`: arrays by the names of inputs or outputs."""
    return {entry: entry} if isinstance(entry, str) else dict(entry)


@dataclass(frozen=True, slots=True)
class InputRequirements:
    """`ids`: how many an Embedding has, of several that read the input the smallest; None without one. `padding`: the
    value that is skipped, where `is_masked`."""

    ids: int | None = None
    padding: float = 0.0
    is_masked: bool = False


def is_there(x: NDArray[np.float32], head: InputRequirements) -> NDArray[np.bool_]:
    """bool, shape (samples, steps): the steps that are not masked; `x`: (samples, steps) of ids, else (samples,
    steps, ...), of which a step is masked where all its features are the value for that, as float32."""
    if head.ids is not None:
        return x != head.padding
    return (x != np.float32(head.padding)).reshape(*x.shape[:2], -1).any(axis=-1)


def with_steps(inputs: Mapping[str, Rows], heads: Mapping[str, InputRequirements]) -> list[str]:
    """Those of which a sample has steps: the others are facts about it, shape (samples, facts)."""
    return [
        name
        for name, rows in inputs.items()
        if len(rows.row_shape) > 1 or isinstance(rows, RaggedRows) or heads[name].ids is not None
    ]


def heads(job: Mapping[str, Any]) -> dict[str, InputRequirements]:
    """Of each input, by name, what the layers ask that read it as the file has it."""
    names = names_of(job["data"].get("x", "x"))
    if not job["model"].get("branches"):
        names = dict(list(names.items())[:1])
    found = dict.fromkeys(names, InputRequirements())
    for one in ways.readings(job, names):
        found[one.input] = _also(found[one.input], one)
    return found


def _also(so_far: InputRequirements, reading: ways.Reading) -> InputRequirements:
    arguments = reading.arguments
    if reading.kind == "Embedding":
        ids = min(arguments["input_dim"], so_far.ids or arguments["input_dim"])
        return InputRequirements(ids, 0.0, so_far.is_masked or bool(arguments.get("mask_zero")))
    return InputRequirements(so_far.ids, float(arguments.get("mask_value", 0.0)), True)
