"""From nothing running to the first result: `gpujobs run` beside the plain script."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.support.batch import TUTORIAL
from benchmarks.support.daemon import TUTORIAL_JOB, environment, installed_command
from benchmarks.support.options import Options
from benchmarks.support.rows import Row, ratios
from benchmarks.support.timing import alternating, timed, until

AT_MOST = 1.3
CLOSING_SECONDS = 60.0


def measure(options: Options) -> list[Row]:
    seconds: dict[str, list[float]] = {"plain script": [], "gpujobs run": []}
    for name in alternating(list(seconds), options.repeat):
        seconds[name].append(plain_script() if name == "plain script" else gpujobs_run())
        if options.say:
            options.say(f"{name}: {seconds[name][-1]:.1f} s")
    return [
        *(Row(f"nothing running to first result: {name}", "s", tuple(of)) for name, of in seconds.items()),
        ratios("gpujobs run / plain script", seconds["gpujobs run"], seconds["plain script"], AT_MOST),
    ]


def plain_script() -> float:
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        command = [sys.executable, str(TUTORIAL), directory]
        return timed(lambda: subprocess.run(command, check=True, capture_output=True))


def gpujobs_run() -> float:
    """Until the command has ended: it has then printed the predictions and where the files are."""
    root = Path(tempfile.mkdtemp(prefix="gj-"))
    command = [*installed_command(), "run", str(TUTORIAL_JOB)]
    seconds = timed(lambda: subprocess.run(command, check=True, env=environment(root), capture_output=True))
    if not (root / "s" / "results" / "1" / "model.keras").exists():
        raise RuntimeError(f"no model in {root}")
    until(lambda: is_unlocked(root / "s" / "daemon.lock"), CLOSING_SECONDS, "the embedded daemon's end")
    shutil.rmtree(root, ignore_errors=True)
    return seconds


def is_unlocked(path: Path) -> bool:
    """The daemon holds it until its end, and must not run while the next contender does."""
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
