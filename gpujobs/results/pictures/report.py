"""A report as a picture: hours of each, as bars."""

from __future__ import annotations

from gpujobs.results.pictures.style import COLOURS, figure, label, plain, rendered
from gpujobs.view.report import Row

MOST = 60
"""Bars; those with most hours are first, except of weeks and devices."""


def png(rows: list[Row], title: str) -> bytes:
    shown = rows[:MOST]
    kinds = [kind for kind in ("gpu", "cpu") if any(getattr(row, f"{kind}_hours") for row in shown)] or [
        "gpu"
    ]
    drawn = figure(9.0, 1.6 + 0.32 * max(len(shown), 2))
    axes = drawn.subplots()
    left = [0.0] * len(shown)
    for kind, colour in zip(kinds, COLOURS, strict=False):
        hours = [float(getattr(row, f"{kind}_hours")) for row in shown]
        axes.barh(range(len(shown)), hours, left=left, color=colour, label=f"{kind.upper()} hours")
        left = [before + more for before, more in zip(left, hours, strict=True)]
    for place, end in enumerate(left):
        axes.text(end, place, f" {end:.1f}", va="center", fontsize="small")
    axes.set_yticks(range(len(shown)), [label(row.key, 24) for row in shown], fontsize="small")
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set_title(label(title, 90), fontsize="medium")
    axes.legend(loc="lower right", fontsize="small")
    plain(axes)
    return rendered(drawn)
