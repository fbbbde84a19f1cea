"""Learning curves as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import MaxNLocator

from gpujobs.errors import UsageError
from gpujobs.results.curves import Curve, JobHistory, Panel
from gpujobs.results.pictures.canvas import Canvas
from gpujobs.results.pictures.frames import Frame, Place, arrange, legend, legend_high
from gpujobs.results.pictures.scales import linear, log_ticks, logarithmic, ticks, upright
from gpujobs.results.pictures.style import COLOURS, DPI, shortened

MARKERS = ("", "o", "^", "s", "D", "v", "X", "P")
"""Tell apart the jobs that share a colour."""
MARKS = 8
"""On a curve with markers."""
ACROSS, DOWN = 6.0, 3.4
"""Inches of a panel."""
MAX_HIGH = 300.0
"""Inches. A metric of a thousand classes has a thousand panels, and matplotlib refuses 65,536 pixels."""


def png(histories: Sequence[JobHistory], panels: Sequence[Panel]) -> bytes:
    """Raises UsageError where it would be too large."""
    names = [shortened(f"{one.id} {one.name}") for one in histories]
    columns = 1 if len(panels) == 1 else 2
    rows = math.ceil(len(panels) / columns)
    wide = 8.0 if columns == 1 else columns * ACROSS
    beside = max(1, min(len(names), 4, int(wide / (0.6 + 0.085 * max(map(len, names))))))
    foot = legend_high(len(names), beside)
    tall = DOWN if len(names) <= len(COLOURS) and columns > 1 else 1.3 * DOWN
    high = rows * tall + foot
    if high > MAX_HIGH:
        raise UsageError(
            f"{len(panels)} metrics of {len(names)} jobs make a picture that is too large; choose some with --metric."
        )
    canvas = Canvas(wide, high)
    places = arrange(canvas, [_framed(panel, tall) for panel in panels], columns, foot=foot)
    for place, panel in zip(places, panels, strict=True):
        for curve in panel.curves:
            _curve(canvas, place, curve)
    legend(canvas, [(name, _look(job, 2)) for job, name in enumerate(names)], beside)
    return canvas.png()


def _framed(panel: Panel, tall: float) -> Frame:
    epochs = MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])
    x = linear(panel.epochs(), 0.02, epochs)
    values = [value for curve in panel.curves for value in curve.values]
    if panel.is_log():
        y = logarithmic(values, 0.05)
        y_ticks = log_ticks(y)
    else:
        y = linear(values, 0.05, ticks_of := upright((tall - 0.8) * DPI))
        y_ticks = ticks(y, ticks_of)
    return Frame(x, y, ticks(x, epochs), y_ticks, shortened(panel.title()), below="epoch")


def _curve(canvas: Canvas, place: Place, curve: Curve) -> None:
    x, y = place.x(curve.epochs), place.y(curve.values)
    canvas.line(x, y, **_look(curve.job, len(x), is_dashed=curve.is_validation))
    alone = [run[0] for run in curve.runs() if len(run) == 1]  # between gaps, or the only epoch
    if alone:
        canvas.line(
            [x[at] for at in alone],
            [y[at] for at in alone],
            linestyle="",
            marker=_marker(curve.job) or "o",
            markersize=5,
            color=_colour(curve.job),
            fillstyle="none" if curve.is_validation else "full",
        )


def _look(job: int, points: int, *, is_dashed: bool = False) -> dict[str, Any]:
    every = max(1, points // MARKS)
    return {
        "linestyle": (0, (4, 2)) if is_dashed else "-",
        "linewidth": 1.1 if is_dashed else 1.5,
        "color": _colour(job),
        "marker": _marker(job),
        "markersize": 4,
        "markevery": (job % every, every),
    }


def _colour(job: int) -> str:
    return COLOURS[job % len(COLOURS)]


def _marker(job: int) -> str:
    return MARKERS[job // len(COLOURS) % len(MARKERS)]
