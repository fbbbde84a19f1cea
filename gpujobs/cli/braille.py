"""Learning curves in a terminal, of braille characters, which have 2 by 4 dots each.

No library of those on offer suits: plotext changed its whole interface between its versions 5 and 6, plotille
has no dashed lines and tells curves apart by their colours alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import click

from gpujobs.cli.cells import cut
from gpujobs.printing import printable
from gpujobs.results.curves import Curve, Panel

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
ROWS, CROWD = 10, 3
"""More jobs than that get twice the rows."""
DASH = 3
COLOURS = (39, 208, 36, 175, 220, 160)
"""Of a terminal's 256, those that the colour-blind tell apart best."""
ALONE, VALIDATION_ALONE = "⣿", "⠶"
"""A value between gaps, or of the only epoch."""
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

Point = tuple[int, int]
"""Column and row, of dots or of characters, from the top left."""


@dataclass(frozen=True, slots=True)
class Axis:
    """What stands below: the ends where they are not the numbers themselves, and what they are."""

    name: str
    first: str = ""
    last: str = ""


EPOCHS = Axis("epoch")


def lines(panel: Panel, jobs: int, width: int, colour: bool, rows: int | None = None) -> list[str]:
    """Of `width` columns at most, and of `rows` between the axes, 2 at least. Where there are several jobs, each
    curve bears the letter of its job."""
    title = panel.title() + (", logarithmic" if panel.finite() and panel.is_log() else "")
    return drawn(panel, title, EPOCHS, jobs, width, colour, rows)


def drawn(
    panel: Panel, title: str, axis: Axis, jobs: int, width: int, colour: bool, rows: int | None = None
) -> list[str]:
    title = cut(printable(title), width)
    if not panel.finite():
        return [title, "  no finite value"]
    frame = Frame(panel, rows or (ROWS if jobs <= CROWD else 2 * ROWS), width)
    canvas = Canvas()
    for number, curve in enumerate(panel.curves):
        runs = frame.runs(curve)
        canvas.draw(curve, runs)
        if jobs > 1:  # not at the same place of each, where curves may meet
            canvas.name(curve, runs, (number + 0.5) / len(panel.curves) * 2 * frame.columns)
    return [title, *frame.around(canvas, axis, colour)]


class Frame:
    """The axes of a panel: where its values lie, and what stands beside them."""

    def __init__(self, panel: Panel, rows: int, width: int) -> None:
        self.rows = rows
        self._scale: Callable[[float], float] = math.log10 if panel.is_log() else float
        back: Callable[[float], float] = (lambda y: 10**y) if panel.is_log() else float
        values = panel.finite()
        low, self._high = self._scale(min(values)), self._scale(max(values))
        self._labels = {0: f"{back(self._high):.4g}", rows - 1: f"{back(low):.4g}"}
        if self._high > low:
            middle = self._high - (self._high - low) * (rows // 2) / (rows - 1)
            self._labels[rows // 2] = f"{back(middle):.4g}"
        self._margin = max(map(len, self._labels.values()))
        self.columns = max(width - self._margin - 2, 10)
        self._first, self._last = panel.epochs()
        self._across = (2 * self.columns - 1) / ((self._last - self._first) or 1)
        self._down = (4 * rows - 1) / ((self._high - low) or 1)

    def runs(self, curve: Curve) -> list[list[Point]]:
        """The dots of a curve's values, parted where one is missing."""
        return [[self._dot(curve.epochs[at], curve.values[at]) for at in run] for run in curve.runs()]

    def around(self, canvas: Canvas, below: Axis, colour: bool) -> list[str]:
        body = [
            f"{self._labels.get(row, ''):>{self._margin}} {'┤' if row in self._labels else '│'}"
            + "".join(canvas.cell((column, row), colour) for column in range(self.columns)).rstrip()
            for row in range(self.rows)
        ]
        left = below.first or f"{self._first:g}"
        right = below.last or (f"{self._last:g}" if self._last > self._first else "")
        axis = left + below.name.center(self.columns - len(left) - len(right)) + right
        space = " " * self._margin
        return [*body, f"{space} └{'─' * self.columns}", f"{space}  {axis}".rstrip()]

    def _dot(self, epoch: float, value: float) -> Point:
        x = round((epoch - self._first) * self._across)
        return x, round((self._high - self._scale(value)) * self._down)


class Canvas:
    """Characters, and which job's each is."""

    def __init__(self) -> None:
        self._bits: dict[Point, int] = {}
        self._texts: dict[Point, str] = {}
        self._jobs: dict[Point, int] = {}

    def draw(self, curve: Curve, runs: Sequence[Sequence[Point]]) -> None:
        for run in runs:
            for x, y in _dots(run, curve.is_validation):
                at = x // 2, y // 4
                self._bits[at] = self._bits.get(at, 0) | DOTS[y % 4][x % 2]
                self._jobs[at] = curve.job
            if len(run) == 1:
                x, y = run[0]
                self._texts[x // 2, y // 4] = VALIDATION_ALONE if curve.is_validation else ALONE

    def name(self, curve: Curve, runs: Sequence[Sequence[Point]], near: float) -> None:
        """Writes the letter of a curve's job on it, near a column of dots."""
        places = [point for run in runs for point in _dots(run, False)]
        if places:
            x, y = min(places, key=lambda place: abs(place[0] - near))
            self._texts[x // 2, y // 4] = LETTERS[curve.job % len(LETTERS)]
            self._jobs[x // 2, y // 4] = curve.job

    def cell(self, at: Point, colour: bool) -> str:
        text = self._texts.get(at) or (chr(0x2800 + self._bits[at]) if at in self._bits else " ")
        return styled(text, self._jobs[at]) if colour and at in self._jobs else text


def styled(text: str, job: int) -> str:
    return click.style(text, fg=COLOURS[job % len(COLOURS)])


def _dots(run: Sequence[Point], is_dashed: bool) -> list[Point]:
    """Of the straight lines from point to point; a point alone is a dot."""
    dots = [run[0]]
    for (x0, y0), (x1, y1) in pairwise(run):
        steps = max(abs(x1 - x0), abs(y1 - y0))
        dots += [
            (x0 + round((x1 - x0) * step / steps), y0 + round((y1 - y0) * step / steps))
            for step in range(1, steps + 1)
        ]
    return [dot for number, dot in enumerate(dots) if not is_dashed or number // DASH % 2 == 0]
