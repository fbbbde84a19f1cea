"""A page of pixels that lines and words are drawn on at once.

matplotlib's figures make five artists of a tick, and their layout looks at each of them some six times for a picture: a
job's two pictures took 0.3 s of a processor, at the job's end. Here lines, letters and pixels are matplotlib's too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.path import Path
from matplotlib.transforms import IdentityTransform

from gpujobs.results.pictures.style import DPI, lacking_letters, png_of

POINT = DPI / 72
"""Pixels, as all lengths and places here are; x from the left, y from below."""
LINE = 0.8
"""Points, as all widths of lines are."""
AROUND = 4
"""Free around the pixels of a word: some letters are larger than their measure."""
PIXELS = IdentityTransform()

Point = tuple[float, float]
Segment = tuple[Point, Point]


@dataclass(frozen=True, slots=True)
class Extent:
    """Of a line of text. `ascent`: from its base line to its upper edge; `high` has what hangs below, too."""

    wide: float
    high: float
    ascent: float


@dataclass(frozen=True, slots=True)
class Stamp:
    """A word as pixels: an array (rows, columns, 4) of bytes, the lowest row first. `base`: where its base line begins,
    from the left and from above."""

    pixels: Any
    base: tuple[int, int]


class Canvas:
    def __init__(self, wide: float, high: float) -> None:
        """Inches."""
        self.wide, self.high = int(wide * DPI), int(high * DPI)
        self._renderer = RendererAgg(self.wide, self.high, DPI)  # type: ignore[no-untyped-call]
        np.asarray(self._renderer.buffer_rgba())[:] = 255  # type: ignore[no-untyped-call]

    def png(self) -> bytes:
        return png_of(np.asarray(self._renderer.buffer_rgba()))  # type: ignore[no-untyped-call]

    def text(
        self,
        at: Point,
        text: str,
        size: float | str = "medium",
        *,
        across: float = 0.5,
        down: float = 0.0,
        colour: str = "black",
        is_formula: bool = False,
        is_upright: bool = False,
    ) -> None:
        """`at` is `across` (0 to 1) of its width and `down` of its height; upright, it reads upwards."""
        extent = measured(text, size, is_formula)
        x, y = at
        if is_upright:
            x += extent.ascent - across * extent.high
            y -= (1 - down) * extent.wide
        else:
            x -= across * extent.wide
            y += down * extent.high - extent.ascent
        if text:
            self._stamp(round(x), round(self.high - y), stamp(text, size, colour, is_formula, is_upright))

    def _stamp(self, x: int, down: int, one: Stamp) -> None:
        """`down`: from the upper edge."""
        from_below = self.high - (down - one.base[1] + len(one.pixels))
        self._renderer.draw_image(self._pen("black"), x - one.base[0], from_below, one.pixels)

    def segments(self, segments: Iterable[Segment], colour: str = "black", alpha: float = 1.0) -> None:
        """Thin straight lines, on whole pixels where they are level or upright."""
        pen = self._pen(colour)
        pen.set_alpha(alpha)
        pen.set_linewidth(LINE)
        for segment in segments:
            self._renderer.draw_path(pen, Path(np.array(segment)), PIXELS)  # type: ignore[no-untyped-call]

    def line(self, x: Sequence[float], y: Sequence[float], **look: Any) -> None:
        """`look`: of a matplotlib Line2D."""
        Line2D(x, y, transform=PIXELS, **look).draw(self._renderer)

    def cells(self, box: tuple[float, float, float, float], colours: Any) -> None:
        """A box filled with coloured cells. `colours`: an array (rows, columns, 4) of bytes, the first row above."""
        left, bottom, right, top = map(round, box)
        rows = np.arange(top - bottom) * len(colours) // max(top - bottom, 1)
        columns = np.arange(right - left) * colours.shape[1] // max(right - left, 1)
        pixels = np.ascontiguousarray(colours[rows[::-1]][:, columns])
        self._renderer.draw_image(self._pen("black"), left, bottom, pixels)

    def _pen(self, colour: str) -> Any:
        pen = self._renderer.new_gc()
        pen.set_foreground(colour)
        return pen


@lru_cache(64)
def font(size: float | str) -> FontProperties:
    return FontProperties(size=size)


@lru_cache(4096)
def measured(text: str, size: float | str = "medium", is_formula: bool = False) -> Extent:
    """Lines of one size are of one height."""
    if not text:
        return Extent(0.0, 0.0, 0.0)
    wide, high, descent = _measured(text, size, is_formula)
    _, least_high, least_descent = _measured("lp", size, False)
    high, descent = max(high, least_high), max(descent, least_descent)
    return Extent(wide, high, high - descent)


def _measured(text: str, size: float | str, is_formula: bool) -> tuple[float, float, float]:
    with lacking_letters():
        wide, high, descent = _ruler().get_text_width_height_descent(text, font(size), is_formula)  # type: ignore[no-untyped-call]
    return float(wide), float(high), float(descent)


@lru_cache(1024)
def stamp(text: str, size: float | str, colour: str, is_formula: bool, is_upright: bool) -> Stamp:
    """Kept, since most words come again: in a picture, and in the next job's. No open file is kept with it, so that a
    process that is forked off has them, too."""
    extent = measured(text, size, is_formula)
    wide, high, ascent = (math.ceil(one) for one in (extent.wide, extent.high, extent.ascent))
    if is_upright:
        wide, high, base = high, wide, (AROUND + ascent, AROUND + wide)
    else:
        base = (AROUND, AROUND + ascent)
    renderer = RendererAgg(wide + 2 * AROUND, high + 2 * AROUND, DPI)  # type: ignore[no-untyped-call]
    pen = renderer.new_gc()
    pen.set_foreground(colour)
    with lacking_letters():
        renderer.draw_text(pen, *base, text, font(size), 90 if is_upright else 0, is_formula)  # type: ignore[no-untyped-call]
    pixels = np.ascontiguousarray(np.asarray(renderer.buffer_rgba())[::-1])  # type: ignore[no-untyped-call]
    return Stamp(pixels, base)


@lru_cache(1)
def _ruler() -> RendererAgg:
    return RendererAgg(1, 1, DPI)  # type: ignore[no-untyped-call]
