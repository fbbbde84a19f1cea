"""What the first layers of a model ask of its inputs: ids for an embedding, a value that stands for padding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


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


def heads(job: Mapping[str, Any]) -> dict[str, InputRequirements]:
    """Of each input that a layer reads directly, by name."""
    found: dict[str, InputRequirements] = {}
    for name, layers in _chains(job):
        found[name] = _head(layers, found.get(name, InputRequirements()))
    return found


def _chains(job: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    names = names_of(job["data"].get("x", "x"))
    branches = job["model"].get("branches")
    if not branches:
        yield next(iter(names)), job["model"]["layers"]
        return
    for branch in branches.values():
        for name in branch["inputs"]:
            if name in names:
                yield name, branch["layers"]


def _head(layers: list[Any], so_far: InputRequirements) -> InputRequirements:
    if layers and "Embedding" in layers[0]:
        arguments = layers[0]["Embedding"]
        ids = min(arguments["input_dim"], so_far.ids or arguments["input_dim"])
        return InputRequirements(ids, 0.0, so_far.is_masked or bool(arguments.get("mask_zero")))
    for layer in layers:
        if "Masking" in layer:
            return InputRequirements(so_far.ids, float(layer["Masking"].get("mask_value", 0.0)), True)
    return so_far
