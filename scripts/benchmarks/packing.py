"""Eight jobs that each need a tenth of a device: sharing it, beside one at a time.

The device is one that the tests' NVML library makes up, so the jobs train on the processor: the ratio says what
the packing gains there, where the cores are what they share, not what a GPU would gain.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.bulk import source
from benchmarks.support.daemon import Daemon
from benchmarks.support.options import Options
from benchmarks.support.rows import Row, ratios
from benchmarks.support.timing import timed
from tests.fake_nvml import GIB, box

JOBS = 8
SIZE = 8 * GIB
"""Of each job, a tenth of the device."""


def measure(options: Options) -> list[Row]:
    jobs = min(JOBS, options.jobs)
    alone, together = [], []
    with tempfile.TemporaryDirectory(prefix="gj-") as directory:
        root = Path(directory)
        gpus = box(root, 1, total_bytes=10 * SIZE, trainer_bytes=SIZE - GIB)
        daemon = Daemon(1, {**gpus.environment, "GPUJOBS_REQUIRE_GPU": "0"})
        daemon.start()
        try:
            for _ in range(options.repeat):
                alone.append(makespan(daemon, write(root, jobs, shares=False)))
                together.append(makespan(daemon, write(root, jobs, shares=True)))
        finally:
            daemon.stop()
    return [
        Row(f"{jobs} jobs of a tenth of a device: one at a time", "s", tuple(alone)),
        Row(f"{jobs} jobs of a tenth of a device: sharing it", "s", tuple(together)),
        ratios("sharing it / one at a time", together, alone, at_most=1.0),
    ]


def write(directory: Path, jobs: int, *, shares: bool) -> list[Path]:
    paths = [directory / f"{'tenth' if shares else 'whole'}-{number}.yaml" for number in range(jobs)]
    for path in paths:
        text = source(path.stem)
        own = f"  gpu_memory: {SIZE // GIB}GiB\n" if shares else ""
        path.write_text(text.replace("resources:\n", f"resources:\n{own}"))
    return paths


def makespan(daemon: Daemon, files: list[Path]) -> float:
    """Seconds from the submission of all to the end of the last. Raises RuntimeError where one fails."""
    jobs: list[int] = []

    def work() -> None:
        jobs.extend(daemon.submit(*files))
        daemon.run("wait", *jobs)

    return timed(work)
