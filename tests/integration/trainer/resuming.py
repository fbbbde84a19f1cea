"""Trainings that are stopped, killed, and compared with one that was not."""

from __future__ import annotations

import io
import json
import os
import signal
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gpujobs.paths import AttemptPaths, JobPaths

from .conftest import ended, eventually, trainer_pid

SAMPLES = 60
"""In batches of two a paced epoch lasts 1.5 seconds: long enough to be interrupted within."""


def random_arrays(samples: int) -> dict[str, Any]:
    random = np.random.default_rng(1)
    return {
        "x": random.normal(size=(samples, 6, 1)).astype(np.float32),
        "y": random.integers(0, 4, samples),
    }


def weights(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Every array of the saved model, optimizer and all, by name."""
    found: dict[str, Any] = {}

    def visit(name: str, it: Any) -> None:
        if isinstance(it, h5py.Dataset):
            found[name] = it[()]

    path = JobPaths(Path(spec["job_dir"])).results / "model.keras"
    with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        file.visititems(
            lambda name, it: found.update({name: it[()]}) if isinstance(it, h5py.Dataset) else None
        )
    assert found
    return found


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def history(spec: Mapping[str, Any]) -> str:
    return (JobPaths(Path(spec["job_dir"])).results / "history.csv").read_text()


def stop(paths: AttemptPaths, reason: str) -> None:
    paths.stop.write_text(json.dumps({"reason": reason, "message": ""}))
    os.kill(json.loads(paths.record.read_text())["supervisor"]["pid"], signal.SIGTERM)


def kill_when_saved(paths: AttemptPaths, checkpoint: Path) -> None:
    eventually(checkpoint.exists)
    os.kill(trainer_pid(paths), signal.SIGKILL)
    assert ended(paths)["exit"]["signal"] == signal.SIGKILL
