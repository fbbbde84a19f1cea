"""How much longer it takes to make windows of a csv file than pyarrow takes to read it.

pyarrow reads the whole file with all threads and its defaults, and keeps every column; gpujobs looks at the file,
counts its lines, reads it with the same pyarrow into the arrays of a training, and cuts windows. A raw export of the
same numbers, with semicolons, decimal commas and days first, stands beside it. A ratio is of two neighbouring rounds.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.options import Options
from benchmarks.support.rows import Row, ratios
from benchmarks.support.specs import spec_of
from benchmarks.support.timing import timed

AT_MOST = 1.25
"""0.8 times the speed."""

JOB = """
data: {{train: {file}, time: t, target: v0, window: {{length: 48, horizon: 6}}, scaling: none}}
model: {{layers: [LSTM: {{units: 4}}, Dense: {{units: 6}}]}}
training: {{loss: mse}}
"""
LINE_BYTES = 60
PIECE = 100_000


def measure(options: Options) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="gj-") as directory:
        root = Path(directory)
        (root / "work").mkdir()
        write_files(root, options.table_bytes)
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            alone, plain, raw = pool.submit(rounds, root, options.repeat).result()
    size = f"csv, {options.table_bytes / 1e6:.0f} MB"
    return [
        Row(f"{size}: pyarrow alone", "s", alone),
        Row(f"{size}: windows", "s", plain),
        Row(f"{size}, as exported: windows", "s", raw),
        ratios(f"{size}: windows / pyarrow alone", plain, alone, AT_MOST),
        ratios(f"{size}, as exported: windows / pyarrow alone", raw, alone),
    ]


def write_files(root: Path, size: int) -> None:
    """The same rows of a time and five numbers, twice."""
    random = np.random.default_rng(0)
    rows = max(100, size // LINE_BYTES)
    begin = np.datetime64("2000-01-01T00:00:00")
    with (root / "plain.csv").open("w") as plain, (root / "raw.csv").open("w", encoding="utf-8-sig") as raw:
        plain.write("t,v0,v1,v2,v3,v4\n")
        raw.write("t;v0;v1;v2;v3;v4\n")
        for first in range(0, rows, PIECE):
            count = min(PIECE, rows - first)
            times = (begin + np.arange(first, first + count).astype("timedelta64[s]")).astype(str)
            numbers = random.normal(0, 10, (count, 5))
            for time, row in zip(times, numbers, strict=True):
                text = [f"{value:.4f}" for value in row]
                plain.write(f"{time},{','.join(text)}\n")
                day = f"{time[8:10]}.{time[5:7]}.{time[:4]} {time[11:]}"
                raw.write(f"{day};{';'.join(text).replace('.', ',')}\n")


def rounds(root: Path, count: int) -> tuple[tuple[float, ...], ...]:
    """Seconds of pyarrow, of the plain file and of the raw one, in turn."""
    import pyarrow.csv

    def alone() -> None:
        pyarrow.csv.read_csv(root / "plain.csv")

    def windows(file: str) -> None:
        first_batch(root, file)

    windows("plain.csv")  # imports, and the file is in the memory
    found = [
        (timed(alone), timed(lambda: windows("plain.csv")), timed(lambda: windows("raw.csv")))
        for _ in range(count)
    ]
    return tuple(zip(*found, strict=True))


def first_batch(root: Path, file: str) -> Any:
    from gpujobs.jobfile import load
    from gpujobs.trainer.data import prepare

    job = load("job.yaml", JOB.format(file=file))
    return prepare(spec_of(job, root, root)).train.samples.batch(np.arange(32))
