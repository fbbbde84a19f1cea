"""What sampling a job's device costs: a training on a GPU that is read every second, beside the same where none is.

The GPU is one that the tests' NVML library makes up, so both train on the processor, with all of its cores: what the
readings take they take from the training. Another training without sampling in each round shows what chance does.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.support.daemon import TUTORIAL_JOB, Daemon
from benchmarks.support.options import Options
from benchmarks.support.rows import Row, ratios
from benchmarks.support.timing import alternating
from gpujobs.node.probe import Probe
from tests.fake_nvml import GIB, FakeGpus, box

AT_MOST = 1.01
EPOCHS_A_SECOND = 150
"""Of the training below, about, on two cores."""

READINGS = 50
SAMPLED, NOT_SAMPLED, AGAIN = "sampled", "not sampled", "not sampled, again"


def measure(options: Options) -> list[Row]:
    seconds: dict[str, list[float]] = {SAMPLED: [], NOT_SAMPLED: [], AGAIN: []}
    with tempfile.TemporaryDirectory(prefix="gj-") as directory:
        root = Path(directory)
        gpus = box(root, 1, trainer_bytes=GIB)
        gpus.script(0, "energy", range(0, 1_000_000, 1000))
        with daemons(gpus) as (with_gpu, without):
            file = write(root, max(2, int(EPOCHS_A_SECOND * options.idle_seconds)))
            for name in alternating([SAMPLED, NOT_SAMPLED, AGAIN], options.repeat):
                seconds[name].append(train_seconds(with_gpu if name == SAMPLED else without, file))
        readings = asyncio.run(reading_seconds(gpus))
    return [
        *(Row(f"a training, {name}", "s", tuple(values)) for name, values in seconds.items()),
        ratios("sampled / not sampled", seconds[SAMPLED], seconds[NOT_SAMPLED], AT_MOST),
        ratios("not sampled, again / not sampled", seconds[AGAIN], seconds[NOT_SAMPLED]),
        Row("a reading, of which there is one a second", "s", tuple(readings), AT_MOST - 1),
    ]


@contextmanager
def daemons(gpus: FakeGpus) -> Iterator[tuple[Daemon, Daemon]]:
    """One with the GPU, and one with a CPU slot, of which there is nothing to be read."""
    pair = Daemon(1, {**gpus.environment, "GPUJOBS_REQUIRE_GPU": "0"}), Daemon(1)
    started: list[Daemon] = []
    try:
        for daemon in pair:
            daemon.start()
            started.append(daemon)
        yield pair
    finally:
        for daemon in started:
            daemon.stop()


def write(directory: Path, epochs: int) -> Path:
    path = directory / "long.yaml"
    path.write_text(
        f"name: long\ndata: {{train: {TUTORIAL_JOB.parent / 'data/tutorial.npz'}}}\n"
        "model: {layers: [LSTM: {units: 128}, Dense: {units: 4, activation: sigmoid}]}\n"
        f"training: {{loss: binary_crossentropy, epochs: {epochs}, seed: 0}}\n"
    )
    return path


def train_seconds(daemon: Daemon, file: Path) -> float:
    """Of its epochs alone, as the trainer says. Raises CalledProcessError where the job fails."""
    (job,) = daemon.submit(file)
    daemon.run("wait", job)
    metrics = json.loads((daemon.state / "results" / str(job) / "metrics.json").read_text())
    return float(metrics["train_seconds"])


async def reading_seconds(gpus: FakeGpus) -> list[float]:
    """By a probe process that is there already, as the daemon's is."""
    before = dict(os.environ)
    os.environ |= gpus.environment
    probe, taken = Probe(), []
    try:
        await probe.read()
        for _ in range(READINGS):
            began = time.perf_counter()
            await probe.read()
            taken.append(time.perf_counter() - began)
    finally:
        os.environ.clear()
        os.environ |= before
        await probe.close()
    return taken
