"""Times of rows beside those of the rows before them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpujobs.trainer.data.arrays import Integers, Times
from gpujobs.trainer.data.samples import calendar
from gpujobs.trainer.data.samples.calendar import Step
from gpujobs.trainer.data.samples.clock import fine
from gpujobs.trainer.data.samples.timeline import Timeline

PIECE_ROWS = 1 << 17
"""Rows that are compared at once."""

LOOKED_AT = 1 << 16
"""Differences that are counted to find a step; all are then compared with it."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Times of rows and of those that follow them in the same series, `at` row numbers."""

    at: Integers
    before: Times
    after: Times
    wall_before: Times
    wall_after: Times

    @property
    def is_double(self) -> NDArray[np.bool_]:
        return self.before == self.after

    def share(self, step: Step) -> float:
        return float(self.keeps(step).mean())

    def keeps(self, step: Step) -> NDArray[np.bool_]:
        count, is_exact = self.moves(step)
        return (count == 1) & is_exact

    def moves(self, step: Step) -> tuple[Integers, NDArray[np.bool_]]:
        if step.is_of_calendar:
            return calendar.moves(step, self.wall_before, self.wall_after)
        return calendar.moves(step, self.before, self.after)

    def only(self, some: NDArray[np.bool_]) -> Pairs:
        return Pairs(*(values[some] for values in (
            self.at, self.before, self.after, self.wall_before, self.wall_after)))  # fmt: skip


def in_pieces(line: Timeline) -> Iterator[Pairs]:
    """Of all rows, some at a time."""
    end = len(line.times)
    for begin in range(0, end, PIECE_ROWS):
        # an hour that comes twice is told by the rows before it
        early = max(0, begin - (LOOKED_AT if line.clock.zone else 1))
        yield _between(line, early, min(begin + PIECE_ROWS, end), begin)


def _between(line: Timeline, early: int, end: int, begin: int) -> Pairs:
    """Of the rows from `begin` to `end`; those from `early` are looked at."""
    begins = line.series[:, 0]
    begins = begins[(begins >= early) & (begins < end)] - early
    is_inside = np.ones(end - early, bool)
    is_inside[: begin - early] = False
    is_inside[begins] = False
    is_inside[:1] = False
    at = np.flatnonzero(is_inside)
    times = fine(line.times[early:end])
    instants = line.clock.instants(times, begins, line.sizes)
    before, after = instants[at - 1], instants[at]
    if line.clock.zone is None:
        return Pairs(at + early, before, after, before, after)
    wall = line.clock.wall(times)
    return Pairs(at + early, before, after, wall[at - 1], wall[at])


def spread(line: Timeline, first: int = 0, end: int | None = None) -> Pairs:
    """Of rows from `first` to `end`, evenly spread where there are many."""
    end = len(line.times) if end is None else end
    if end - first <= LOOKED_AT:
        return _between(line, first, end, first)
    at = np.linspace(first + 1, end - 1, LOOKED_AT).astype(np.int64)
    begins = line.series[:, 0]
    at = at[begins[np.searchsorted(begins, at, side="right") - 1] != at]
    both = fine(np.stack([line.times[at - 1], line.times[at]], axis=1).reshape(-1))
    instants = line.clock.instants(both, np.arange(0, len(both), 2)).reshape(-1, 2)
    wall = line.clock.wall(both).reshape(-1, 2)
    return Pairs(at, instants[:, 0], instants[:, 1], wall[:, 0], wall[:, 1])
