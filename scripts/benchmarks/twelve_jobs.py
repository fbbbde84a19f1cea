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
AT_MOST_OF_LIMITS = {contenders.limit.NAME: 0.45, contenders.resident_limit.NAME: 1.4}
"""Where a trainer takes the next job over: of gpujobs."""


def measure(options: Options) -> list[Row]:
    chosen = [one for one in contenders.ALL if not options.contenders or one.NAME in options.contenders]
    there = [one for one in chosen if one.missing() is None]
    seconds: dict[str, list[float]] = {one.NAME: [] for one in there}
    for one in alternating(there, options.repeat):
        seconds[one.NAME].append(seconds_of(one, options))
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
    gpujobs = contenders.gpujobs_daemon.NAME
    for name, at_most in AT_MOST_OF_LIMITS.items():
        if name in seconds and gpujobs in seconds:
            rows.append(ratios(f"{gpujobs} / {name}", seconds[gpujobs], seconds[name], at_most))
    return rows


def seconds_of(contender: ModuleType, options: Options, shape: str = "LSTM") -> float:
    """Of one batch, in directories of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        root = Path(directory)
        batch = Batch(options.jobs, options.slots, root / "results", root / "scratch", options.daemon, shape)
        batch.directory.mkdir()
        batch.scratch.mkdir()
        with contender.session(batch) as work:
            return timed(work)
