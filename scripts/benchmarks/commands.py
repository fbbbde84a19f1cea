"""`status`, and `submit` of one job, beside what every click program needs to start."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from benchmarks.support.daemon import TUTORIAL_JOB, installed_command, running
from benchmarks.support.options import Options
from benchmarks.support.rows import Row, ratios
from benchmarks.support.timing import alternating, timed

AT_MOST = 3.0
BASE = 'python -c "import click"'


def measure(options: Options) -> list[Row]:
    commands = {
        BASE: [sys.executable, "-c", "import click"],
        "status": [*installed_command(), "status"],
        "submit": [*installed_command(), "submit", "--hold", str(TUTORIAL_JOB)],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    with running(options.slots, options.daemon) as daemon:

        def call(name: str) -> None:
            subprocess.run(
                commands[name], env=daemon.environment, cwd=daemon.root, check=True, stdout=subprocess.DEVNULL
            )

        for name in commands:
            call(name)  # reads the files from the disk; the tutorial's data is uploaded
        for name in alternating(list(commands), options.commands):
            seconds[name].append(timed(partial(call, name)))
    rows = [Row(name, "s", tuple(of)) for name, of in seconds.items()]
    return rows + [
        ratios(f"{name} / {BASE}", seconds[name], seconds[BASE], AT_MOST) for name in ("status", "submit")
    ]
