"""The times of a table's series: the step of each, where rows are absent or doubled, and what comes after the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpujobs import steps
from gpujobs.steps import DAY, SECOND, Written
from gpujobs.trainer.data.notices import SHOWN, listed
from gpujobs.trainer.data.reading.loaded import LoadedData, require_order, require_times
from gpujobs.trainer.data.samples import calendar
from gpujobs.trainer.data.samples.calendar import NANOSECONDS, Step
from gpujobs.trainer.data.samples.clock import LIKELY_ZONES, Clock, require_zone
from gpujobs.trainer.failures import DataError

PIECE_ROWS = 1 << 17
"""Rows that are compared at once."""

SURE = 0.75
"""A step is found where at least this share of the rows keeps it."""

ROUGHLY = 0.9
"""The share of rows that must keep a step that they keep only about, which is to a quarter of it."""

SHIFTS = (3600 * SECOND, 1800 * SECOND)
"""What summer time moves a clock by: on Lord Howe Island half an hour."""

LOOKED_AT = 1 << 16
"""Differences that are counted to find a step; all are then compared with it."""

COMMON = [
    *(number * SECOND for number in (1, 2, 5, 10, 15, 20, 30)),
    *(number * 60 * SECOND for number in (1, 2, 5, 10, 15, 20, 30)),
    *(number * 3600 * SECOND for number in (1, 2, 3, 4, 6, 8, 12)),
    *(number * DAY for number in (1, 2, 7, 14, 28)),
]
"""Steps that are kept only about are called so."""

MOST_SERIES = 2000
"""Series whose own step is looked for, where they do not keep that of most."""

HOLIDAYS = 2
"""Business days that may be absent at once, as holidays are, where a step of business days was found, not given."""

APART = 1 << 32
"""Added to the ticks where nobody knows how many steps lie between two rows."""


@dataclass(frozen=True, slots=True)
class Broken:
    """Rows that do not come one step after the row before, by kind. `absent`: how many rows lie between.
    `is_cut`: whether windows end there."""

    rows: Any
    absent: Any
    is_double: Any
    is_cut: Any

    @property
    def cuts(self) -> Any:
        return self.rows[self.is_cut]


NONE = Broken(*(np.zeros(0, kind) for kind in (np.int64, np.int64, bool, bool)))


@dataclass(frozen=True, slots=True)
class Timeline:
    """`series`: the (first, end) rows of each, whose step is `steps[which[i]]`; None where it has none.
    `times`: as the file has them. `place`, `called`: the file's column in messages, with the file and without."""

    place: str
    called: str
    times: Any
    clock: Clock
    series: Any
    steps: tuple[Step | None, ...]
    which: Any
    broken: Broken = NONE
    doubles: int = 0
    is_given: bool = False
    is_zone_found: bool = False
    row_number: Callable[[int], int] = int

    @property
    def cuts(self) -> Any:
        return self.broken.cuts

    def step_of(self, rows: Any) -> Any:
        """The number of the step of the series of each row."""
        return self.which[self.number_of(rows)]

    def number_of(self, rows: Any) -> Any:
        """Of the series of each row."""
        return np.searchsorted(self.series[:, 0], rows, side="right") - 1

    def beyond(self, rows: Any, count: Any) -> Any:
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
                found[own] = self._later(step, found[own], count[own])
        return found

    def _later(self, step: Step, times: Any, count: Any) -> Any:
        if times.dtype.kind != "M":
            return calendar.later(step, times, count)
        fine, clock = _fine(times), self.clock
        if step.is_of_calendar:
            return clock.of_wall(calendar.later(step, clock.wall(fine), count)).astype(times.dtype)
        return clock.of_instants(calendar.later(step, clock.instants(fine), count)).astype(times.dtype)

    def ticks(self) -> Any:
        """The steps from the beginning to each row, int64: rows of one series whose ticks differ by n are n steps
        apart, however many rows there are between them."""
        found: Any = np.ones(len(self.times), np.int64)
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
                f"before ({self._places(odd)}); no window crosses them."
            )
        if None in self.steps and not self.is_given:
            count = int((self.which == self.steps.index(None)).sum())
            yield (
                f"{self.called}: the times of {_n(count, 'series')} have no step that most rows keep: windows take "
                "rows as they follow each other, and nobody knows when the next will be (data.step names a step; "
                "none says that there is none)."
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

    def _places(self, rows: Any) -> str:
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


def of(
    raw: LoadedData, series: Any, settings: Mapping[str, Any], usual: str | None = None
) -> Timeline | None:
    """None without times. `settings`: of the job file's data. `usual`: the step of the training file, which decides
    where several would fit. Raises DataError for times that are missing or go back."""
    if raw.time is None:
        return None
    place, times = raw.place("time"), raw.time
    zone = settings.get("timezone")
    if zone is not None and times.dtype.kind == "M":
        require_zone(zone)
    clock = Clock(zone or raw.zone, is_wall=raw.zone is None)
    none: Any = np.zeros(len(series), np.int64)
    line = Timeline(
        place, raw.called.get("time", "time"), times, clock, series, (None,), none, row_number=raw.row_number
    )
    require_times(place, times)
    given = settings.get("step")
    if given is None:
        found = _found(line, usual)
    else:
        found = _as_given(line, given)
    instants = found.clock.instants(_fine(times), series[:, 0])
    require_order(place, instants, series[:, 0], raw.row_number, shown=times, is_strict=False)
    return found


def _as_given(line: Timeline, given: object) -> Timeline:
    """Raises DataError where the step is not of the kind that the times are."""
    written_as = steps.read(given)
    line = replace(line, is_given=True)
    if written_as is None:
        return replace(line, doubles=sum(int(pairs.is_double.sum()) for pairs in _apart(line)))
    are_dates = line.times.dtype.kind == "M"
    if are_dates == (written_as.unit == "number"):
        kinds = ("times", "such as 1h, 1d or 1mo") if are_dates else ("numbers", "as a number")
        raise DataError(
            f"{line.place}: holds {kinds[0]}, and data.step is {given}; expected a step {kinds[1]}"
        )
    step = _anchored(line, Step(written_as.unit, written_as.count))
    return _with_zone(_broken(replace(line, steps=(step,))), _broken)


def _anchored(line: Timeline, step: Step) -> Step:
    if step.unit != "months":
        return step
    return replace(step, day=calendar.day_of(_fine(line.clock.wall(_fine(line.times[:LOOKED_AT])))))


# Finding


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Times of rows and of those that follow them in the same series, `at` row numbers."""

    at: Any
    before: Any
    after: Any
    wall_before: Any
    wall_after: Any

    @property
    def is_double(self) -> Any:
        return self.before == self.after

    def share(self, step: Step) -> float:
        return float(self.keeps(step).mean())

    def keeps(self, step: Step) -> Any:
        count, is_exact = self.moves(step)
        return (count == 1) & is_exact

    def moves(self, step: Step) -> tuple[Any, Any]:
        if step.is_of_calendar:
            return calendar.moves(step, self.wall_before, self.wall_after)
        return calendar.moves(step, self.before, self.after)

    def only(self, some: Any) -> _Pairs:
        return _Pairs(*(values[some] for values in (
            self.at, self.before, self.after, self.wall_before, self.wall_after)))  # fmt: skip


def _apart(line: Timeline, first: int = 0, end: int | None = None) -> Iterator[_Pairs]:
    """Of the rows from `first` to `end`, some at a time."""
    end = len(line.times) if end is None else end
    for begin in range(first, end, PIECE_ROWS):
        # an hour that comes twice is told by the rows before it
        early = max(first, begin - (LOOKED_AT if line.clock.zone else 1))
        yield _pairs(line, early, min(begin + PIECE_ROWS, end), begin)


def _pairs(line: Timeline, early: int, end: int, begin: int) -> _Pairs:
    """Of the rows from `begin` to `end`; those from `early` are looked at."""
    begins = line.series[:, 0]
    begins = begins[(begins >= early) & (begins < end)] - early
    is_inside: Any = np.ones(end - early, bool)
    is_inside[: begin - early] = False
    is_inside[begins] = False
    is_inside[:1] = False
    at = np.flatnonzero(is_inside)
    fine = _fine(line.times[early:end])
    instants = line.clock.instants(fine, begins)
    before, after = instants[at - 1], instants[at]
    if line.clock.zone is None:
        return _Pairs(at + early, before, after, before, after)
    wall = line.clock.wall(fine)
    return _Pairs(at + early, before, after, wall[at - 1], wall[at])


def _some(line: Timeline, first: int = 0, end: int | None = None) -> _Pairs:
    """Of rows from `first` to `end`, evenly spread where there are many."""
    end = len(line.times) if end is None else end
    if end - first <= LOOKED_AT:
        return _pairs(line, first, end, first)
    at = np.linspace(first + 1, end - 1, LOOKED_AT).astype(np.int64)
    begins = line.series[:, 0]
    at = at[begins[np.searchsorted(begins, at, side="right") - 1] != at]
    both = _fine(np.stack([line.times[at - 1], line.times[at]], axis=1).reshape(-1))
    instants = line.clock.instants(both, np.arange(0, len(both), 2)).reshape(-1, 2)
    wall = line.clock.wall(both).reshape(-1, 2)
    return _Pairs(at, instants[:, 0], instants[:, 1], wall[:, 0], wall[:, 1])


def _found(line: Timeline, usual: str | None) -> Timeline:
    """With the step of each series, and with a zone where only its summer time explains the jumps."""

    def again(line: Timeline) -> Timeline:
        return _with_steps(line, usual)

    return _with_zone(again(line), again)


def _with_steps(line: Timeline, usual: str | None) -> Timeline:
    some = _some(line)
    if len(some.at) == 0:
        return line
    step = _common(some, usual)
    which: Any = np.zeros(len(line.series), np.int64)
    known = [step]
    for number in _others(line, step):
        own = _common(_some(line, *line.series[number].tolist()), usual)
        if own not in known:
            known.append(own)
        which[number] = known.index(own)
    used = np.unique(which)  # the step of most rows may be that of no series
    return _broken(replace(line, steps=tuple(known[one] for one in used), which=np.searchsorted(used, which)))


def _others(line: Timeline, step: Step | None) -> list[int]:
    """The numbers of the series that do not keep the step that most rows keep."""
    if len(line.series) == 1:
        return []
    kept: Any = np.zeros(len(line.series), np.int64)
    for pairs in _apart(line) if step is not None else ():
        assert step is not None
        keeps = pairs.keeps(step) if not step.is_about else pairs.moves(step)[0] == 1
        kept += np.bincount(line.number_of(pairs.at[keeps]), minlength=len(kept))
    rows = line.series[:, 1] - line.series[:, 0] - 1
    return [int(one) for one in np.flatnonzero((rows > 0) & (kept < SURE * rows))[:MOST_SERIES]]


def _common(pairs: _Pairs, usual: str | None) -> Step | None:
    """The step that most rows keep."""
    best, share = None, 0.0
    for step in _candidates(pairs) if len(pairs.at) else ():
        own = pairs.share(step) + (1e-9 if step.name == usual else 0.0)
        if own > share:
            best, share = step, own
    return best if share >= SURE else _roughly(pairs)


def _candidates(pairs: _Pairs) -> Iterator[Step]:
    """The most frequent difference, and, of days and more, the steps of the calendar."""
    if pairs.after.dtype.kind != "M":
        size = _most_frequent(pairs.after - pairs.before)
        if size > 0:
            yield Step("number", size)
        return
    nanoseconds = _most_frequent_time(pairs.after - pairs.before)
    wall = _most_frequent_time(pairs.wall_after - pairs.wall_before)
    if wall >= 28 * DAY:
        months = (pairs.wall_after.astype("M8[M]") - pairs.wall_before.astype("M8[M]")).astype(np.int64)
        count = _most_frequent(months)
        if count > 0:
            yield Step(
                "months", int(count), calendar.day_of(np.append(pairs.wall_before[:1], pairs.wall_after))
            )
    for size in dict.fromkeys((wall, nanoseconds)):
        if size > 0:
            yield Step("time", size)
    if wall == DAY:
        yield Step("business days", 1)


def _most_frequent(values: Any) -> Any:
    found, counts = np.unique(values, return_counts=True)
    best = found[counts.argmax()].item()
    if isinstance(best, float):  # 0.1 apart, but for what floats lose: the middle of those that are the same
        near = values[np.isclose(values, best, rtol=1e-6)]
        return float(np.median(near))
    return best


def _most_frequent_time(values: Any) -> int:
    """In nanoseconds."""
    return int(_most_frequent(values.astype(np.int64))) * NANOSECONDS[np.datetime_data(values.dtype)[0]]


def _roughly(pairs: _Pairs) -> Step | None:
    apart = pairs.after - pairs.before
    apart = apart.astype("m8[ns]").astype(np.int64) if apart.dtype.kind == "m" else apart
    middle = float(np.median(apart)) if len(apart) > 1 else 0.0
    if middle <= 0 or (np.abs(apart - middle) <= middle / 4).mean() < ROUGHLY:
        return None
    if pairs.after.dtype.kind != "M":
        return Step("number", middle, is_about=True)
    return Step("time", _rounded(middle), is_about=True)


def _rounded(nanoseconds: float) -> int:
    """To a length that people would name, where one is near; else to two digits."""
    nearest = min(COMMON, key=lambda one: abs(one - nanoseconds))
    if abs(nearest - nanoseconds) <= nanoseconds / 20:
        return nearest
    unit: int = 10 ** max(0, math.floor(math.log10(nanoseconds)) - 1)
    return round(nanoseconds / unit) * unit


def _broken(line: Timeline) -> Timeline:
    """With the rows that do not follow the row before by the step of their series."""
    doubles, parts = 0, [NONE]
    for pairs in _apart(line):
        doubles += int(pairs.is_double.sum())
        which = line.step_of(pairs.at) if len(line.steps) > 1 else None
        for number, step in enumerate(line.steps):
            own = pairs if which is None else pairs.only(which == number)
            if step is not None and len(own.at):
                parts.append(_breaks(own, step, is_given=line.is_given))
    if doubles * 2 > len(line.times) - len(line.series):
        raise DataError(
            f"{line.place}: {doubles} of {len(line.times)} rows have the time of the row before; expected each later: "
            "name the column that tells series apart in data.group"
        )
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows, kind="stable")
    columns = (np.concatenate([getattr(part, name) for part in parts])[order]
               for name in ("rows", "absent", "is_double", "is_cut"))  # fmt: skip
    return replace(line, broken=Broken(*columns), doubles=doubles)


def _breaks(pairs: _Pairs, step: Step, *, is_given: bool) -> Broken:
    count, is_exact = pairs.moves(step)
    if step.is_about or is_given:
        is_exact = is_exact | (step.unit in ("time", "number"))
    wrong = (count != 1) | ~is_exact
    count, is_exact, rows = count[wrong], is_exact[wrong], pairs.at[wrong]
    is_double = pairs.is_double[wrong]
    absent = np.where(is_exact & ~is_double, count - 1, -1)
    is_cut: Any = np.ones(len(rows), bool)
    if step.unit == "business days" and not is_given:
        is_cut = ~((absent > 0) & (absent <= HOLIDAYS))
    return Broken(rows, absent, is_double, is_cut)


def _with_zone(line: Timeline, again: Callable[[Timeline], Timeline]) -> Timeline:
    """Times on a wall jump by an hour twice a year: with the zone whose summer time explains most such jumps. `again`
    looks for the broken rows."""
    if line.clock.zone is not None or line.times.dtype.kind != "M":
        return line
    sizes = [step.count for step in line.steps if step and step.unit == "time"]
    if not sizes or max(sizes) >= DAY or len(line.broken.rows) == 0:
        return line
    rows = line.broken.rows
    apart = (_fine(line.times)[rows] - _fine(line.times)[rows - 1]).astype("m8[ns]").astype(np.int64)
    hour = np.isin(np.abs(apart[:, None] - np.array(sizes, np.int64)), SHIFTS)
    if not hour.any():
        return line
    near = rows[hour.any(axis=1)][:LOOKED_AT]
    explained = {zone: _explained(line, Clock(zone), near, sizes) for zone in LIKELY_ZONES}
    zone = max(explained, key=lambda name: explained[name])  # the first of the best
    if not explained[zone]:
        return line
    found = again(replace(line, clock=Clock(zone), is_zone_found=True, broken=NONE))
    return found if len(found.broken.rows) < len(line.broken.rows) else line


def _explained(line: Timeline, clock: Clock, rows: Any, sizes: list[float]) -> int:
    """How many of these jumps are none on the zone's clock."""
    both = _fine(np.stack([line.times[rows - 1], line.times[rows]], axis=1).reshape(-1))
    instants = clock.instants(both, np.arange(0, len(both), 2)).reshape(-1, 2)
    apart = (instants[:, 1] - instants[:, 0]).astype("m8[ns]").astype(np.int64)
    return int(np.isin(apart, np.array(sizes, np.int64)).sum())


def _fine(times: Any) -> Any:
    """In seconds, or finer where the file has it finer."""
    if times.dtype.kind != "M":
        return times
    unit, count = np.datetime_data(times.dtype)
    return times if unit in ("s", "ms", "us", "ns") and count == 1 else times.astype("M8[s]")


def written(time: Any) -> str:
    """As people write it: without the seconds where there are none."""
    text = str(time).replace("T", " ")
    return text.removesuffix(".000000000").removesuffix(".000000").removesuffix(".000").removesuffix(":00") if (
        text.count(":") == 2) else text  # fmt: skip


def _n(count: int, what: str, *verbs: str) -> str:
    """`1 row is`, `2 rows are`: of a word that ends in s, or adds one."""
    words = [f"{count:,}", what if count == 1 or what.endswith("s") else f"{what}s"]
    return " ".join([*words, *verbs[min(count, 2) - 1 :][:1]])


__all__ = ["Timeline", "Written", "of", "written"]
