"""A report as a picture: hours of each, as bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gpujobs.measured.words import energy as in_words
from gpujobs.results.pictures.style import COLOURS, figure, label, plain, rendered
from gpujobs.view.report import Row, hours_in_words

MOST = 60
"""Bars; those with most hours are first, except of weeks and devices."""


def png(rows: list[Row], title: str) -> bytes:
    shown = rows[:MOST]
    drawn = figure(9.0, 1.6 + 0.32 * max(len(shown), 2))
    axes = drawn.subplots()
    left = [0.0] * len(shown)
    for name, colour, alpha, hours in _bars(shown):
        axes.barh(range(len(shown)), hours, left=left, color=colour, alpha=alpha, label=name)
        left = [before + more for before, more in zip(left, hours, strict=True)]
    for place, row in enumerate(shown):
        axes.text(left[place], place, f" {_said(row)}", va="center", fontsize="small")
    axes.set_yticks(range(len(shown)), [label(row.key, 24) for row in shown], fontsize="small")
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set_title(label(title, 90), fontsize="medium")
    axes.legend(loc="lower right", fontsize="small")
    plain(axes)
    return rendered(drawn)


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
    return f"{hours_in_words(row.gpu_hours + row.cpu_hours)}{energy}{foreign}"
