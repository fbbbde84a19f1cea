"""The last steps of a series: truth, the model's forecast, and a naive one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Any

from matplotlib.axes import Axes

from gpujobs.results.forecast import Forecast, Track, Values, instant, title, zone_of
from gpujobs.results.pictures.style import COLOURS, figure, label, plain, rendered, times

WIDE, TALL, HEAD = 9.0, 2.6, 0.7
"""Inches of a panel, and of what stands above and below all of them."""


def png(shown: Forecast) -> bytes:
    drawn = figure(WIDE, max(3.9, TALL * len(shown.tracks) + HEAD))
    drawn.subplots(len(shown.tracks), 1)
    zone = zone_of(shown)
    for axes, track in zip(drawn.axes, shown.tracks, strict=True):
        _panel(axes, track, shown, zone)
    drawn.suptitle(label(title(shown), 100), fontsize="medium")
    handles, names = drawn.axes[0].get_legend_handles_labels()
    drawn.legend(handles, names, loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    return rendered(drawn)


def _panel(axes: Axes, track: Track, shown: Forecast, zone: tzinfo) -> None:
    x = [instant(one) if isinstance(one, str) else one for one in track.x]
    _line(axes, x, track.truth, "truth", color=COLOURS[4], linewidth=1.5)
    _line(
        axes, x, track.naive, f"naive: {shown.naive}", color=COLOURS[1], linewidth=1.1, linestyle=(0, (4, 2))
    )
    _line(axes, x, track.forecast, "forecast", color=COLOURS[0], linewidth=1.5)
    axes.set_ylabel(label(track.target, 30))
    if track.group is not None:
        axes.set_title(label(track.group), fontsize="small", loc="left")
    if isinstance(x[0], datetime):
        times(axes, zone)
        axes.set_xlabel("time" if shown.zone is None else f"time ({label(shown.zone)})", fontsize="small")
    else:
        axes.set_xlabel(label(shown.axis), fontsize="small")
    axes.margins(x=0.02)
    plain(axes)


def _line(axes: Axes, x: Sequence[Any], values: Values, name: str, **look: Any) -> None:
    y = [math.nan if one is None else one for one in values]
    axes.plot(x, y, label=label(name), marker="o" if len(x) < 12 else "", markersize=4, **look)
