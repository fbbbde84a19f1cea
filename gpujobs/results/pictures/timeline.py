"""The time line as a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import BarContainer
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Patch

from gpujobs.printing import printable
from gpujobs.results.pictures.style import figure, label, lacking_letters, plain, rendered, times
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


MOST_LETTERS, FEWEST_LETTERS = 60, 3
"""Of a name in a bar."""
LEAST, LEAST_RUNNING = 0.0015, 0.005
"""Of the width: what is shorter is drawn so wide, so that it is seen; what runs ends at the present all the same."""
SIZE, PADDING = 7.0, 3.0
"""Of the letters in a bar, in points, and what stays free in it beside them, in pixels."""


def png(shown: Timeline, zone: tzinfo) -> bytes:
    return rendered(picture(shown, zone))


def picture(shown: Timeline, zone: tzinfo) -> Figure:
    rows = sum(lane.rows for lane in shown.lanes)
    drawn = figure(WIDE, min(MOST, HEAD + ROW * max(rows, 3)))
    axes: Axes = drawn.subplots()
    first, ticks = 0, []
    bars: list[tuple[Span, BarContainer]] = []
    for lane in shown.lanes:
        drawn_here = [(span, _bar(axes, span, first + span.row, shown)) for span in lane.spans]
        bars.extend((span, bar) for span, bar in drawn_here if bar is not None)
        ticks.append((first + (lane.rows - 1) / 2, label(f"{lane.node} {lane.kind} {lane.index}", 30)))
        first += lane.rows
        axes.axhline(first - 0.5, color="#cccccc", linewidth=0.6)
    axes.axvline(days(shown.now), color="black", linewidth=0.8, linestyle=":")
    axes.set(xlim=(days(shown.starts_at), days(shown.ends_at)), ylim=(max(first, 1) - 0.5, -0.5))
    axes.set_yticks([place for place, _ in ticks], [text for _, text in ticks], fontsize="small")
    times(axes, zone)
    plain(axes)
    _legend(drawn, shown)
    _name(drawn, axes, bars)
    return drawn


def _look(span: Span) -> str:
    return RUNNING if span.kind == JOB and span.ends_at is None else span.kind


def _legend(drawn: Figure, shown: Timeline) -> None:
    """Of what is there."""
    there = {_look(span) for lane in shown.lanes for span in lane.spans}
    patches = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="#555555", label=name)
        for look, (colour, hatch, name) in LOOKS.items()
        if look in there
    ]
    if patches:
        drawn.legend(handles=patches, loc="outside lower center", ncols=6, frameon=False, fontsize="small")


def _bar(axes: Axes, span: Span, row: int, shown: Timeline) -> BarContainer | None:
    look = _look(span)
    colour, hatch, _ = LOOKS[look]
    if span.kind == STRANGER:
        axes.plot([days(span.starts_at)], [row], marker="v", color=colour, markersize=7)
        return None
    ends = span.ends_at or (min(shown.now, shown.ends_at) if look == RUNNING else shown.ends_at)
    left, right = days(max(span.starts_at, shown.starts_at)), days(min(ends, shown.ends_at))
    least = (LEAST_RUNNING if look == RUNNING else LEAST) * (days(shown.ends_at) - days(shown.starts_at))
    if right - left < least:
        left, right = (right - least, right) if look == RUNNING else (left, left + least)
    return axes.barh(
        row,
        right - left,
        left=left,
        height=0.8,
        color=colour,
        hatch=hatch,
        edgecolor="#555555",
        linewidth=0.6,
    )


def _name(drawn: Figure, axes: Axes, bars: Sequence[tuple[Span, BarContainer]]) -> None:
    """Writes into each bar what it holds, once the places of all are known."""
    canvas = FigureCanvasAgg(drawn)
    font = FontProperties(size=SIZE)

    def width(text: str) -> float:
        measured = canvas.get_renderer().get_text_width_height_descent(text, font, False)  # type: ignore[no-untyped-call]
        return float(measured[0])

    with lacking_letters():
        drawn.draw_without_rendering()
        for span, (patch, *_) in bars:
            box = patch.get_window_extent()
            text = fitting(span, box.width - 2 * PADDING, width)
            if not text:
                continue
            is_hatched = bool(LOOKS[_look(span)][1])
            axes.annotate(
                text.replace("$", r"\$"), (patch.get_x(), patch.get_y() + patch.get_height() / 2),
                xytext=(PADDING * 72 / drawn.dpi, 0), textcoords="offset points", va="center", fontsize=SIZE,
                color="white" if _look(span) == RUNNING else "black", annotation_clip=True,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8} if is_hatched else None,
            ).set_in_layout(False)  # fmt: skip


def fitting(span: Span, room: float, width: Callable[[str], float]) -> str:
    """The job's number and what is known of it, as much as there is room for; nothing where not even the number has
    room, since a part of it would be another job's."""
    id, name = str(span.job or ""), printable(span.label)[:MOST_LETTERS]
    text = " ".join(filter(None, [id, name]))
    if width(text) <= room:
        return text
    for letters in range(len(name) - 1, FEWEST_LETTERS - 1, -1):
        text = " ".join(filter(None, [id, f"{name[:letters].rstrip()}…"]))
        if width(text) <= room:
            return text
    return id if id and width(id) <= room else ""
