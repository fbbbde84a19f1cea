"""A report as a picture: hours of each, as bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from matplotlib.figure import Figure

from gpujobs.measured.words import energy as in_words
from gpujobs.results.pictures.style import COLOURS, figure, label, plain, rendered
from gpujobs.view.report import Row, hours_in_words

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MOST = 60
"""Bars; those with most hours are first, except of weeks and devices."""


def png(rows: list[Row], by: str, since: datetime, until: datetime) -> bytes:
    """`since`, `until`: in the reader's time zone."""
    return rendered(picture(rows, by, since, until))


def picture(rows: list[Row], by: str, since: datetime, until: datetime) -> Figure:
    shown = rows[:MOST]
    drawn = figure(9.0, 1.9 + 0.32 * max(len(shown), 2))
    axes = drawn.subplots()
    left = [0.0] * len(shown)
    bars = list(_bars(shown))
    for name, colour, alpha, hours in bars:
        axes.barh(range(len(shown)), hours, left=left, color=colour, alpha=alpha, label=name)
        left = [before + more for before, more in zip(left, hours, strict=True)]
    for place, row in enumerate(shown):
        axes.text(left[place], place, f" {_said(row)}", va="center", fontsize="small")
    axes.set_yticks(range(len(shown)), [label(row.key, 24) for row in shown], fontsize="small")
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.set_xlim(left=0)
    what = (
        bars[0][0] if len(bars) == 1 else "GPU hours" if not any(row.cpu_hours for row in shown) else "Hours"
    )
    axes.set_title(f"{what} by {by}, {span_in_words(since, until)}", fontsize="medium")
    axes.set_xlabel(f"{what} of whole devices", fontsize="small")
    if len(bars) > 1:
        drawn.legend(loc="outside lower center", ncols=len(bars), frameon=False, fontsize="small")
    plain(axes)
    axes.grid(visible=False, axis="y")
    axes.set_axisbelow(True)
    return drawn


def span_in_words(since: datetime, until: datetime) -> str:
    """`20 to 27 Nov 2026`; with the time of day where it is within one."""
    first, last = since.date(), until.date()
    if first == last:
        return f"{_day(since)}, {since:%H:%M} to {until:%H:%M}"
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day} to {_day(until)}"
    year = "" if first.year == last.year else f" {first.year}"
    return f"{first.day} {MONTHS[first.month - 1]}{year} to {_day(until)}"


def _day(at: datetime) -> str:
    return f"{at.day} {MONTHS[at.month - 1]} {at.year}"


def _bars(rows: Sequence[Row]) -> Iterator[tuple[str, str, float, list[float]]]:
    """(name, colour, opacity, hours); of GPUs apart those in which they did not compute, where that is known. GPU hours
    are there also where nothing else is, so that the picture has a scale."""
    unused = [row.unused_hours or 0.0 for row in rows]
    used = [max(0.0, row.gpu_hours - less) for row, less in zip(rows, unused, strict=True)]
    cpu = [row.cpu_hours for row in rows]
    if any(used) or any(unused) or not any(cpu):
        yield "GPU hours", COLOURS[0], 1.0, used
    if any(unused):
        yield "GPU hours, unused", COLOURS[0], 0.4, unused
    if any(cpu):
        yield "CPU hours", COLOURS[1], 1.0, cpu


def _said(row: Row) -> str:
    energy = "" if row.energy_joules is None else f", {in_words(row.energy_joules)}"
    foreign = f", {hours_in_words(row.foreign_hours)} h of strangers" if row.foreign_hours else ""
    return f"{hours_in_words(row.gpu_hours + row.cpu_hours)} h{energy}{foreign}"
