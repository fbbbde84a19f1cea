"""The last steps of a series: truth, the model's forecast, and a naive one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Any

from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.ticker import AutoLocator

from gpujobs.results.forecast import Forecast, Track, Values, instant, title, zone_of
from gpujobs.results.pictures.canvas import Canvas
from gpujobs.results.pictures.frames import Frame, arrange, legend, legend_high
from gpujobs.results.pictures.scales import linear, ticks, upright
from gpujobs.results.pictures.style import COLOURS, DPI, shortened

WIDE, TALL, HEAD = 9.0, 2.6, 0.3
"""Inches of a panel, and of what stands above all of them."""


def png(shown: Forecast) -> bytes:
    foot = legend_high(3, 3)
    canvas = Canvas(WIDE, max(3.9, TALL * len(shown.tracks) + HEAD + foot))
    zone = zone_of(shown)
    found = [_x(track) for track in shown.tracks]
    frames = [_framed(track, x, shown, zone) for track, x in zip(shown.tracks, found, strict=True)]
    for place, track, x in zip(arrange(canvas, frames, 1, HEAD, foot), shown.tracks, found, strict=True):
        for values, look in zip((track.truth, track.naive, track.forecast), _looks(x), strict=True):
            canvas.line(place.x(x), place.y(_known(values)), **look)
    canvas.text((canvas.wide / 2, canvas.high - 0.08 * DPI), shortened(title(shown), 100))
    names = ("truth", shortened(f"naive: {shown.naive}"), "forecast")
    legend(canvas, list(zip(names, _looks(found[0]), strict=True)), 3)
    return canvas.png()


def _looks(x: Sequence[float]) -> list[dict[str, Any]]:
    """Of truth, naive forecast and forecast."""
    points = {"marker": "o" if len(x) < 12 else "", "markersize": 4}
    return [
        {**points, "color": COLOURS[4], "linewidth": 1.5},
        {**points, "color": COLOURS[1], "linewidth": 1.1, "linestyle": (0, (4, 2))},
        {**points, "color": COLOURS[0], "linewidth": 1.5},
    ]


def _x(track: Track) -> list[float]:
    """Times as days, as matplotlib counts them."""
    found = [instant(one) if isinstance(one, str) else one for one in track.x]
    return [float(date2num(one)) if isinstance(one, datetime) else one for one in found]  # type: ignore[no-untyped-call]


def _framed(track: Track, x: Sequence[float], shown: Forecast, zone: tzinfo) -> Frame:
    is_time = isinstance(track.x[0], str)
    locator = AutoDateLocator(tz=zone) if is_time else AutoLocator()  # type: ignore[no-untyped-call]
    across = linear(x, 0.02, locator)
    formatter = ConciseDateFormatter(locator, tz=zone) if is_time else None  # type: ignore[no-untyped-call]
    beside = upright((TALL - 0.9) * DPI)
    up = linear(
        [value for each in (track.truth, track.naive, track.forecast) for value in _known(each)], 0.05, beside
    )
    below = shown.axis
    if is_time:
        below = "time" if shown.zone is None else f"time ({shown.zone})"
    return Frame(
        across, up, ticks(across, locator, formatter), ticks(up, beside),
        title=shortened(track.group or ""), below=shortened(below), beside=shortened(track.target, 30),
        below_size="small", title_size="small", is_titled_left=True,
    )  # fmt: skip


def _known(values: Values) -> list[float]:
    return [math.nan if one is None else one for one in values]
