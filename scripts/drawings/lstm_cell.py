"""Draws docs/images/lstm-cell.png: one step of an LSTM cell, with the names of docs/cells.md.

Usage: python scripts/drawings/lstm_cell.py [FILE.png]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyBboxPatch

TARGET = Path(__file__).parents[2] / "docs/images/lstm-cell.png"
Point = tuple[float, float]

INK, CELL, SIGMOID, TANH, OPERATION, DROPOUT = (
    "#22303c",
    "#f3f5f7",
    "#ffd98a",
    "#a9d6f5",
    "#ffffff",
    "#c2410c",
)
CARRY, INPUTS, MIX, OUT = 5.6, 1.5, 4.2, 3.9
"""Heights: of the line of c, of what the gates read, of i × g, of o × tanh(c')."""
GATES = {
    "f": (3.3, SIGMOID, "sigmoid", "forget\ngate"),
    "i": (5.0, SIGMOID, "sigmoid", "input\ngate"),
    "g": (6.9, TANH, "tanh", "candidate"),
    "o": (8.6, SIGMOID, "sigmoid", "output\ngate"),
}
GATE_Y, GATE_WIDTH, GATE_HEIGHT, RADIUS = 2.75, 1.16, 0.86, 0.23


def draw(file: Path) -> None:
    figure, axes = plt.subplots(figsize=(11, 6))
    axes.set_xlim(-0.1, 13.2)
    axes.set_ylim(0.1, 6.75)
    axes.set_aspect("equal")
    axes.axis("off")
    box(axes, (6.4, 3.62), 8.6, 5.4, CELL, rounding=0.25)
    states(axes)
    gates(axes)
    carry(axes)
    output(axes)
    figure.savefig(file, dpi=110, bbox_inches="tight", pad_inches=0.08, facecolor="white")


def states(axes: Axes) -> None:
    """What goes in on the left and below."""
    last_gate = GATES["o"][0]
    line(axes, [(0.9, INPUTS), (last_gate, INPUTS)])
    line(axes, [(2.5, 0.55), (2.5, INPUTS)])
    axes.add_patch(Circle((2.5, INPUTS), 0.07, color=INK, zorder=4))
    text(axes, (0.6, CARRY), "$c$", 19)
    text(axes, (0.6, INPUTS), "$h$", 19)
    text(axes, (2.5, 0.32), "$x$", 19)
    text(axes, (0.62, CARRY + 0.45), "cell state before", 10)
    text(axes, (0.62, INPUTS + 0.45), "hidden state\nbefore", 10)
    text(axes, (2.75, 0.32), "the step's inputs", 10, align="left")
    for at, name, label, align in [
        ((1.55, INPUTS), "recurrent_dropout", (1.05, INPUTS - 0.42), "center"),
        ((2.5, 0.78), "dropout", (2.75, 0.7), "left"),
    ]:
        axes.plot(*at, marker="s", markersize=9, color="white", markeredgecolor=DROPOUT, zorder=5)
        text(axes, label, name, 10, color=DROPOUT, align=align)


def gates(axes: Axes) -> None:
    for name, (x, colour, function, meaning) in GATES.items():
        line(axes, [(x, INPUTS), (x, GATE_Y - GATE_HEIGHT / 2)], arrow=True)
        box(axes, (x, GATE_Y), GATE_WIDTH, GATE_HEIGHT, colour)
        text(axes, (x, GATE_Y + 0.14), f"${name}$", 17)
        text(axes, (x, GATE_Y - 0.24), function, 10)
        text(axes, (x + 0.14, 1.93), meaning, 10, align="left")
    top = GATE_Y + GATE_HEIGHT / 2
    (f, i, g, o), middle = (GATES[name][0] for name in "figo"), (GATES["i"][0] + GATES["g"][0]) / 2
    line(axes, [(f, top), (f, CARRY - RADIUS)], arrow=True)
    line(axes, [(i, top), (i, MIX), (middle - RADIUS, MIX)], arrow=True)
    line(axes, [(g, top), (g, MIX), (middle + RADIUS, MIX)], arrow=True)
    line(axes, [(middle, MIX + RADIUS), (middle, CARRY - RADIUS)], arrow=True)
    line(axes, [(o, top), (o, OUT), (9.9 - RADIUS, OUT)], arrow=True)
    operation(axes, (f, CARRY), "×")
    operation(axes, (middle, MIX), "×")
    operation(axes, (middle, CARRY), "+")
    text(axes, (f + 0.18, 4.6), "how much\nof $c$ is kept", 10, align="left")
    text(axes, (middle + 0.15, 4.87), "what is added", 10, align="left")


def carry(axes: Axes) -> None:
    """The line of c, from left to right."""
    line(axes, [(0.9, CARRY), (12.0, CARRY)], arrow=True)
    text(axes, (12.3, CARRY), "$c'$", 19)
    text(axes, (12.1, CARRY + 0.45), "cell state after", 10)


def output(axes: Axes) -> None:
    x = 9.9
    line(axes, [(x, CARRY), (x, OUT + RADIUS)], arrow=True)
    axes.add_patch(Circle((x, CARRY), 0.07, color=INK, zorder=4))
    box(axes, (x, 4.8), 0.86, 0.5, TANH)
    text(axes, (x, 4.78), "tanh", 10)
    line(axes, [(x, OUT - RADIUS), (x, INPUTS), (12.0, INPUTS)], arrow=True)
    operation(axes, (x, OUT), "×")
    text(axes, (12.3, INPUTS), "$h'$", 19)
    text(axes, (12.1, INPUTS + 0.55), "hidden state after,\noutput of the step", 10)


def line(axes: Axes, points: Sequence[Point], *, arrow: bool = False) -> None:
    """Through the points; `arrow`: with a head at the last one."""
    xs, ys = zip(*(points[:-1] if arrow else points), strict=True)
    axes.plot(xs, ys, color=INK, linewidth=1.8, solid_joinstyle="round", zorder=2)
    if arrow:
        style = {
            "arrowstyle": "-|>",
            "color": INK,
            "linewidth": 1.8,
            "mutation_scale": 14,
            "shrinkA": 0,
            "shrinkB": 0,
        }
        axes.annotate("", points[-1], points[-2], arrowprops=style, zorder=2)


def box(axes: Axes, centre: Point, width: float, height: float, colour: str, rounding: float = 0.1) -> None:
    corner = (centre[0] - width / 2, centre[1] - height / 2)
    style = f"round,pad=0,rounding_size={rounding}"
    edge: dict[str, Any] = {"edgecolor": INK, "linewidth": 1.4, "zorder": 3 if colour != CELL else 1}
    axes.add_patch(FancyBboxPatch(corner, width, height, boxstyle=style, facecolor=colour, **edge))


def operation(axes: Axes, centre: Point, sign: str) -> None:
    """Element by element."""
    axes.add_patch(Circle(centre, RADIUS, facecolor=OPERATION, edgecolor=INK, linewidth=1.6, zorder=3))
    text(axes, centre, sign, 15)


def text(axes: Axes, at: Point, words: str, size: float, *, align: str = "center", color: str = INK) -> None:
    axes.text(*at, words, fontsize=size, ha=align, va="center", color=color, zorder=6)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET)
