"""The confusion matrix of a job as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from matplotlib import colormaps

from gpujobs.results.confusion import Matrix, matrices
from gpujobs.results.pictures.canvas import Canvas
from gpujobs.results.pictures.frames import Frame, Place, arrange, draw_lines
from gpujobs.results.pictures.scales import Scale, Ticks
from gpujobs.results.pictures.style import shortened

MAX_NUMBERS = 25
"""More rows than that leave no room for numbers."""
FEW = 12
"""No more rows than that leave room for large ones."""


def png(evaluation: Mapping[str, Any]) -> bytes | None:
    """`evaluation`: of metrics.json. None where no output tells classes. Raises ValueError."""
    found = [
        replace(
            one,
            rows=[shortened(row, 20) for row in one.rows],
            columns=[shortened(column, 20) for column in one.columns],
        )
        for one in matrices(evaluation)
    ]
    return _drawn(found) if found else None


def _drawn(found: Sequence[Matrix]) -> bytes:
    across = min(len(found), 2)
    down = -(-len(found) // across)
    size = [1.9 + min(0.5 * len(one.rows), 9.0) for one in found]
    canvas = Canvas(across * max(4.6, *size), down * max(3.2, *size))
    places = arrange(canvas, [_framed(one) for one in found], across)
    for place, one in zip(places, found, strict=True):
        _panel(canvas, place, one)
    return canvas.png()


def _framed(one: Matrix) -> Frame:
    """The first row is above."""
    rows, columns = range(len(one.rows)), range(len(one.columns))
    return Frame(
        Scale(-0.5, len(columns) - 0.5),
        Scale(len(rows) - 0.5, -0.5),
        Ticks(columns, one.columns),
        Ticks(rows, one.rows),
        title=shortened(one.title),
        below="predicted" if one.is_square else "",
        beside="true" if one.is_square else "",
        size="small" if len(rows) <= FEW else 6,
        is_upright=not is_short(one.columns),
        is_boxed=True,
        cells=(len(columns), len(rows)) if one.is_square else None,
    )


def _panel(canvas: Canvas, place: Place, one: Matrix) -> None:
    canvas.cells(place.box, colormaps["Blues"](one.shares, bytes=True))
    draw_lines(canvas, place)
    if len(one.rows) > MAX_NUMBERS:
        return
    x, y = place.x(range(len(one.columns))), place.y(range(len(one.rows)))
    for row, texts in enumerate(one.texts):
        for column, text in enumerate(texts):
            colour = "white" if one.shares[row][column] > 0.55 else "black"
            size = "medium" if len(one.rows) <= FEW else 6
            canvas.text((x[column], y[row]), text, size, down=0.5, colour=colour)


def is_short(names: Sequence[str]) -> bool:
    return len(names) * max(map(len, names)) <= 36
