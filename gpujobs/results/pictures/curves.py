"""Learning curves as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gpujobs.errors import UsageError
from gpujobs.results.curves import Curve, JobHistory, Panel
from gpujobs.results.pictures.style import COLOURS, figure, label, labels, plain, rendered

MARKERS = ("", "o", "^", "s", "D", "v", "X", "P")
"""Tell apart the jobs that share a colour."""
MARKS = 8
"""On a curve with markers."""
ACROSS, DOWN, LEGEND_ROW = 6.0, 3.4, 0.23
"""Inches of a panel, and of a row of the legend."""
MAX_HIGH = 300.0
"""Inches. A metric of a thousand classes has a thousand panels, and matplotlib refuses 65,536 pixels."""


def png(histories: Sequence[JobHistory], panels: Sequence[Panel]) -> bytes:
    """Raises UsageError where it would be too large."""
    names = labels([f"{one.id} {one.name}" for one in histories])
    columns = 1 if len(panels) == 1 else 2
    rows = math.ceil(len(panels) / columns)
    wide = 8.0 if columns == 1 else columns * ACROSS
    beside = max(1, min(len(names), 4, int(wide / (0.6 + 0.085 * max(map(len, names))))))
    legend = LEGEND_ROW * math.ceil(len(names) / beside) + 0.2
    tall = DOWN if len(names) <= len(COLOURS) and columns > 1 else 1.3 * DOWN
    high = rows * tall + legend
    if high > MAX_HIGH:
        raise UsageError(
            f"{len(panels)} metrics of {len(names)} jobs make a picture that is too large; choose some with --metric."
        )
    drawn = figure(wide, high)
    drawn.subplots(rows, columns)
    for axes, panel in zip(drawn.axes, panels, strict=False):
        _panel(axes, panel)
    for empty in drawn.axes[len(panels) :]:
        empty.set_axis_off()
    handles = [_line(drawn.axes[0], job, [], [], name=name) for job, name in enumerate(names)]
    drawn.legend(handles=handles, loc="outside lower center", ncols=beside, frameon=False, fontsize="small")
    return rendered(drawn)


def _panel(axes: Axes, panel: Panel) -> None:
    for curve in panel.curves:
        _curve(axes, curve)
    axes.set_title(label(panel.title()), fontsize="medium")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    if panel.is_log():
        axes.set_yscale("log")
    axes.margins(x=0.02)
    plain(axes)


def _curve(axes: Axes, curve: Curve) -> None:
    _line(axes, curve.job, curve.epochs, curve.values, is_dashed=curve.is_validation)
    alone = [run[0] for run in curve.runs() if len(run) == 1]  # between gaps, or the only epoch
    axes.plot(
        [curve.epochs[at] for at in alone],
        [curve.values[at] for at in alone],
        linestyle="",
        marker=_marker(curve.job) or "o",
        markersize=5,
        color=_colour(curve.job),
        fillstyle="none" if curve.is_validation else "full",
    )


def _line(
    axes: Axes, job: int, x: Sequence[float], y: Sequence[float], *, is_dashed: bool = False, name: str = ""
) -> object:
    every = max(1, len(x) // MARKS)
    return axes.plot(
        x,
        y,
        linestyle=(0, (4, 2)) if is_dashed else "-",
        linewidth=1.1 if is_dashed else 1.5,
        color=_colour(job),
        marker=_marker(job),
        markersize=4,
        markevery=(job % every, every),
        label=name or None,
    )[0]


def _colour(job: int) -> str:
    return COLOURS[job % len(COLOURS)]


def _marker(job: int) -> str:
    return MARKERS[job // len(COLOURS) % len(MARKERS)]
