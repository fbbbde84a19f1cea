"""How many of each class were taken for each; of several labels at once, how well each is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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


def matrices(evaluation: Mapping[str, Any]) -> list[Matrix]:
    """`evaluation`: of metrics.json, which its user may have written. None at all where no output tells classes.
    Raises ValueError."""
    try:
        return _matrices(evaluation)
    except (KeyError, TypeError, AttributeError, IndexError):
        raise ValueError("has an evaluation that is not as gpujobs writes it") from None


def _matrices(evaluation: Mapping[str, Any]) -> list[Matrix]:
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
        names = [f"{entry['class']} ({entry['support']})" for entry in each]
        shares = [[float(entry[score]) for score in SCORES] for entry in each]
        return Matrix(
            title, names, list(SCORES), shares, [[f"{x:.2f}" for x in row] for row in shares], False
        )
    counts = [[int(number) for number in row[:MAX_CLASSES]] for row in confusion["matrix"][:MAX_CLASSES]]
    names = [str(name) for name in confusion["classes"][:MAX_CLASSES]]
    if not counts or any(len(row) != len(names) for row in counts) or len(counts) != len(names):
        raise KeyError
    shares = [[number / max(sum(row), 1) for number in row] for row in counts]
    return Matrix(title, names, names, shares, [[str(number) for number in row] for row in counts], True)
