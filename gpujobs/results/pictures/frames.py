"""Panels on a page: their places, and the ticks, grid and words around them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gpujobs.results.pictures.canvas import POINT, Canvas, Extent, Point, Segment, measured
from gpujobs.results.pictures.scales import Scale, Ticks
from gpujobs.results.pictures.style import DPI

ASIDE, ABOVE = 0.1 * DPI, 0.08 * DPI
"""What stays free beside a panel, and above and below it."""
TICK, MINOR = 3.5 * POINT, 2 * POINT
TICK_GAP, NAME_GAP, TITLE_GAP, OFFSET_GAP = (POINT * points for points in (3.5, 4, 6, 3))
LETTER = 10 / 1.2 * POINT
"""Of the legend."""
LEGEND_ROW, LEGEND_AROUND = 0.23, 0.2
"""Inches."""

Box = tuple[float, float, float, float]
"""Left, bottom, right and top."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A panel, before it has a place. `size`: of the ticks' labels. `is_upright`: those below read upwards.
    `is_boxed`: within lines on all sides, without a grid. `cells`: it has so many columns and rows, to be square."""

    x: Scale
    y: Scale
    x_ticks: Ticks
    y_ticks: Ticks
    title: str = ""
    below: str = ""
    beside: str = ""
    size: float | str = "medium"
    below_size: str = "medium"
    title_size: str = "medium"
    is_titled_left: bool = False
    is_upright: bool = False
    is_boxed: bool = False
    cells: tuple[int, int] | None = None

    def x_labels(self) -> list[Extent]:
        return [measured(one, self.size) for one in self.x_ticks.labels]

    def y_labels(self) -> list[Extent]:
        return [measured(one, self.size, self.y_ticks.is_formula) for one in self.y_ticks.labels]

    def beside_wide(self) -> float:
        return TICK + TICK_GAP + max((one.wide for one in self.y_labels()), default=0.0)

    def below_high(self) -> float:
        highs = (one.wide if self.is_upright else one.high for one in self.x_labels())
        return TICK + TICK_GAP + max(highs, default=0.0)

    def raised(self) -> float:
        """How far a title on the left is above what stands there."""
        return measured(self.y_ticks.offset).high if self.is_titled_left else 0.0


@dataclass(frozen=True, slots=True)
class Margins:
    """Around a panel. Left and right are those of its column, above and below those of its row."""

    left: float
    right: float
    above: float
    below: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where a panel is, and where in it a value."""

    frame: Frame
    box: Box

    def x(self, values: Sequence[float]) -> list[float]:
        left, _, right, _ = self.box
        return [left + self.frame.x.part(value) * (right - left) for value in values]

    def y(self, values: Sequence[float]) -> list[float]:
        _, bottom, _, top = self.box
        return [bottom + self.frame.y.part(value) * (top - bottom) for value in values]


def arrange(
    canvas: Canvas, frames: Sequence[Frame], columns: int, head: float = 0.0, foot: float = 0.0
) -> list[Place]:
    """Places the frames row by row, below `head` and above `foot` (inches), and draws what stands around them."""
    within = (0.0, foot * DPI, float(canvas.wide), canvas.high - head * DPI)
    wide = (within[2] - within[0]) / columns
    found = boxes([_margins(frame, wide) for frame in frames], columns, within)
    places = [Place(frame, _squared(box, frame.cells)) for frame, box in zip(frames, found, strict=True)]
    for place in places:
        draw_lines(canvas, place)
        _draw_words(canvas, place)
    return places


def _margins(frame: Frame, wide: float) -> Margins:
    """`wide`: of the panel and its margins, for how far the last label to the right may hang over."""
    left = frame.beside_wide() + _with_gap(measured(frame.beside).high, NAME_GAP)
    over = [
        (frame.x.part(at) - 1) * (wide - left) + (one.high if frame.is_upright else one.wide) / 2
        for at, one in zip(frame.x_ticks.places, frame.x_labels(), strict=True)
    ]
    names = max(measured(frame.below, frame.below_size).high, measured(frame.x_ticks.offset).high)
    return Margins(
        left,
        max([0.0, *over]),
        frame.raised() + _with_gap(measured(frame.title, frame.title_size).high, TITLE_GAP),
        frame.below_high() + _with_gap(names, NAME_GAP),
    )


def _with_gap(length: float, gap: float) -> float:
    return length + gap if length else 0.0


def boxes(margins: Sequence[Margins], columns: int, within: Box) -> Iterator[Box]:
    """Panels of one size, each row and column with the widest margins of its own."""
    across = [margins[at::columns] for at in range(min(columns, len(margins)))]
    down = [margins[at : at + columns] for at in range(0, len(margins), columns)]
    left = [ASIDE + max(one.left for one in own) for own in across]
    right = [ASIDE + max(one.right for one in own) for own in across]
    above = [ABOVE + max(one.above for one in own) for own in down]
    below = [ABOVE + max(one.below for one in own) for own in down]
    wide = max((within[2] - within[0] - sum(left) - sum(right)) / len(across), 1.0)
    high = max((within[3] - within[1] - sum(above) - sum(below)) / len(down), 1.0)
    for number in range(len(margins)):
        row, column = divmod(number, columns)
        x = within[0] + sum(left[: column + 1]) + sum(right[:column]) + column * wide
        y = within[3] - sum(above[: row + 1]) - sum(below[:row]) - row * high
        yield x, y - high, x + wide, y


def _squared(box: Box, cells: tuple[int, int] | None) -> Box:
    """The largest within this one whose cells are square, in its middle."""
    if cells is None:
        return box
    left, bottom, right, top = box
    cell = min((right - left) / cells[0], (top - bottom) / cells[1])
    x, y = (right - left - cell * cells[0]) / 2, (top - bottom - cell * cells[1]) / 2
    return left + x, bottom + y, right - x, top - y


def draw_lines(canvas: Canvas, place: Place) -> None:
    frame, (left, bottom, right, top) = place.frame, place.box
    x, y = place.x(frame.x_ticks.places), place.y(frame.y_ticks.places)
    lines: list[Segment] = [((left, bottom), (right, bottom)), ((left, bottom), (left, top))]
    if frame.is_boxed:
        lines += [((left, top), (right, top)), ((right, bottom), (right, top))]
    else:
        canvas.segments((((at, bottom), (at, top)) for at in x), "#b0b0b0", 0.3)
        canvas.segments((((left, at), (right, at)) for at in y), "#b0b0b0", 0.3)
    lines += [((at, bottom), (at, bottom - TICK)) for at in x]
    lines += [((left, at), (left - TICK, at)) for at in y]
    lines += [((left, at), (left - MINOR, at)) for at in place.y(frame.y_ticks.minor)]
    canvas.segments(lines)


def _draw_words(canvas: Canvas, place: Place) -> None:
    frame, (left, bottom, right, top) = place.frame, place.box
    for at, label in zip(place.x(frame.x_ticks.places), frame.x_ticks.labels, strict=True):
        canvas.text((at, bottom - TICK - TICK_GAP), label, frame.size, is_upright=frame.is_upright)
    is_formula = frame.y_ticks.is_formula
    for at, label, extent in zip(
        place.y(frame.y_ticks.places), frame.y_ticks.labels, frame.y_labels(), strict=True
    ):
        middle = extent.ascent / 2 / extent.high if extent.high else 0.0
        aside = (left - TICK - TICK_GAP, at)
        canvas.text(aside, label, frame.size, across=1, down=middle, is_formula=is_formula)
    under = bottom - frame.below_high() - NAME_GAP
    beside = (left - frame.beside_wide() - NAME_GAP, (bottom + top) / 2)
    canvas.text(((left + right) / 2, under), frame.below, frame.below_size)
    canvas.text(beside, frame.beside, across=1, down=0.5, is_upright=True)
    canvas.text((right, under), frame.x_ticks.offset, across=1)
    canvas.text((left, top + OFFSET_GAP), frame.y_ticks.offset, across=0, down=1)
    over: Point = (left if frame.is_titled_left else (left + right) / 2, top + TITLE_GAP + frame.raised())
    canvas.text(over, frame.title, frame.title_size, across=0 if frame.is_titled_left else 0.5, down=1)


def legend_high(names: int, columns: int) -> float:
    """Inches."""
    return LEGEND_ROW * math.ceil(names / columns) + LEGEND_AROUND


def legend(canvas: Canvas, entries: Sequence[tuple[str, dict[str, Any]]], columns: int) -> None:
    """At the page's foot, in its middle, column by column. `entries`: names, with the looks of their lines."""
    rows = math.ceil(len(entries) / columns)
    shown = [entries[at : at + rows] for at in range(0, len(entries), rows)]
    wide = [2.8 * LETTER + max(measured(name, "small").wide for name, _ in one) for one in shown]
    left = (canvas.wide - sum(wide) - 2 * LETTER * (len(wide) - 1)) / 2
    for one, width in zip(shown, wide, strict=True):
        for row, (name, look) in enumerate(one):
            y = (LEGEND_AROUND / 2 + (rows - row - 0.5) * LEGEND_ROW) * DPI
            canvas.line([left, left + LETTER, left + 2 * LETTER], [y] * 3, **{**look, "markevery": [1]})
            canvas.text((left + 2.8 * LETTER, y), name, "small", across=0, down=0.5)
        left += width + 2 * LETTER
