#!/usr/bin/env python
"""How much longer an epoch takes from files (windows, scaling, padding as batches are drawn) than from arrays that are
in memory in the form that the model takes.

Usage: python scripts/benchmarks/pipeline.py [--rounds 5] [--gpu]. Both train the same model with the trainer's own
loop, epoch by epoch in turn; the ratios of neighbouring epochs are printed. It ends with code 1 where a median is
above the limit.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
LIMIT = 1.15

FORECAST = """
data: {{train: {file}, window: {{length: {length}, horizon: 6}}, scaling: standard{more}}}
model: {{layers: [LSTM: {{units: {units}}}, Dense: {{units: {outputs}}}]}}
training: {{loss: mse, batch_size: {batch}, epochs: 1000000}}
"""
SEQUENCES = """
data: {train: sequences.npz, lengths: n, scaling: {x: standard}}
model: {layers: [Masking: {mask_value: -9.0}, LSTM: {units: 32}, Dense: {units: 1}]}
training: {loss: mse, batch_size: 64, epochs: 1000000}
"""


@dataclass(frozen=True)
class Case:
    name: str
    text: str


def cases() -> list[Case]:
    table = "time: t, target: v0, features: [v0, v1, v2, v3]"
    numbers = {"length": 48, "units": 32, "outputs": 6, "batch": 64}
    return [
        Case("csv, 48 steps of 4", FORECAST.format(file="s.csv", more=f", {table}", **numbers)),
        Case("parquet, tiny model", FORECAST.format(
            file="s.parquet", more=f", {table}", length=24, units=4, outputs=6, batch=32)),
        Case("npy, mapped", FORECAST.format(file="s.npy", more="", **{**numbers, "outputs": 24})),
        Case("npy, 168 steps, batches of 256", FORECAST.format(
            file="s.npy", more="", length=168, units=32, outputs=24, batch=256)),
        Case("sequences, padded", SEQUENCES),
    ]  # fmt: skip


def write_files(root: Path) -> None:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    random = np.random.default_rng(0)
    values = random.normal(size=(12_000, 4)).cumsum(axis=0).astype(np.float32)
    np.save(root / "s.npy", values)
    table = pa.table({"t": np.arange(len(values)), **{f"v{n}": values[:, n] for n in range(4)}})
    pyarrow.csv.write_csv(table, root / "s.csv")
    pyarrow.parquet.write_table(table, root / "s.parquet")
    lengths = random.integers(5, 60, 6000)
    x = random.normal(size=(lengths.sum(), 4)).astype(np.float32)
    np.savez(root / "sequences.npz", x=x, n=lengths, y=random.normal(size=len(lengths)).astype(np.float32))


class Clock:
    """Stands where a supervisor listens, and notes when each epoch has ended."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def send(self, progress: Mapping[str, Any] = {}, **_: Any) -> None:
        if "eta_seconds" in progress and progress.get("epoch", 0) > len(self.at):
            self.at.append(time.perf_counter())


class Never:
    """Nobody asks this training to stop."""

    is_set = False

    def check(self) -> None:
        pass


def in_memory(samples: Any) -> Any:
    """The same samples, every row of them in memory as the model takes it."""
    from gpujobs.trainer.data.rows import ArrayRows

    everything = np.arange(len(samples))

    def whole(rows: Any) -> Any:
        taken = rows.take(samples.at(everything))
        return ArrayRows(taken, taken.dtype)

    inputs = {name: whole(rows) for name, rows in samples.inputs.items()}
    targets = {name: whole(rows) for name, rows in samples.targets.items()}
    return replace(samples, inputs=inputs, targets=targets, numbers=None, count=len(samples))


def fits(root: Path, case: Case, gpu: bool) -> tuple[list[Any], int]:
    """Two trainings of one model: from the files, and from memory; and the batches of an epoch."""
    from gpujobs.jobfile import load
    from gpujobs.trainer import backend, building, fitting, train
    from gpujobs.trainer.data import prepare
    from gpujobs.trainer.spec import Spec

    job = load("job.yaml", case.text)
    data = {path: {"path": str(root / path), "sha256": ""} for path in job.data_paths}
    device = {"kind": "gpu" if gpu else "cpu", "uuid": "0", "index": 0}
    spec = Spec(job.resolved, data, device, job_dir=root, require_gpu=False)
    backend.take_device(spec)
    prepared = prepare(spec)
    made = []
    for feed in (lambda samples: samples, in_memory):
        backend.configure(job.resolved["training"])
        model = building.build(job.resolved, train.shapes(prepared.train))
        sets = train.sets_of(spec, prepared, model)
        made.append(
            fitting.Fit(spec, model, replace(sets, train=feed(sets.train)), Clock(), Never())  # type: ignore[arg-type]
        )
    return made, -(-len(prepared.train.samples) // int(job.resolved["training"]["batch_size"]))


def epoch_seconds(fit: Any) -> float:
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        fit.epoch()
    return time.perf_counter() - began


def measured(root: Path, case: Case, rounds: int, gpu: bool) -> bool:
    """Prints a line; whether the median is within the limit."""
    pair, batches = fits(root, case, gpu)
    for fit in pair:
        fit.started = fit.first = 0.0
        fit.save_when_due = lambda: None  # checkpoints take the same time in both, whenever they fall
        epoch_seconds(fit)  # traces
    times = [[epoch_seconds(fit) for fit in pair] for _ in range(rounds)]
    ratios = [one / other for one, other in times]
    files, memory = (statistics.median(column) / batches * 1e3 for column in zip(*times, strict=True))
    shown = " / ".join(f"{one:.3f}" for one in (min(ratios), statistics.median(ratios), max(ratios)))
    print(
        f"{case.name:<32} {batches:>5} batches of {memory:7.3f} ms in memory, {files:7.3f} ms from files: {shown}",
        flush=True,
    )
    return statistics.median(ratios) <= LIMIT


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gpu", action="store_true", help="train on the GPU that TensorFlow sees")
    options = parser.parse_args()
    if not options.gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    print(
        f"time of an epoch from files / from memory: min / median / max of {options.rounds} (limit {LIMIT})"
    )
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "work").mkdir()
        write_files(root)
        within = [measured(root, case, options.rounds, options.gpu) for case in cases()]
    return 0 if all(within) else 1


if __name__ == "__main__":
    sys.exit(main())
