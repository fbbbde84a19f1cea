"""Checkpoints that resume exactly, within an epoch too: every variable and the position, in one file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gpujobs import durable
from gpujobs.trainer.backends.states import states_of
from gpujobs.trainer.failures import NanLossError

FILE = "checkpoint.npz"


@dataclass(slots=True)
class Position:
    """How far a training is: a row of metrics for each whole epoch, and the batches done in the next one.

    `best`: the weights of the best epoch so far, in the order of `model.weights`, where they are wanted.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    batch: int = 0
    best: list[Any] | None = None


def variables(model: keras.Model) -> list[Any]:
    """All variables, those of seeds, states, optimizer and metrics too; the same order for the same job file.

    The metrics' exist once a step has run. Keras does not count a stateful layer's states among a model's own.
    """
    states = [state for _, state in states_of(model)]
    every = [*model.variables, *states, *model.optimizer.variables, *model.metrics_variables]
    return list({id(variable): variable for variable in every}.values())


def exists(directory: Path) -> bool:
    return (directory / FILE).exists()


def inherit(directory: Path, origin: Path) -> None:
    """Takes over the checkpoint of an earlier job, where this one has none of its own yet."""
    if exists(directory) or not exists(origin):
        return
    directory.mkdir(mode=0o700, exist_ok=True)
    durable.copy(origin / FILE, directory / FILE)


def save(directory: Path, model: keras.Model, position: Position) -> None:
    """Replaces the checkpoint atomically. Raises NanLossError, and keeps the last, where a weight is NaN."""
    arrays = {f"v{index}": np.asarray(variable) for index, variable in enumerate(variables(model))}
    if not all(np.isfinite(np.asarray(weight, np.float32)).all() for weight in model.weights):
        raise NanLossError("the weights became NaN or infinite")
    arrays |= {f"best{index}": weight for index, weight in enumerate(position.best or ())}
    state = json.dumps({"rows": position.rows, "batch": position.batch})
    directory.mkdir(mode=0o700, exist_ok=True)
    temporary = directory / f"{FILE}.tmp"
    with temporary.open("wb") as file:
        np.savez(file, state=np.array(state), **arrays)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(directory / FILE)


def restore(directory: Path, model: keras.Model) -> Position:
    """Puts the variables back. A step must have run before, so that all of them exist."""
    with np.load(directory / FILE, allow_pickle=False) as archive:
        for index, variable in enumerate(variables(model)):
            variable.assign(archive[f"v{index}"])
        count = sum(name.startswith("best") for name in archive.files)
        state = json.loads(str(archive["state"]))
        best = [archive[f"best{index}"] for index in range(count)] or None
    return Position(state["rows"], state["batch"], best)
