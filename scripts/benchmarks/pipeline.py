"""How much longer an epoch takes from files than from arrays that are in memory in the form that the model takes.

From files means: windows are cut, values scaled and sequences padded as batches are drawn. Both train the same
model with the trainer's own loop, epoch by epoch in turn; a ratio is of two neighbouring epochs. Each case has a
process of its own, since none but a trainer imports Keras.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.options import Options
from benchmarks.support.rows import Row, ratios
from benchmarks.support.specs import spec_of
from benchmarks.support.timing import timed

AT_MOST = 1.15
MAX_LENGTH = 60
"""Of a sequence; there are half as many sequences as rows of the series."""

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


def measure(options: Options) -> list[Row]:
    """Three rows of each case."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="gj-") as directory:
        root = Path(directory)
        (root / "work").mkdir()
        write_files(root, options.series)
        for case in cases()[: options.cases]:
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                files, memory = pool.submit(epochs, root, case, 3 * options.repeat).result()
            rows += [
                Row(f"{case.name}: an epoch in memory", "s", memory),
                Row(f"{case.name}: an epoch from files", "s", files),
                ratios(f"{case.name}: from files / in memory", files, memory, AT_MOST),
            ]
    return rows


def write_files(root: Path, count: int) -> None:
    """A series of `count` rows of four columns, in three formats, and sequences of different length."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    random = np.random.default_rng(0)
    values = random.normal(size=(count, 4)).cumsum(axis=0).astype(np.float32)
    np.save(root / "s.npy", values)
    table = pa.table({"t": np.arange(len(values)), **{f"v{n}": values[:, n] for n in range(4)}})
    pyarrow.csv.write_csv(table, root / "s.csv")
    pyarrow.parquet.write_table(table, root / "s.parquet")
    lengths = random.integers(5, MAX_LENGTH, count // 2)
    x = random.normal(size=(lengths.sum(), 4)).astype(np.float32)
    np.savez(root / "sequences.npz", x=x, n=lengths, y=random.normal(size=len(lengths)).astype(np.float32))


class Nobody:
    """Stands where a supervisor listens."""

    def send(self, _: Any) -> None:
        pass

    warn = send


class Never:
    """Nobody asks this training to stop."""

    is_set = False

    def check(self) -> None:
        pass


def in_memory(samples: Any) -> Any:
    """The same samples, every row of them in memory as the model takes it."""
    from gpujobs.trainer.data.samples.rows import ArrayRows

    everything = np.arange(len(samples))

    def whole(rows: Any) -> Any:
        taken = rows.take(samples.at(everything))
        return ArrayRows(taken, taken.dtype)

    inputs = {name: whole(rows) for name, rows in samples.inputs.items()}
    targets = {name: whole(rows) for name, rows in samples.targets.items()}
    return replace(samples, inputs=inputs, targets=targets, numbers=None, count=len(samples))


def epochs(root: Path, case: Case, rounds: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Seconds of each epoch: from files, and in memory, in turn."""
    os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    from gpujobs.trainer import quiet

    with quiet.without(quiet.CHATTER):
        pair = fits(root, case)
    for fit in pair:
        fit.started = fit.first = 0.0
        fit.save_when_due = lambda: None  # checkpoints take the same time in both, whenever they fall
        epoch(fit)  # traces
    times = [[timed(partial(epoch, fit)) for fit in pair] for _ in range(rounds)]
    files, memory = zip(*times, strict=True)
    return files, memory


def epoch(fit: Any) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        fit.epoch()


def fits(root: Path, case: Case) -> list[Any]:
    """Two trainings of one model: from the files, and from memory."""
    from gpujobs.jobfile import load
    from gpujobs.trainer import building, traced, train, training_loop
    from gpujobs.trainer.backends import active, configure
    from gpujobs.trainer.data import prepare

    job = load("job.yaml", case.text)
    spec = spec_of(job, root, root)
    active.take_device(spec)
    prepared = prepare(spec)
    made = []
    nobody: Any = Nobody()
    never: Any = Never()
    feeds: list[Callable[[Any], Any]] = [lambda samples: samples, in_memory]
    for feed in feeds:
        configure(job.resolved["training"])
        model = building.build(job.resolved, train.shapes(prepared.train))
        sets = train.sets_of(spec, prepared, model)
        own = traced.Traced(model, job.resolved)
        fed = replace(sets, train=feed(sets.train))
        made.append(training_loop.TrainingLoop(spec, own, fed, nobody, never))
    return made
