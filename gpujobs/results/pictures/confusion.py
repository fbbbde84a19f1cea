"""The confusion matrix of a job as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from matplotlib.axes import Axes

from gpujobs.results.confusion import Matrix, matrices
from gpujobs.results.pictures.style import figure, label, labels, rendered

MAX_NUMBERS = 25
"""More rows than that leave no room for numbers."""


def png(evaluation: Mapping[str, Any]) -> bytes | None:
    """`evaluation`: of metrics.json. None where no output tells classes. Raises ValueError."""
    found = [
        replace(one, rows=labels(one.rows, 20), columns=labels(one.columns, 20))
        for one in matrices(evaluation)
    ]
    return _drawn(found) if found else None


def _drawn(found: Sequence[Matrix]) -> bytes:
    across = min(len(found), 2)
    down = -(-len(found) // across)
    size = [1.9 + min(0.5 * len(one.rows), 9.0) for one in found]
    drawn = figure(across * max(4.6, *size, 0), down * max(3.2, *size, 0))
    drawn.subplots(down, across)
    for axes, one in zip(drawn.axes, found, strict=False):
        _panel(axes, one)
    for empty in drawn.axes[len(found) :]:
        empty.set_axis_off()
    return rendered(drawn)


def _panel(axes: Axes, one: Matrix) -> None:
    axes.imshow(one.shares, cmap="Blues", vmin=0, vmax=1, aspect="equal" if one.is_square else "auto")
    is_small = len(one.rows) <= 12
    axes.set_xticks(
        range(len(one.columns)),
        one.columns,
        rotation=0 if is_short(one.columns) else 90,
        fontsize="small" if is_small else 6,
    )
    axes.set_yticks(range(len(one.rows)), one.rows, fontsize="small" if is_small else 6)
    axes.set_title(label(one.title), fontsize="medium")
    if one.is_square:
        axes.set(xlabel="predicted", ylabel="true")
    if len(one.rows) <= MAX_NUMBERS:
        for row, texts in enumerate(one.texts):
            for column, text in enumerate(texts):
                _number(axes, column, row, text, one.shares[row][column], is_small)


def is_short(names: Sequence[str]) -> bool:
    return len(names) * max(map(len, names)) <= 36


def _number(axes: Axes, x: int, y: int, text: str, share: float, is_small: bool) -> None:
    colour = "white" if share > 0.55 else "black"
    axes.text(x, y, text, ha="center", va="center", color=colour, fontsize="medium" if is_small else 6)
