"""Twelve tutorial jobs on two slots: gpujobs beside its references and other job queues."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import ModuleType

from benchmarks import contenders
from benchmarks.support.batch import Batch
from benchmarks.support.options import Options
from benchmarks.support.rows import Row, ratios
from benchmarks.support.timing import alternating, timed

AT_MOST = 1.3
REFERENCE = contenders.fresh.NAME


def measure(options: Options) -> list[Row]:
    chosen = [one for one in contenders.ALL if not options.contenders or one.NAME in options.contenders]
    there = [one for one in chosen if one.missing() is None]
    seconds: dict[str, list[float]] = {one.NAME: [] for one in there}
    for one in alternating(there, options.repeat):
        seconds[one.NAME].append(run(one, options))
        if options.say:
            options.say(f"{one.NAME}: {seconds[one.NAME][-1]:.1f} s")
    title = f"{options.jobs} jobs on {options.slots} slots"
    rows = []
    for one in chosen:
        if one not in there:
            rows.append(Row(f"{title}: {one.NAME}", "s", (), note=f"not measured: {one.missing()}"))
            continue
        rows.append(Row(f"{title}: {one.NAME}", "s", tuple(seconds[one.NAME])))
        if REFERENCE in seconds and one.NAME != REFERENCE:
            limit = AT_MOST if one is contenders.gpujobs_daemon else None
            rows.append(ratios(f"{one.NAME} / {REFERENCE}", seconds[one.NAME], seconds[REFERENCE], limit))
    return rows


def run(contender: ModuleType, options: Options) -> float:
    """The seconds of one batch, in directories of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        root = Path(directory)
        batch = Batch(options.jobs, options.slots, root / "results", root / "scratch", options.daemon)
        batch.directory.mkdir()
        batch.scratch.mkdir()
        with contender.session(batch) as work:
            return timed(work)
