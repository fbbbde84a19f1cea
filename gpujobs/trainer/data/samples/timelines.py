"""The timeline of a table's series: with the step that is given, or the one that they keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gpujobs import steps
from gpujobs.steps import DAY, SECOND
from gpujobs.trainer.data.arrays import Integers
from gpujobs.trainer.data.reading.loaded import LoadedData, require_order, require_times
from gpujobs.trainer.data.samples import calendar, pairs
from gpujobs.trainer.data.samples.calendar import Step
from gpujobs.trainer.data.samples.clock import LIKELY_ZONES, Clock, fine, require_zone
from gpujobs.trainer.data.samples.pairs import LOOKED_AT, Pairs
from gpujobs.trainer.data.samples.step_search import SURE, common_step
from gpujobs.trainer.data.samples.timeline import NONE, Broken, Timeline
from gpujobs.trainer.failures import DataError

SHIFTS = (3600 * SECOND, 1800 * SECOND)
"""What summer time moves a clock by: on Lord Howe Island half an hour."""

MOST_SERIES = 2000
"""Series whose own step is looked for, where they do not keep that of most."""

ALIKE, NEARLY = 0.05, 0.5
"""By so much of a step that is given what rows keep may differ, and above so much rows are absent between them."""

HOLIDAYS = 2
"""Business days that may be absent at once, as holidays are, where a step of business days was found, not given."""


def of(
    raw: LoadedData, series: Integers, settings: Mapping[str, Any], usual: str | None = None
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
    none = np.zeros(len(series), np.int64)
    line = Timeline(
        place, raw.called.get("time", "time"), times, clock, series, (None,), none, row_number=raw.row_number
    )
    require_times(place, times)
    given = settings.get("step")
    if given is None:
        found = _found(line, usual)
    else:
        found = _as_given(line, given)
    instants = found.clock.instants(fine(times), series[:, 0], found.sizes)
    require_order(place, instants, series[:, 0], raw.row_number, shown=times, is_strict=False)
    return found


def _as_given(line: Timeline, given: object) -> Timeline:
    """Raises DataError where the step is not of the kind that the times are."""
    written_as = steps.read(given)
    line = replace(line, is_given=True)
    if written_as is None:
        return replace(line, doubles=sum(int(some.is_double.sum()) for some in pairs.in_pieces(line)))
    are_dates = line.times.dtype.kind == "M"
    if are_dates == (written_as.unit == "number"):
        kinds = ("times", "such as 1h, 1d or 1mo") if are_dates else ("numbers", "as a number")
        raise DataError(
            f"{line.place}: holds {kinds[0]}, and data.step is {given}; expected a step {kinds[1]}"
        )
    step = _anchored(line, Step(written_as.unit, written_as.count))
    _require_kept(line, step, given)
    return _with_zone(_broken(replace(line, steps=(step,))), _broken)


def _require_kept(line: Timeline, step: Step, given: object) -> None:
    """Raises DataError where most rows keep a step that is less than the given one, or nearly it: they are not one of
    these apart, and none is absent between them."""
    some = pairs.spread(line)
    if len(some.at) == 0 or some.share(step) >= SURE:
        return
    kept = common_step(some, None)
    if kept is None or kept.unit != step.unit or kept.unit not in ("time", "number"):
        return
    ratio = kept.count / step.count
    if ratio < 1 + NEARLY and abs(ratio - 1) > ALIKE:
        raise DataError(
            f"{line.place}: its rows are {kept.name} apart, and data.step is {given}; expected the step that they "
            "keep: leave data.step out, or keep the rows that are this far apart"
        )


def _anchored(line: Timeline, step: Step) -> Step:
    if step.unit != "months":
        return step
    return replace(step, day=calendar.day_of(fine(line.clock.wall(fine(line.times[:LOOKED_AT])))))


def _found(line: Timeline, usual: str | None) -> Timeline:
    """With the step of each series, and with a zone where only its summer time explains the jumps."""

    def again(line: Timeline) -> Timeline:
        return _with_steps(line, usual)

    return _with_zone(again(line), again)


def _with_steps(line: Timeline, usual: str | None) -> Timeline:
    some = pairs.spread(line)
    if len(some.at) == 0:
        return line
    step = common_step(some, usual)
    which = np.zeros(len(line.series), np.int64)
    known = [step]
    for number in _others(line, step):
        own = common_step(pairs.spread(line, *line.series[number].tolist()), usual)
        if own not in known:
            known.append(own)
        which[number] = known.index(own)
    used = np.unique(which)  # the step of most rows may be that of no series
    return _broken(replace(line, steps=tuple(known[one] for one in used), which=np.searchsorted(used, which)))


def _others(line: Timeline, step: Step | None) -> list[int]:
    """The numbers of the series that do not keep the step that most rows keep."""
    if len(line.series) == 1:
        return []
    kept = np.zeros(len(line.series), np.int64)
    for some in pairs.in_pieces(line) if step is not None else ():
        assert step is not None
        keeps = some.keeps(step) if not step.is_about else some.moves(step)[0] == 1
        kept += np.bincount(line.number_of(some.at[keeps]), minlength=len(kept))
    rows = line.series[:, 1] - line.series[:, 0] - 1
    return [int(one) for one in np.flatnonzero((rows > 0) & (kept < SURE * rows))[:MOST_SERIES]]


def _broken(line: Timeline) -> Timeline:
    """With the rows that do not follow the row before by the step of their series."""
    doubles, parts = 0, [NONE]
    for some in pairs.in_pieces(line):
        doubles += int(some.is_double.sum())
        which = line.step_of(some.at) if len(line.steps) > 1 else None
        for number, step in enumerate(line.steps):
            own = some if which is None else some.only(which == number)
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


def _breaks(some: Pairs, step: Step, *, is_given: bool) -> Broken:
    count, is_exact = some.moves(step)
    if (step.is_about or is_given) and step.unit in ("time", "number"):
        is_exact = is_exact | (count != 1) | some.are_near(step)
    wrong = (count != 1) | ~is_exact
    count, is_exact, rows = count[wrong], is_exact[wrong], some.at[wrong]
    is_double = some.is_double[wrong]
    absent = np.where(is_exact & ~is_double, count - 1, -1)
    is_cut = np.ones(len(rows), bool)
    if step.unit == "business days" and not is_given:
        is_cut = ~((absent > 0) & (absent <= HOLIDAYS))
    return Broken(rows, absent, is_double, is_cut)


def _with_zone(line: Timeline, again: Callable[[Timeline], Timeline]) -> Timeline:
    """Times on a wall jump by an hour twice a year: with the zone whose summer time explains most such jumps. `again`
    looks for the broken rows."""
    if line.clock.zone is not None or line.times.dtype.kind != "M":
        return line
    sizes = line.sizes
    if not sizes or max(sizes) >= DAY or len(line.broken.rows) == 0:
        return line
    rows = line.broken.rows
    apart = (fine(line.times)[rows] - fine(line.times)[rows - 1]).astype("m8[ns]").astype(np.int64)
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


def _explained(line: Timeline, clock: Clock, rows: Integers, sizes: list[float]) -> int:
    """How many of these jumps are none on the zone's clock."""
    both = fine(np.stack([line.times[rows - 1], line.times[rows]], axis=1).reshape(-1))
    instants = clock.instants(both, np.arange(0, len(both), 2), sizes).reshape(-1, 2)
    apart = (instants[:, 1] - instants[:, 0]).astype("m8[ns]").astype(np.int64)
    return int(np.isin(apart, np.array(sizes, np.int64)).sum())
