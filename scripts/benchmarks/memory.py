"""The memory that `check` estimates for each sample job, beside the peak that TensorFlow's allocator saw."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.support import allocator
from benchmarks.support.machine import ROOT
from benchmarks.support.options import Options
from benchmarks.support.rows import Row

AT_MOST = 1.25
"""The larger of the two by the smaller."""

RUNS = 5
"""Of each job, each of some dozens of steps, of which the worst counts: TensorFlow runs the operations of a step in
whichever order they are ready."""


def measure(options: Options) -> list[Row]:
    files = sorted((ROOT / "jobs").glob("*.yaml"))
    is_quick = options.jobs == 1
    rows = []
    for found in measured(files[-2:-1] if is_quick else files, runs=1 if is_quick else RUNS):
        row = row_of(found)
        if options.say:
            options.say(f"{row.what}: {row.median:.2f}")
        rows.append(row)
    return rows


def row_of(found: Mapping[str, Any]) -> Row:
    estimate, peak = sum(one["bytes"] for one in found["estimate"]), max(found["peaks"])
    ratio = estimate / peak
    what = f"{found['name']}: estimated {estimate / 1e3:,.0f} kB, measured {peak / 1e3:,.0f} kB ({ratio - 1:+.0%})"
    return Row(what, "ratio", (max(ratio, 1 / ratio),), AT_MOST)


def measured(files: Sequence[Path], runs: int) -> Iterator[dict[str, Any]]:
    """`name`, `estimate` (the parts) and `peaks` in bytes of each job of the files."""
    with tempfile.TemporaryDirectory(prefix="gj-") as scratch:
        library = Path(scratch) / "block_size.so"
        source = Path(allocator.__file__).with_name("block_size.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source], check=True)
        environment = {
            **os.environ,
            "LD_PRELOAD": str(library),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'scripts'}",
            "TF_ENABLE_ONEDNN_OPTS": "0",  # whose own allocator is another one
            "TMPDIR": scratch,
        }
        command = [sys.executable, "-m", "benchmarks.support.allocator", str(runs), *map(str, files)]
        running = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        with running:
            assert running.stdout is not None and running.stderr is not None
            for line in running.stdout:
                yield json.loads(line)
            errors = running.stderr.read()
        if running.returncode:
            raise RuntimeError(f"the measuring process failed: {errors[-2000:]}")
