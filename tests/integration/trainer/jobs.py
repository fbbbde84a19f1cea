"""Jobs of the tests' own text and data, run by a real trainer, and what they left behind."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gpujobs.jobfile import load
from gpujobs.paths import JobPaths
from tests.unit.trainer.data.making import write

from .conftest import Launched, ended


@dataclass
class Ran:
    """A job that has ended."""

    spec: Mapping[str, Any]
    record: Mapping[str, Any]
    log: str

    @property
    def job(self) -> JobPaths:
        return JobPaths(Path(self.spec["job_dir"]))

    def json(self, name: str) -> Any:
        return json.loads((self.job.results / name).read_text())

    @cached_property
    def metrics(self) -> dict[str, Any]:
        found: dict[str, Any] = self.json("metrics.json")
        return found

    @cached_property
    def history(self) -> dict[str, list[float]]:
        rows = list(csv.DictReader((self.job.results / "history.csv").read_text().splitlines()))
        return {name: [float(row[name]) for row in rows] for name in rows[0]}

    def predictions(self, name: str = "predictions.npz") -> dict[str, Any]:
        with np.load(self.job.results / name, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}

    def model(self) -> Any:
        """As anybody loads it."""
        import keras

        return keras.saving.load_model(self.job.results / "model.keras")

    def weights(self) -> list[Any]:
        found: list[Any] = self.model().get_weights()
        return found


def spec_of(launcher: Launched, text: str, files: Mapping[str, Any]) -> dict[str, Any]:
    """`files`: the content of each data file by its name, as `write` takes it."""
    job = load("job.yaml", text)
    spec = launcher.spec(job.resolved)
    directory = Path(spec["job_dir"])
    entries = {}
    for name in job.data_paths:
        path = directory / name
        write(path, files[name])
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        entries[name] = {"sha256": digest, "bytes": path.stat().st_size, "path": str(path), "in_place": False}
    return {**spec, "data": entries}


def run(launcher: Launched, text: str, files: Mapping[str, Any], state: str = "COMPLETED") -> Ran:
    spec = spec_of(launcher, text, files)
    paths = launcher.start(spec)
    record = ended(paths)
    ran = Ran(spec, record, paths.log.read_text())
    assert record["state"] == state, ran.log
    return ran
