"""Runs the whole suite on every core and one more, at most four at once, and what fails there once more by itself,
which counts: deadlines are of a machine that is not shared with another test. What passed only then is named at the
end and kept in build/rerun.json; the third time that it is the same test, the suite fails: that is no accident of the
machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil

FAILED = 1
"""Pytest's exit status where it ran and some tests failed."""

MOST = 2
"""So many times may a test have to run again."""

BY_FILE = ("-p", "scripts.lib.order", "--dist", "loadfile", "--no-loadscope-reorder", "--durations", "25")
MOST_WORKERS = 4
WORKER_BYTES = 4 << 30
"""TensorFlow in the worker, and what a daemon of its starts."""

ONCE_MORE = ("--last-failed", "--last-failed-no-failures", "none")


def workers() -> int:
    """One more than there are cores, up to `MOST_WORKERS`, where the memory is enough: half of the time, a test with a
    daemon waits."""
    by_memory = psutil.virtual_memory().total // WORKER_BYTES
    return max(1, min(len(os.sched_getaffinity(0)) + 1, MOST_WORKERS, by_memory))


def run(root: Path, arguments: Sequence[str] | None = None) -> int:
    """The exit status. `arguments`: of the first run."""
    status = _pytest(root, *(arguments or ("--numprocesses", str(workers()), *BY_FILE)))
    if status != FAILED:
        return status
    failed = _last_failed(root)
    print("\nWhat failed is run once more, by itself:", flush=True)
    status = _pytest(root, *ONCE_MORE)
    again = sorted(failed - _last_failed(root))
    too_often = _told(_noted(root, again), again)
    return status or (FAILED if too_often else 0)


def _pytest(root: Path, *arguments: str) -> int:
    """What is compiled is kept, whatever the environment says: hundreds of processes import the same."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, cwd=root, env=environment, check=False).returncode


def _last_failed(root: Path) -> set[str]:
    """As pytest keeps them: the file is away where nothing has failed."""
    try:
        return set(json.loads((root / ".pytest_cache/v/cache/lastfailed").read_text()))
    except FileNotFoundError:
        return set()


def _noted(root: Path, tests: Iterable[str]) -> dict[str, list[str]]:
    """When each test had to run again, with this time."""
    path = root / "build/rerun.json"
    noted: dict[str, list[str]] = json.loads(path.read_text()) if path.exists() else {}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for test in tests:
        noted.setdefault(test, []).append(now)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(noted, indent=1, sort_keys=True) + "\n")
    return noted


def _told(noted: dict[str, list[str]], again: Sequence[str]) -> list[str]:
    """The tests that have had to run again too often. Names all that had to now."""
    if again:
        print("\nHad to run again, and passed then:")
    for test in again:
        print(f"  {test}: for the {_ordinal(len(noted[test]))} time ({', '.join(noted[test])})")
    too_often = [test for test in again if len(noted[test]) > MOST]
    if too_often:
        print(
            f"{len(too_often)} of these had to more than {MOST} times, which fails: mend the test, then take it out "
            "of build/rerun.json."
        )
    return too_often


def _ordinal(count: int) -> str:
    return {1: "1st", 2: "2nd", 3: "3rd"}.get(count, f"{count}th")


if __name__ == "__main__":
    sys.exit(run(Path.cwd()))
