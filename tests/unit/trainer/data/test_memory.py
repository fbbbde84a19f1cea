"""What reading and cutting take of the memory: measured in processes of their own, whose peak is the kernel's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from gpujobs.trainer.data import memory
from gpujobs.trainer.failures import DataError

ROOT = Path(__file__).parents[4]
ROWS = 10_000_000

MEASURE = """
import json, resource, sys
from pathlib import Path
import numpy as np
from tests.unit.trainer.data.making import spec_of
from gpujobs.trainer.data import prepare
from gpujobs.trainer.failures import DataError

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))

import pandas  # pyarrow would import it on the way, where it is there
root, data, rest, room = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
spec = spec_of(root, data, {}, rest=rest)
if room:
    resource.setrlimit(resource.RLIMIT_DATA, (status("VmData") + room,) * 2)
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
try:
    samples = prepare(spec).train.samples
    chosen = np.random.default_rng(0).integers(0, len(samples), 6400, dtype=np.int32)
    total = sum(float(samples.batch(chosen[at : at + 64])[0].sum()) for at in range(0, len(chosen), 64))
    outcome = {"samples": len(samples), "total": total, "peak": status("VmHWM") - before}
except DataError as error:
    outcome = {"error": str(error)}
print(json.dumps(outcome))
"""
REST = "model: {layers: [LSTM: {units: 2}, Dense: {units: %d}]}\ntraining: {loss: mse}\n"


def measured(root: Path, data: str, units: int, room: int = 0) -> dict[str, Any]:
    """`room`: how many bytes of private memory may be taken, where not any."""
    command = [sys.executable, "-c", MEASURE, str(root), data, REST % units, str(room)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return outcome


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten million rows of two numbers, in each format; the tables say when, and of which of four series."""
    root = tmp_path_factory.mktemp("series")
    values = np.random.default_rng(0).normal(size=(ROWS, 2)).astype(np.float32)
    np.save(root / "s.npy", values)
    np.savez(root / "s.npz", x=values)
    columns = {"a": values[:, 0], "b": values[:, 1], "t": np.tile(np.arange(ROWS // 4), 4)}
    columns["g"] = pa.array(["p", "q", "r", "s"]).take(pa.array(np.repeat(np.arange(4), ROWS // 4)))
    pyarrow.parquet.write_table(pa.table(columns), root / "s.parquet")
    return root


NUMBERS = 2 * 4
TABLE = NUMBERS + 8 + 4
"""Bytes of a row: two float32; of the table also a time and the number of its series."""


@pytest.mark.parametrize(
    ("source", "row_bytes", "split", "scaling"),
    [
        ("s.npy", NUMBERS, "chronological", "standard"),
        ("s.npz", NUMBERS, "chronological", "robust"),
        ("s.npz", NUMBERS, "random", "minmax"),
        ("s.parquet, time: t, group: g, target: a, features: [a, b]", TABLE, "chronological", "standard"),
    ],
)
def test_windows_over_ten_million_rows_take_less_than_twice_the_series(
    series: Path, source: str, row_bytes: int, split: str, scaling: str
) -> None:
    data = (
        f"{{train: {source}, window: {{length: 100, horizon: 10}}, scaling: {scaling}, "
        f"split: {{method: {split}, validation: 0.1, test: 0.1}}}}"
    )
    outcome = measured(series, data, units=20 if "npy" in source or "npz" in source else 10)
    assert outcome["samples"] > 7_900_000
    assert outcome["peak"] < 2 * ROWS * row_bytes, (
        f"{outcome['peak'] / (ROWS * row_bytes):.2f} times the series"
    )


LARGE = {
    "npy": ("s.npy", NUMBERS, 20),
    "parquet": ("s.parquet, time: t, group: g, target: a, features: [a, b]", TABLE, 10),
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_series_larger_than_the_memory(series: Path, kind: str) -> None:
    """With private memory for half of it, the rest stays in files, and the batches are the same."""
    source, row_bytes, units = LARGE[kind]
    data = f"{{train: {source}, window: {{length: 100, horizon: 10}}, scaling: robust}}"
    outcome = measured(series, data, units, room=ROWS * row_bytes // 2 + (16 << 20))
    assert outcome.get("samples", 0) > 9_900_000, outcome
    assert outcome["total"] == measured(series, data, units)["total"]


def test_a_zip_bomb(tmp_path: Path) -> None:
    """A megabyte that unpacks to a gigabyte, where there is not that much."""
    np.savez_compressed(tmp_path / "b.npz", x=np.zeros((250_000_000, 1), np.float32))
    assert (tmp_path / "b.npz").stat().st_size < 2 << 20
    outcome = measured(tmp_path, "{train: b.npz, window: {length: 3}}", 1, room=64 << 20)
    assert outcome["error"].startswith(
        "b.npz: x unpack to 0.931 GiB; expected at most the memory that is free, 0.0"
    )
    assert "data.train.arrays" in outcome["error"]


def test_what_is_available() -> None:
    """Not more than the machine has free, and something."""
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    total = int(fields["MemTotal"].split()[0]) << 10
    assert 0 < memory.available_bytes() < total


def test_what_is_small_is_in_memory_and_what_is_large_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not isinstance(memory.allocate((10, 2), np.float32, tmp_path), np.memmap)
    monkeypatch.setattr(memory, "MAPPED_SHARE", 0.0)
    mapped = memory.allocate((10, 2), np.float32, tmp_path)
    mapped[:] = 1
    assert isinstance(mapped, np.memmap) and list(tmp_path.iterdir()) == []


def test_more_than_the_disk_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^claims 1000000000000 rows, 7.45e\+03 GiB; expected at most"):
        memory.allocate((10**12, 2), np.float32, tmp_path)
