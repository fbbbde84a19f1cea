"""How many of each class were taken for each; of several labels at once, how well each is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from gpujobs.results.pictures.style import figure, label, labels, rendered

MAX_NUMBERS = 25
"""More rows than that leave no room for numbers."""
MAX_CLASSES, MAX_OUTPUTS = 50, 6
SCORES = ("precision", "recall", "f1")


@dataclass(frozen=True, slots=True)
class Matrix:
    """`shares`: of each row, 0 to 1, which are its colours; `texts`: what stands there."""

    title: str
    rows: list[str]
    columns: list[str]
    shares: list[list[float]]
    texts: list[list[str]]
    is_square: bool


def png(evaluation: Mapping[str, Any]) -> bytes | None:
    """`evaluation`: of metrics.json. None where no output tells classes. Raises ValueError."""
    try:
        found = matrices(evaluation)
    except (KeyError, TypeError, AttributeError, IndexError):
        raise ValueError("has an evaluation that is not as gpujobs writes it") from None
    return _drawn(found) if found else None


def matrices(evaluation: Mapping[str, Any]) -> list[Matrix]:
    several = evaluation.get("outputs") or {"": evaluation}
    part = f"{evaluation['part']} part"
    return [
        _matrix(f"{name}, {part}" if name else part, one)
        for name, one in several.items()
        if one.get("classes")
    ][:MAX_OUTPUTS]


def _matrix(title: str, one: Mapping[str, Any]) -> Matrix:
    confusion = one.get("confusion")
    if confusion is None:
        each = one["classes"][:MAX_CLASSES]
        names = labels([f"{entry['class']} ({entry['support']})" for entry in each], 20)
        shares = [[float(entry[score]) for score in SCORES] for entry in each]
        return Matrix(
            title, names, list(SCORES), shares, [[f"{x:.2f}" for x in row] for row in shares], False
        )
    counts = [[int(number) for number in row[:MAX_CLASSES]] for row in confusion["matrix"][:MAX_CLASSES]]
    names = labels(confusion["classes"][:MAX_CLASSES], 20)
    if not counts or any(len(row) != len(names) for row in counts) or len(counts) != len(names):
        raise KeyError
    shares = [[number / max(sum(row), 1) for number in row] for row in counts]
    return Matrix(title, names, names, shares, [[str(number) for number in row] for row in counts], True)


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
