"""A daemon with 64 boxes of eight GPUs and 100,000 jobs that wait: its decisions, its memory, and what looking costs.

The boxes are simulated, in a process of their own; the daemon is as it is at work. Milliseconds of a decision are of
those after a job has ended, with all that starts then; the first one, which fills the site, is told apart.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.support import many_nodes_daemon
from benchmarks.support.machine import ROOT
from benchmarks.support.options import Options
from benchmarks.support.rows import Row

NODES = 64
DECISION_AT_MOST_MS = 100.0
MEMORY_AT_MOST_MIB = 1024.0
LOOKING_AT_MOST_PERCENT = 5.0
SECONDS = 900.0


def measure(options: Options) -> list[Row]:
    nodes = min(NODES, max(4, options.longest_queue // 1000))
    found = figures(nodes, options.longest_queue, ends=5 * options.repeat, seconds=2 * options.idle_seconds)
    title = f"{nodes} nodes, {found['running']:,} jobs running, {found['waiting']:,} waiting"
    events = tuple(ms for ms, _ in found["events"])
    first, starts = max(found["first"], key=lambda one: int(one[1]))
    return [
        Row(f"{title}: one decision", "ms", events, DECISION_AT_MOST_MS),
        Row(f"the same: the decision that fills the site ({starts} starts)", "ms", (first,)),
        Row("the same: the daemon's memory, at most", "MiB", (found["rss"] / 2**20,), MEMORY_AT_MOST_MIB),
        Row(
            "the same: of a core, while nothing happens but looking",
            "%",
            (100 * found["share"],),
            LOOKING_AT_MOST_PERCENT,
        ),
        Row("the same: jobs counted by what they wait for", "ms", (found["counts_ms"],)),
    ]


def figures(nodes: int, waiting: int, ends: int, seconds: float) -> dict[str, Any]:
    """As `many_nodes_daemon` tells them."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "scripts")])
    with tempfile.TemporaryDirectory(prefix="gj-") as state:
        done = subprocess.run(
            [sys.executable, str(Path(many_nodes_daemon.__file__)), state, *map(str, (nodes, waiting, ends, seconds))],
            env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, timeout=SECONDS, check=True,
        )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found
