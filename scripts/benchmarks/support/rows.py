"""Figures, and the table that shows them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

HEAD = ("what", "unit", "min", "median", "max", "at most", "")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, measured once for each element of `values`. `at_most` is what the median must reach.

    Without values, `note` says why.
    """

    what: str
    unit: str
    values: tuple[float, ...]
    at_most: float | None = None
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def verdict(self) -> str:
        if not self.values:
            return self.note
        if self.at_most is None:
            return self.note
        return "reached" if self.median <= self.at_most else "MISSED"

    def to_json(self) -> dict[str, Any]:
        known = (
            {"min": min(self.values), "median": self.median, "max": max(self.values)} if self.values else {}
        )
        return {"what": self.what, "unit": self.unit, "values": list(self.values), **known,
                "at_most": self.at_most, "note": self.note}  # fmt: skip


def ratios(what: str, of: Sequence[float], to: Sequence[float], at_most: float | None = None) -> Row:
    """Of what was measured in the same round."""
    return Row(what, "ratio", tuple(one / other for one, other in zip(of, to, strict=True)), at_most)


def table(rows: Sequence[Row]) -> str:
    """In Markdown, aligned so that it can be read on a terminal too."""
    cells = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEAD))]
    lines = [_line(row, widths) for row in cells]
    lines.insert(
        1,
        "|"
        + "|".join("-" * (width + 1) + (":" if 2 <= n <= 5 else "-") for n, width in enumerate(widths))
        + "|",
    )
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    figures = (min(row.values), row.median, max(row.values)) if row.values else (None, None, None)
    return (row.what, row.unit, *map(_number, figures), _number(row.at_most), row.verdict)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.rjust(width) if 2 <= number <= 5 else cell.ljust(width)
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "| " + " | ".join(padded) + " |"


def _number(value: float | None) -> str:
    """Three significant digits, and no more than two decimals beyond them."""
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
