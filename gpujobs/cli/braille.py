"""Learning curves in a terminal, of braille characters, which have 2 by 4 dots each.

No library of those on offer suits: plotext ignores NaN instead of leaving a gap and takes 0.2 s to import,
plotille has no dashed lines, and both tell curves apart by their colours alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import click

from gpujobs.cli.curves import Panel
from gpujobs.cli.output import printable

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


def lines(panel: Panel, jobs: int, width: int, colour: bool) -> list[str]:
    """Of `width` columns at most. Where there are several jobs, each curve bears the letter of its job."""
    rows = ROWS if jobs <= CROWD else 2 * ROWS
    values = panel.finite()
    title = printable(panel.title())
    if not values:
        return [title, "  no finite value"]
    scale, back = (math.log10, lambda y: 10**y) if panel.is_log() else (float, float)
    low, high = scale(min(values)), scale(max(values))
    ends = dict(zip((0, rows - 1), (f"{back(high):.4g}", f"{back(low):.4g}"), strict=True))
    if high > low:
        ends[rows // 2] = f"{back(high - (high - low) * (rows // 2) / (rows - 1)):.4g}"
    margin = max(map(len, ends.values()))
    columns = max(width - margin - 2, 10)
    first, last = panel.epochs()
    across, down = (2 * columns - 1) / ((last - first) or 1), (4 * rows - 1) / ((high - low) or 1)
    bits: dict[Point, int] = {}
    texts: dict[Point, str] = {}
    owners: dict[Point, int] = {}
    for number, curve in enumerate(panel.curves):
        runs = [
            [
                (round((curve.epochs[at] - first) * across), round((high - scale(curve.values[at])) * down))
                for at in run
            ]
            for run in curve.runs()
        ]
        for run in runs:
            for x, y in _dots(run, curve.is_validation):
                bits[x // 2, y // 4] = bits.get((x // 2, y // 4), 0) | DOTS[y % 4][x % 2]
                owners[x // 2, y // 4] = curve.job
            if len(run) == 1:
                texts[run[0][0] // 2, run[0][1] // 4] = VALIDATION_ALONE if curve.is_validation else ALONE
        places = [point for run in runs for point in _dots(run, False)]
        if places and jobs > 1:  # not at the same place of each, where curves may meet
            wanted = (number + 0.5) / len(panel.curves) * 2 * columns
            x, y = min(places, key=lambda place: abs(place[0] - wanted))
            texts[x // 2, y // 4] = LETTERS[curve.job % len(LETTERS)]
            owners[x // 2, y // 4] = curve.job

    def cell(column: int, row: int) -> str:
        at = column, row
        text = texts.get(at) or (chr(0x2800 + bits[at]) if at in bits else " ")
        return styled(text, owners[at]) if colour and at in owners else text

    body = [
        f"{ends.get(row, ''):>{margin}} {'┤' if row in ends else '│'}"
        + "".join(cell(column, row) for column in range(columns)).rstrip()
        for row in range(rows)
    ]
    left, right = f"{first:g}", f"{last:g}" if last > first else ""
    axis = left + "epoch".center(columns - len(left) - len(right)) + right
    return [
        title + (", logarithmic" if panel.is_log() else ""),
        *body,
        f"{'':{margin}} └{'─' * columns}",
        f"{'':{margin}}  {axis}".rstrip(),
    ]


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
