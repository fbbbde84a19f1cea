"""The time line as a picture."""

from __future__ import annotations

from datetime import datetime, tzinfo

from matplotlib.axes import Axes
from matplotlib.dates import date2num
from matplotlib.patches import Patch

from gpujobs.results.pictures.style import figure, label, plain, rendered, times
from gpujobs.view.timeline import DRAIN, EXPECTED, JOB, RESERVATION, STRANGER, Span, Timeline

RUNNING = "running"
LOOKS = {
    JOB: ("#56B4E9", "", "ended"),
    RUNNING: ("#0072B2", "", "running"),
    EXPECTED: ("#ffffff", "///", "expected"),
    RESERVATION: ("#CC79A7", "", "reserved"),
    DRAIN: ("#E69F00", "xxx", "drained"),
    STRANGER: ("#D55E00", "", "stranger"),
}
"""Colour, hatching and name."""
WIDE, ROW, HEAD, MOST = 12.0, 0.32, 1.5, 120.0
"""Inches."""


def days(at: datetime) -> float:
    """As matplotlib counts them."""
    return float(date2num(at))  # type: ignore[no-untyped-call]


def png(shown: Timeline, zone: tzinfo) -> bytes:
    rows = sum(lane.rows for lane in shown.lanes)
    drawn = figure(WIDE, min(MOST, HEAD + ROW * max(rows, 3)))
    axes: Axes = drawn.subplots()
    first, ticks = 0, []
    for lane in shown.lanes:
        for span in lane.spans:
            _bar(axes, span, first + span.row, shown)
        ticks.append((first + (lane.rows - 1) / 2, label(f"{lane.node} {lane.kind} {lane.index}", 30)))
        first += lane.rows
        axes.axhline(first - 0.5, color="#cccccc", linewidth=0.6)
    axes.axvline(days(shown.now), color="black", linewidth=0.8, linestyle=":")
    axes.set(xlim=(days(shown.starts_at), days(shown.ends_at)), ylim=(max(first, 1) - 0.5, -0.5))
    axes.set_yticks([place for place, _ in ticks], [text for _, text in ticks], fontsize="small")
    times(axes, zone)
    plain(axes)
    patches = [Patch(facecolor=c, hatch=h, edgecolor="#555555", label=name) for c, h, name in LOOKS.values()]
    drawn.legend(handles=patches, loc="outside lower center", ncols=6, frameon=False, fontsize="small")
    return rendered(drawn)


def _bar(axes: Axes, span: Span, row: int, shown: Timeline) -> None:
    is_running = span.kind == JOB and span.ends_at is None
    colour, hatch, _ = LOOKS[RUNNING if is_running else span.kind]
    ends = span.ends_at or (min(shown.now, shown.ends_at) if is_running else shown.ends_at)
    left, right = days(max(span.starts_at, shown.starts_at)), days(min(ends, shown.ends_at))
    if span.kind == STRANGER:
        axes.plot([left], [row], marker="v", color=colour, markersize=7)
        return
    axes.barh(
        row,
        right - left,
        left=left,
        height=0.8,
        color=colour,
        hatch=hatch,
        edgecolor="#555555",
        linewidth=0.6,
    )
    room = (right - left) / (days(shown.ends_at) - days(shown.starts_at)) * 130
    text = " ".join(filter(None, [str(span.job or ""), span.label]))
    if room >= 3:
        dark = is_running
        axes.text(
            left, row, " " + label(text, max(2, int(room))), va="center", fontsize=7, clip_on=True,
            color="white" if dark else "black",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8} if hatch else None,
        )  # fmt: skip
