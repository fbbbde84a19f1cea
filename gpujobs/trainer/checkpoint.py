"""Checkpoints that resume exactly: every variable, the seed generators' too, in one file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

FILE = "checkpoint.npz"


def variables(model: keras.Model) -> list[Any]:
    """All variables in an order that is the same for the same job file."""
    return [*model.variables, *model.optimizer.variables]


def save(directory: Path, model: keras.Model, rows: list[dict[str, float]]) -> None:
    """Replaces the checkpoint atomically; `rows` is the history of the epochs that are done."""
    directory.mkdir(mode=0o700, exist_ok=True)
    temporary = directory / f"{FILE}.tmp"
    arrays = {f"v{index}": np.asarray(variable) for index, variable in enumerate(variables(model))}
    with temporary.open("wb") as file:
        np.savez(file, history=np.array(json.dumps(rows)), **arrays)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(directory / FILE)


def restore(directory: Path, model: keras.Model) -> list[dict[str, float]]:
    """Puts the variables back and returns the history; an empty one where there is no checkpoint."""
    path = directory / FILE
    if not path.exists():
        return []
    with np.load(path, allow_pickle=False) as archive:
        for index, variable in enumerate(variables(model)):
            variable.assign(archive[f"v{index}"])
        rows: list[dict[str, float]] = json.loads(str(archive["history"]))
    return rows
