"""The time line in a terminal: bars of characters that tell apart what they are without colour too."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import click

from gpujobs.cli import cells, clock
from gpujobs.printing import printable
from gpujobs.view.timeline import DRAIN, EXPECTED, JOB, RESERVATION, STRANGER, Lane, Span, Timeline

FILLS = {JOB: "▓", EXPECTED: "░", RESERVATION: "=", DRAIN: "x", STRANGER: "!"}
RUNNING = "█"
COLOURS = {EXPECTED: "cyan", RESERVATION: "magenta", DRAIN: "yellow", STRANGER: "red"}
ENDED = {
    "COMPLETED": "blue",
    "FAILED": "red",
    "TIMEOUT": "red",
    "OUT_OF_MEMORY": "red",
    "CANCELLED": "yellow",
}
LEGEND = "▓ ended  █ running  ░ expected  = reserved  x drained  ! stranger"
STEPS = tuple(
    timedelta(minutes=one) for one in (1, 5, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080, 43200)
)
TICK = 10
"""Columns from one time of the axis to the next, at least."""


def lines(shown: Timeline, width: int, colour: bool) -> list[str]:
    """Of `width` columns at most."""
    names = [_name(lane) for lane in shown.lanes]
    margin = max(map(len, names), default=0) + 1
    columns = max(width - margin, 10)
    scale = _Scale(shown, columns)
    found = []
    for name, above, lane in zip(names, shown.heads(), shown.lanes, strict=True):
        if above:
            said = cells.cut(clock.localised(printable(above)), width)
            found.append(click.style(said, bold=True) if colour else said)
        for row in range(lane.rows):
            head = name if row == 0 else ""
            found.append(f"{head:<{margin}}{_row(lane, row, scale, colour)}".rstrip())
    ruler, axis = scale.axis()
    space = " " * margin
    return [*found, f"{space}{ruler}".rstrip(), f"{space}{axis}".rstrip(), LEGEND[:width]]


def _name(lane: Lane) -> str:
    return printable(f"{lane.kind} {lane.index}")[:24]


class _Scale:
    def __init__(self, shown: Timeline, columns: int) -> None:
        self._shown, self.columns = shown, columns
        self._each = (shown.ends_at - shown.starts_at) / columns

    def column(self, at: datetime) -> float:
        return (at - self._shown.starts_at) / self._each

    def between(self, span: Span) -> tuple[int, int]:
        """First column and end, at least one, and within what is shown."""
        ends = self._shown.ends_at if span.ends_at is None else span.ends_at
        if span.ends_at is None and span.kind == JOB:
            ends = min(self._shown.now, self._shown.ends_at)
        first = max(0, math.floor(self.column(span.starts_at)))
        return min(first, self.columns - 1), min(self.columns, max(first + 1, round(self.column(ends))))

    def axis(self) -> tuple[str, str]:
        ruler, axis = ["─"] * self.columns, [" "] * self.columns
        for at, text in self._ticks():
            column = math.floor(self.column(at))
            if column + len(text) <= self.columns:
                ruler[column] = "┴"
                axis[column : column + len(text)] = text
        now = math.floor(self.column(self._shown.now))
        if 0 <= now < self.columns:
            ruler[now] = "▲"
        return "".join(ruler), "".join(axis)[: self.columns]

    def _ticks(self) -> Iterator[tuple[datetime, str]]:
        """At whole hours of the reader, or days: as dense as there is room."""
        step = next((one for one in STEPS if one / self._each >= TICK), STEPS[-1])
        midnight = self._shown.starts_at.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        first = math.ceil((self._shown.starts_at - midnight) / step)
        for number in range(first, first + self.columns):
            at = midnight.astimezone(UTC) + number * step
            if at >= self._shown.ends_at:
                return
            text = clock.local(at)
            yield at, text[5:10] if step >= timedelta(days=1) else text[11:16]


def _row(lane: Lane, row: int, scale: _Scale, colour: bool) -> str:
    drawn: list[tuple[str, Span | None]] = [(" ", None)] * scale.columns
    for span in lane.spans:
        if span.row == row:
            first, end = scale.between(span)
            drawn[first:end] = [(sign, span) for sign in _text(span, end - first)]
    return "".join(_styled(sign, span) if colour and span else sign for sign, span in drawn)


def _text(span: Span, columns: int) -> list[str]:
    """A cell for each column; behind a character of two columns an empty one."""
    is_running = span.kind == JOB and span.ends_at is None
    fill = RUNNING if is_running else FILLS[span.kind]
    said = " ".join(filter(None, [str(span.job) if span.job else "", printable(span.label)]))
    room = columns - 4
    if room < max(len(str(span.job or "")), min(3, len(said))):
        return [fill] * columns
    found = [fill, " "]
    for sign in cells.cut(said, room):
        found += [sign, *[""] * (cells.width(sign) - 1)] if cells.width(sign) else []
    return [*found, " ", *[fill] * columns][:columns]


def _styled(sign: str, span: Span) -> str:
    colour = COLOURS.get(span.kind) or ("green" if span.ends_at is None else ENDED.get(span.state, "blue"))
    return click.style(sign, fg=colour)


def as_it_was(shown: Timeline, at: datetime) -> list[str]:
    """A line for each device at this instant."""
    found = [f"as it was at {clock.local(at, 'seconds')}:"]
    several = len({lane.node for lane in shown.lanes}) > 1
    for lane in shown.at(at).lanes:
        said = "; ".join(_said(span) for span in lane.spans) or "free"
        node = f"{lane.node}:" if several else ""
        found.append(printable(f"{node}{_name(lane)}: {said}"))
    return found


def _said(span: Span) -> str:
    since = f"since {clock.local(span.starts_at)}"
    match span.kind:
        case "job":
            return f"job {span.job} {span.label}".rstrip() + f", attempt {span.attempt}, {since}"
        case "expected":
            return f"job {span.job} {span.label}".rstrip() + f", expected {since}"
        case "reservation":
            return f"reserved for {span.label or 'somebody'} {since}"
        case "drain":
            return f"drained {since}: {span.label}"
    return span.label
