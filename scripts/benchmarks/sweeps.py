"""Sweeps of jobs of one shape, and of one for each optimizer, where trainers take next jobs over and where none does.

Two slots. *resident limit*: two processes that have built and traced once, and then set everything as at the beginning
before each job. Beside it is another checkout (`--before DIRECTORY`), or this one with `resident = false`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.bulk import source
from benchmarks.contenders import resident_limit
from benchmarks.support import baseline
from benchmarks.support.daemon import TUTORIAL_JOB, Daemon, running
from benchmarks.support.options import Options
from benchmarks.support.rows import Row, ratios
from benchmarks.support.timing import alternating
from benchmarks.twelve_jobs import seconds_of

LAYERS = {
    "LSTM": None,
    "Dense": "    - Flatten: {}\n    - Dense: {units: 64, activation: relu}\n",
}
"""Of the two shapes, before the last layer; None: as the tutorial has them."""
LSTM_LINE = next(line for line in TUTORIAL_JOB.read_text().splitlines(keepends=True) if "- LSTM" in line)

OPTIMIZERS = TUTORIAL_JOB.with_name("optimizer-sweep.yaml")
NOW, LIMIT = "gpujobs", resident_limit.NAME
TO_LIMIT, TO_BEFORE, OPTIMIZERS_TO_BEFORE = 1.4, 0.25, 0.9
MANY = 100
"""Members for which `TO_BEFORE` counts."""


def measure(options: Options) -> list[Row]:
    before = baseline.name(options)
    with ExitStack() as stack:
        daemons = {
            NOW: stack.enter_context(running(options.slots, options.daemon)),
            before: stack.enter_context(started(baseline.daemon(options, options.slots))),
        }
        rows = [
            row
            for shape in LAYERS
            for members in options.members
            for row in of_shape(shape, members, daemons, options)
        ]
        return [*rows, *of_optimizers(daemons, options)]


@contextmanager
def started(daemon: Daemon) -> Iterator[Daemon]:
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.stop()


def of_shape(shape: str, members: int, daemons: dict[str, Daemon], options: Options) -> list[Row]:
    found: dict[str, list[float]] = {LIMIT: [], **{name: [] for name in daemons}}
    for name in alternating(list(found), options.repeat):
        if name == LIMIT:
            seconds = seconds_of(resident_limit, replace(options, jobs=members), shape)
        else:
            seconds = daemons[name].makespan(write(daemons[name].root, shape, members))
        found[name].append(seconds)
        if options.say:
            options.say(f"{members} x {shape}, {name}: {seconds:.1f} s")
    title = f"{members} members, {shape}"
    rows = [Row(f"{title}: {name}", "s", tuple(values)) for name, values in found.items()]
    rows.append(ratios(f"{title}: {NOW} / {LIMIT}", found[NOW], found[LIMIT], TO_LIMIT))
    at_most = TO_BEFORE if members >= MANY else None
    return rows + beside(title, found, daemons, at_most)


def of_optimizers(daemons: dict[str, Daemon], options: Options) -> list[Row]:
    found: dict[str, list[float]] = {name: [] for name in daemons}
    for name in alternating(list(found), options.repeat):
        found[name].append(daemons[name].makespan(OPTIMIZERS))
        if options.say:
            options.say(f"optimizers, {name}: {found[name][-1]:.1f} s")
    title = "12 optimizers"
    rows = [Row(f"{title}: {name}", "s", tuple(values)) for name, values in found.items()]
    return rows + beside(title, found, daemons, OPTIMIZERS_TO_BEFORE)


def beside(
    title: str, found: dict[str, list[float]], daemons: dict[str, Daemon], at_most: float | None
) -> list[Row]:
    return [
        ratios(f"{title}: {NOW} / {name}", found[NOW], found[name], at_most)
        for name in daemons
        if name != NOW
    ]


def write(directory: Path, shape: str, members: int) -> Path:
    path = directory / f"{shape}-{members}.yaml"
    layers = LAYERS[shape]
    text = source(f"{shape}-{members}")
    text = text if layers is None else text.replace(LSTM_LINE, layers)
    path.write_text(f"{text}\nsweep:\n  grid: {{training.seed: {list(range(members))}}}\n")
    return path
