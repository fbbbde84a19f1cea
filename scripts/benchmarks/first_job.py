"""The first job of a daemon that has nothing kept: neither a trainer that stays, nor a step that another has traced.

Each round starts a daemon in an empty state directory, which is not measured. Beside it is another checkout
(`--before DIRECTORY`), or this one with `resident = false`.
"""

from __future__ import annotations

from benchmarks.support import baseline
from benchmarks.support.daemon import TUTORIAL_JOB, Daemon
from benchmarks.support.options import Options
from benchmarks.support.rows import Row, ratios
from benchmarks.support.timing import alternating
from benchmarks.sweeps import NOW, started

AT_MOST = 1.03


def measure(options: Options) -> list[Row]:
    before = baseline.name(options)
    found: dict[str, list[float]] = {NOW: [], before: []}
    for name in alternating(list(found), options.repeat):
        daemon = Daemon(1) if name == NOW else baseline.daemon(options, 1)
        with started(daemon):
            found[name].append(daemon.makespan(TUTORIAL_JOB))
        if options.say:
            options.say(f"{name}: {found[name][-1]:.2f} s")
    rows = [Row(f"a daemon's first job: {name}", "s", tuple(values)) for name, values in found.items()]
    return [*rows, ratios(f"a daemon's first job: {NOW} / {before}", found[NOW], found[before], AT_MOST)]
