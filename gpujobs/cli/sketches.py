"""A forecast and a confusion matrix in a terminal, as forecast.png and confusion.png have them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import click

from gpujobs.cli import cells
from gpujobs.cli.braille import LETTERS, Axis, drawn, styled
from gpujobs.printing import printable
from gpujobs.results.confusion import Matrix
from gpujobs.results.curves import Curve, Panel
from gpujobs.results.forecast import Forecast, Track, Values, instant, title, zone_of

NAME_WIDTH, COLUMN_WIDTH = 20, 14
MOST_CONFUSED = 10


def forecast(shown: Forecast, width: int, colour: bool) -> list[str]:
    """Raises ValueError for times that are none."""
    lines = [cells.wrapped(printable(f"forecast, {title(shown)}"), width, "", "")]
    for track in shown.tracks:
        lines += ["", *_track(track, shown, width, colour)]
    kinds = ("truth", "forecast", f"naive: {shown.naive} (dashed)")
    legend = [printable(f"{LETTERS[place]} {kind}") for place, kind in enumerate(kinds)]
    shown_legend = [styled(text, place) if colour else text for place, text in enumerate(legend)]
    return [*lines, "", "  ".join(shown_legend)]


def _track(track: Track, shown: Forecast, width: int, colour: bool) -> list[str]:
    times = [instant(one) for one in track.x if isinstance(one, str)]
    x = [at.timestamp() for at in times] or [float(one) for one in track.x]
    axis = Axis(printable(shown.axis)[:NAME_WIDTH])
    if times:
        first, last = (f"{at.astimezone(zone_of(shown)):%Y-%m-%d %H:%M}" for at in (times[0], times[-1]))
        axis = Axis("time" if shown.zone is None else printable(f"time ({shown.zone})")[:30], first, last)
    curves = [
        _curve(place, x, values) for place, values in enumerate((track.truth, track.forecast, track.naive))
    ]
    name = track.target if track.group is None else f"{track.group}: {track.target}"
    return drawn(Panel(track.target, curves), name, axis, len(curves), width, colour)


def _curve(place: int, x: list[float], values: Values) -> Curve:
    """The naive one is dashed, as the curves of validations are."""
    return Curve(place, place == 2, x, [math.nan if one is None else one for one in values])


def confusion(found: Sequence[Matrix], width: int, colour: bool) -> list[str]:
    return [
        line
        for number, one in enumerate(found)
        for line in ([""] * (number > 0) + _matrix(one, width, colour))
    ]


def _matrix(one: Matrix, width: int, colour: bool) -> list[str]:
    kind = "confusion" if one.is_square else "how well each is found"
    names, columns = [list(map(printable, texts)) for texts in (one.rows, one.columns)]
    corner = "true \\ predicted" if one.is_square else ""
    left = min(NAME_WIDTH, max(map(cells.width, (corner, *names))))
    room = (width - left) // len(columns) - 2
    needed = max(len(text) for row in one.texts for text in row)
    head = cells.cut(printable(f"{kind}, {one.title}"), width)
    if room < needed:
        return [head, *_most_confused(one, names, width)]
    size = min(room, max(needed, min(COLUMN_WIDTH, max(map(cells.width, columns)))))
    rows = [
        _row(cells.shortened(name, left), left, texts, size, at if colour and one.is_square else None)
        for at, (name, texts) in enumerate(zip(names, one.texts, strict=True))
    ]
    return [head, _row(corner, left, [cells.shortened(name, size) for name in columns], size, None), *rows]


def _row(name: str, left: int, texts: Sequence[str], size: int, bold: int | None) -> str:
    found = [" " * (size - cells.width(text)) + text for text in texts]
    shown = [click.style(text, bold=True) if place == bold else text for place, text in enumerate(found)]
    return "  ".join([cells.padded(name, left), *shown])


def _most_confused(one: Matrix, names: Sequence[str], width: int) -> list[str]:
    """Where there is no room for the matrix."""
    pairs = [
        (int(text), row, column)
        for row, texts in enumerate(one.texts)
        for column, text in enumerate(texts)
        if row != column and int(text)
    ]
    pairs.sort(key=lambda pair: -pair[0])
    said = [
        cells.cut(
            f"  {cells.shortened(names[row], NAME_WIDTH)} was taken for {cells.shortened(names[column], NAME_WIDTH)}: "
            f"{count} of {sum(map(int, one.texts[row]))}",
            width,
        )
        for count, row, column in pairs[:MOST_CONFUSED]
    ]
    right = sum(int(texts[row]) for row, texts in enumerate(one.texts))
    whole = sum(int(text) for texts in one.texts for text in texts)
    return [f"  {right} of {whole} right; {len(names)} classes are too many for {width} columns", *said]
