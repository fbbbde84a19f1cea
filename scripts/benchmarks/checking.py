"""`check` of a job whose npz file has a GB, with a daemon that runs: the whole command, beside what click needs."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.commands import BASE
from benchmarks.support.daemon import installed_command, running
from benchmarks.support.options import Options
from benchmarks.support.rows import Row
from benchmarks.support.timing import alternating, timed

AT_MOST_SECONDS = 1.0
STEPS, FEATURES = 32, 8
BYTES = 1 << 30
QUICK_BYTES = 64 << 20
JOB = """data: {train: large.npz, split: {method: random, validation: 0.1}}
model: {layers: [LSTM: {units: 64}, Dense: {units: 4, activation: softmax}]}
training: {loss: sparse_categorical_crossentropy, batch_size: 128}
"""


def measure(options: Options) -> list[Row]:
    size = QUICK_BYTES if options.jobs == 1 else BYTES
    with tempfile.TemporaryDirectory(prefix="gj-") as directory:
        job = write(Path(directory), size)
        commands = {
            BASE: [sys.executable, "-c", "import click"],
            "check": [*installed_command(), "check", str(job)],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        with running(options.slots, options.daemon) as daemon:

            def call(name: str) -> None:
                subprocess.run(
                    commands[name],
                    env=daemon.environment,
                    cwd=daemon.root,
                    check=True,
                    stdout=subprocess.DEVNULL,
                )

            for name in commands:
                call(name)  # reads the files from the disk
            for name in alternating(list(commands), options.commands):
                seconds[name].append(timed(partial(call, name)))
    limits = {"check": AT_MOST_SECONDS}
    what = {"check": f"check of an npz file of {size >> 20} MiB"}
    return [Row(what.get(name, name), "s", tuple(of), limits.get(name)) for name, of in seconds.items()]


def write(directory: Path, size: int) -> Path:
    """A job file and its data: x (samples, STEPS, FEATURES) of `size` bytes, and four classes."""
    sample = STEPS * FEATURES * 4
    some = np.random.default_rng(0).random((1024, STEPS, FEATURES), np.float32)
    x = np.tile(some, (max(1, size // sample // len(some)), 1, 1))
    np.savez(directory / "large.npz", x=x, y=np.arange(len(x)) % 4)
    path = directory / "large.yaml"
    path.write_text(JOB)
    return path
