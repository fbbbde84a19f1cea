"""A replay as a picture: devices and queue over time, waits, and who got what."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from gpujobs.simulation.replay import Replay, Sample
from gpujobs.simulation.report import Report, UserReport, waits

POINTS = 600
"""Of a curve over time: what a page can show."""
USERS = 15
DAY, HOUR = 86400, 3600
UNITS = ((DAY, "days"), (HOUR, "hours"), (60, "minutes"))


def draw(replay: Replay, report: Report, path: Path) -> None:
    """Writes a picture of the kind that the suffix of `path` says."""
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    (gpus, cumulated), (queue, shares) = figure.subplots(2, 2)
    figure.suptitle(report.title)
    unit, name = next(((size, name) for size, name in UNITS if report.span_seconds > 3 * size), UNITS[-1])
    curves = resample(replay.samples)
    x = [(seconds - replay.samples[0].seconds) / unit for seconds, _, _ in curves]
    _over_time(gpus, x, [busy for _, busy, _ in curves], "GPUs in use", replay.gpus)
    _over_time(queue, x, [waiting for _, _, waiting in curves], "jobs waiting", max(c[2] for c in curves))
    queue.set(xlabel=name)
    _waits(cumulated, sorted(waits(replay.records)))
    _shares(shares, [one for one in report.users if one.share is not None][:USERS])
    figure.savefig(path, dpi=110)


def resample(samples: Sequence[Sample], points: int = POINTS) -> list[tuple[float, float, float]]:
    """(seconds, busy GPUs, waiting jobs) as means over equal parts of the time."""
    begin, end = samples[0].seconds, samples[-1].seconds
    width = (end - begin) / points or 1.0
    busy, waiting = [0.0] * points, [0.0] * points
    part = 0
    for one, after in pairwise(samples):
        at = one.seconds
        while at < after.seconds:
            edge = begin + (part + 1) * width if part < points - 1 else math.inf
            until = min(edge, after.seconds)
            busy[part] += one.busy_gpus * (until - at) / width
            waiting[part] += one.waiting * (until - at) / width
            at = until
            part += at >= edge
    return [(begin + (part + 0.5) * width, busy[part], waiting[part]) for part in range(points)]


def _over_time(axes: Axes, x: Sequence[float], y: Sequence[float], label: str, most: float) -> None:
    axes.fill_between(x, y, step="mid", alpha=0.35)
    axes.step(x, y, where="mid", linewidth=0.8)
    axes.set(ylabel=label, xlim=(x[0], x[-1]), ylim=(0, 1.05 * max(most, 1)))
    axes.grid(alpha=0.3)


def _waits(axes: Axes, ordered: Sequence[float]) -> None:
    """The part of all jobs that waited no longer than so."""
    part = [number / len(ordered) for number in range(len(ordered) + 1)] if ordered else []
    axes.step([max(wait, 1.0) for wait in (*ordered[:1], *ordered)], part, where="post")
    axes.set(xscale="log", xlabel="wait", ylabel="jobs that waited no longer", ylim=(0, 1.02))
    axes.set_xticks([1, 60, HOUR, 6 * HOUR, DAY, 7 * DAY], minor=False)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _duration(value)))
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(alpha=0.3)


def _shares(axes: Axes, users: Sequence[UserReport]) -> None:
    if not users:
        axes.text(0.5, 0.5, "no job waited", ha="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    places = range(len(users))
    axes.barh([place - 0.2 for place in places], [one.share or 0 for one in users], 0.4, label="got")
    axes.barh(
        [place + 0.2 for place in places],
        [one.entitled_share or 0 for one in users],
        0.4,
        label="entitled to",
        color="lightgrey",
    )
    # A dollar sign would begin a formula.
    axes.set_yticks(list(places), [one.user[:16].replace("$", r"\$") for one in users])
    axes.invert_yaxis()
    axes.set(xlabel="share of GPU time among those whose jobs waited")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(loc="lower right")


def _duration(seconds: float) -> str:
    for size, unit in ((DAY, "d"), (HOUR, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
