"""Two users whose jobs take turns on one slot: no trainer takes a next job over, and no job waits for one.

As root two users of this machine are made for it, and removed; otherwise one user's jobs of two shapes take turns.
Beside it is another checkout (`--before DIRECTORY`), or this one with `resident = false`.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from benchmarks.support import baseline
from benchmarks.support.daemon import TUTORIAL_JOB, Daemon
from benchmarks.support.options import Options
from benchmarks.support.rows import Row, ratios
from benchmarks.support.timing import alternating, timed
from benchmarks.sweeps import NOW, started, write
from tests.acceptance.people import Person, cli_as, new_person

AT_MOST = 1.03
NAMES = ("gpujobs-bench-a", "gpujobs-bench-b")


def measure(options: Options) -> list[Row]:
    is_root = os.geteuid() == 0
    before = baseline.name(options)
    with ExitStack() as stack:
        daemons = {
            NOW: stack.enter_context(started(Daemon(1, is_site=is_root))),
            before: stack.enter_context(started(baseline.daemon(options, 1, is_site=is_root))),
        }
        homes = Path(stack.enter_context(directory()))
        people = [stack.enter_context(new_person(name, homes / name)) for name in NAMES if is_root]
        found: dict[str, list[float]] = {name: [] for name in daemons}
        for name in alternating(list(found), options.repeat):
            submit = by_users(daemons[name], people) if is_root else by_shapes(daemons[name])
            found[name].append(makespan(daemons[name], submit, options.jobs))
    title = f"{options.jobs} jobs of two {'users' if is_root else 'shapes'} in turn, one slot"
    rows = [Row(f"{title}: {name}", "s", tuple(values)) for name, values in found.items()]
    return [*rows, ratios(f"{title}: {NOW} / {before}", found[NOW], found[before], AT_MOST)]


@contextmanager
def directory() -> Iterator[str]:
    """That everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="gj-") as made:
        Path(made).chmod(0o755)
        yield made


def makespan(daemon: Daemon, submit: Callable[[int], int], jobs: int) -> float:
    """From the first submission to the end of the last job."""

    def work() -> None:
        made = [submit(number) for number in range(jobs)]
        daemon.run("wait", *made)

    return timed(work)


def by_users(daemon: Daemon, people: list[Person]) -> Callable[[int], int]:
    socket = cast("Any", SimpleNamespace(socket=daemon.socket))

    def submit(number: int) -> int:
        person = people[number % 2]
        path, data = person.home / f"turn-{number}.yaml", person.home / "tutorial.npz"
        path.write_text(TUTORIAL_JOB.read_text().replace("data/tutorial.npz", data.name))
        shutil.copy(TUTORIAL_JOB.parent / "data" / "tutorial.npz", data)
        for file in (path, data):
            os.chown(file, person.uid, person.gid)
        done = cli_as(person, socket, "submit", path, "--json")
        if done.returncode:
            raise RuntimeError(done.stderr)
        (job,) = json.loads(done.stdout)
        return int(job["id"])

    return submit


def by_shapes(daemon: Daemon) -> Callable[[int], int]:
    def submit(number: int) -> int:
        (job,) = daemon.submit(write(daemon.root, ("LSTM", "Dense")[number % 2], 1))
        return job

    return submit
