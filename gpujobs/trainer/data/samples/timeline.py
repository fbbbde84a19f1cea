"""The times of a table's series: the step of each, where rows are absent or doubled, and what comes after the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpujobs.trainer.data.arrays import Integers, Times
from gpujobs.trainer.data.notices import SHOWN, listed
from gpujobs.trainer.data.samples import calendar
from gpujobs.trainer.data.samples.calendar import Step
from gpujobs.trainer.data.samples.clock import Clock, fine

APART = 1 << 32
"""Added to the ticks where nobody knows how many steps lie between two rows."""


BEFORE = 1 << 16
"""Rows before one in an hour that comes twice that are looked at to tell which of the two it is."""


@dataclass(frozen=True, slots=True)
class Broken:
    """Rows that do not come one step after the row before, by kind. `absent`: how many rows lie between.
    `is_cut`: whether windows end there."""

    rows: Integers
    absent: Integers
    is_double: NDArray[np.bool_]
    is_cut: NDArray[np.bool_]

    @property
    def cuts(self) -> Integers:
        return self.rows[self.is_cut]


NONE = Broken(*(np.zeros(0, kind) for kind in (np.int64, np.int64, bool, bool)))


@dataclass(frozen=True, slots=True)
class Timeline:
    """`series`: the (first, end) rows of each, whose step is `steps[which[i]]`; None where it has none.
    `times`: as the file has them. `place`, `called`: the file's column in messages, with the file and without."""

    place: str
    called: str
    times: Times
    clock: Clock
    series: Integers
    steps: tuple[Step | None, ...]
    which: Integers
    broken: Broken = NONE
    doubles: int = 0
    is_given: bool = False
    is_zone_found: bool = False
    row_number: Callable[[int], int] = int

    @property
    def cuts(self) -> Integers:
        return self.broken.cuts

    @property
    def sizes(self) -> list[float]:
        """The steps that are of one length, in nanoseconds."""
        return [step.count for step in self.steps if step and step.unit == "time"]

    def step_of(self, rows: Integers) -> Integers:
        """The number of the step of the series of each row."""
        return self.which[self.number_of(rows)]

    def number_of(self, rows: Integers) -> Integers:
        """Of the series of each row."""
        return np.searchsorted(self.series[:, 0], rows, side="right") - 1

    def beyond(self, rows: Integers, count: Integers) -> Times:
        """The times `count` steps after those of `rows`; NaT or NaN where the series has no step that tells."""
        found = self.times[rows]
        which = self.step_of(rows)
        for number, step in enumerate(self.steps):
            own = (which == number) & (count > 0)
            if not own.any():
                continue
            if step is None or step.is_about:
                found = found if found.dtype.kind in "Mf" else found.astype(np.float64)
                found[own] = np.datetime64("NaT") if found.dtype.kind == "M" else np.nan
            else:
                found[own] = self._later(step, rows[own], count[own])
        return found

    def _later(self, step: Step, rows: Integers, count: Integers) -> Times:
        times = self.times[rows]
        if times.dtype.kind != "M":
            return calendar.later(step, times, count)
        clock = self.clock
        if step.is_of_calendar:
            return clock.of_wall(calendar.later(step, clock.wall(fine(times)), count)).astype(times.dtype)
        return clock.of_instants(calendar.later(step, self._instants(rows), count)).astype(times.dtype)

    def _instants(self, rows: Integers) -> Times:
        """Of these rows; which of an hour that comes twice is told by the rows before."""
        every, place = np.unique(rows, return_inverse=True)
        found = self.clock.instants(fine(self.times[every]), np.arange(len(every)))
        if self.clock.zone is None or not self.clock.is_wall:
            return found[place]
        for number in np.flatnonzero(self.clock.is_twice(fine(self.times[every]))).tolist():
            row = int(every[number])
            begin = self.series[self.number_of(every[number : number + 1])[0], 0]
            first = max(int(begin), row - BEFORE)
            times = fine(self.times[first : row + 1])
            found[number] = self.clock.instants(times, np.zeros(1, np.int64), self.sizes)[-1]
        return found[place]

    def ticks(self) -> Integers:
        """The steps from the beginning to each row, int64: rows of one series whose ticks differ by n are n steps
        apart, however many rows there are between them."""
        found = np.ones(len(self.times), np.int64)
        known = self.broken.absent >= 0
        found[self.broken.rows[known]] = self.broken.absent[known] + 1
        found[self.broken.rows[~known]] = APART
        found[self.broken.rows[self.broken.is_double]] = 0
        found[self.series[:, 0]] = APART
        return np.cumsum(found)

    def notes(self) -> Iterator[str]:
        """Sentences: what is irregular, and what that does."""
        if self.is_zone_found:
            yield (
                f"{self.called}: an hour is left out in spring or comes twice in autumn, as on the clocks of "
                f"{self.clock.zone}: windows go on across it (data.timezone names the zone)."
            )
        yield from self._absent()
        doubles = self.broken.rows[self.broken.is_double]
        if self.doubles:
            shown = f" ({self._places(doubles)})" if len(doubles) else ""
            yield (
                f"{self.called}: {_n(self.doubles, 'row', 'has', 'have')} the time of the row before{shown}"
                + ("; no window crosses them." if len(doubles) else ".")
            )
        odd = self.broken.rows[(self.broken.absent < 0) & ~self.broken.is_double]
        if len(odd):
            yield (
                f"{self.called}: {_n(len(odd), 'row', 'does', 'do')} not come a whole number of steps after the row "
                f"before ({self._places(odd)}); no window crosses them{self._zone_that_helps()}"
                f"{self._step_that_helps(odd)}."
            )
        if None in self.steps and not self.is_given:
            count = int((self.which == self.steps.index(None)).sum())
            yield (
                f"{self.called}: the times of {_n(count, 'series')} have no step that most rows keep: windows take "
                "rows as they follow each other, and nobody knows when the next will be (data.step names a step; "
                "none says that there is none)."
            )

    def _zone_that_helps(self) -> str:
        """Midnights of a zone, written with its offset, are 23 or 25 hours apart twice a year."""
        is_days = any(step is not None and step.is_of_calendar for step in self.steps)
        if not is_days or self.clock.is_wall or self.clock.zone != "UTC":
            return ""
        return "; if these are days of a zone, which have 23 or 25 hours twice a year, data.timezone names it"

    def _step_that_helps(self, rows: Integers) -> str:
        """A step that is found is kept exactly, one that is given nearly."""
        step = self.steps[0]
        if self.is_given or len(self.steps) > 1 or step is None or step.is_of_calendar or step.is_about:
            return ""
        times = fine(self.times)
        near = int(calendar.is_near(step, times[rows - 1], times[rows]).sum())
        many = "one of them is" if near == 1 else f"{near:,} of them are"
        return (
            f"; {many} within a quarter of the step, which is enough where data.step gives it" if near else ""
        )

    def _absent(self) -> Iterator[str]:
        for is_cut in (True, False):
            chosen = (self.broken.absent > 0) & (self.broken.is_cut == is_cut)
            rows, absent = self.broken.rows[chosen], int(self.broken.absent[chosen].sum())
            if len(rows) == 0:
                continue
            what = (
                "no window crosses them (data.step: none lets windows do so)"
                if is_cut
                else "windows go on across them, as they may be holidays (data.step: business day ends windows there)"
            )
            yield (
                f"{self.called}: {_n(absent, 'row', 'is', 'are')} absent in {_n(len(rows), 'gap')} "
                f"({self._places(rows)}); {what}."
            )

    def _places(self, rows: Integers) -> str:
        """`row 12: 2021-03-28T01:00:00 to 2021-03-31T09:00:00`: of the file's rows, the first after a gap."""
        shown = []
        for row in rows[:SHOWN].tolist():
            number = self.row_number(row)
            before, after = written(self.times[row - 1]), written(self.times[row])
            shown.append(
                f"row {number:,}: {after}" if before == after else f"row {number:,}: {before} to {after}"
            )
        return listed(shown, len(rows))

    @property
    def step_names(self) -> list[str]:
        """Of each series' step, each once."""
        names = {step.name if step else "no step": None for step in self.steps}
        return list(names)


def written(time: Any) -> str:
    """As people write it: without the seconds where there are none."""
    text = str(time).replace("T", " ")
    return text.removesuffix(".000000000").removesuffix(".000000").removesuffix(".000").removesuffix(":00") if (
        text.count(":") == 2) else text  # fmt: skip


def _n(count: int, what: str, *verbs: str) -> str:
    """`1 row is`, `2 rows are`: of a word that ends in s, or adds one."""
    words = [f"{count:,}", what if count == 1 or what.endswith("s") else f"{what}s"]
    return " ".join([*words, *verbs[min(count, 2) - 1 :][:1]])
