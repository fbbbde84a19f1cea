"""How many of a file's rows, windows and groups a job uses, and which it leaves out, why and where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gpujobs.trainer.data.arrays import Integers
from gpujobs.trainer.data.notices import SHOWN, Account, LeftOut, listed, n
from gpujobs.trainer.data.reading.loaded import Coded, LoadedData
from gpujobs.trainer.data.samples import splits
from gpujobs.trainer.data.samples.timeline import Timeline, written

if TYPE_CHECKING:
    from gpujobs.trainer.data.samples.windowed import Windowed


def of_windows(made: Windowed, whole: Integers, missing: Integers, shown: int, reach: int) -> Account:
    """`whole`: the (first, end) rows that follow each other by the step. `missing`: the rows with missing values.
    A window shows `shown` rows from its start and needs `reach`."""
    count = len(made.samples)
    rows, series = len(made.raw), len(made.series)
    apart = "" if made.timeline is None else f", {_apart(made.timeline.step_names)},"
    head = f"{n(rows, 'row')} in {series:,} series{apart}"
    notes = [] if made.timeline is None else list(made.timeline.notes())
    left = (*_rows(made.raw, missing), *_short(made, reach), *_windows(made, whole, shown, reach))
    what = "window to predict for" if made.is_open else "window"
    notes += _filled(made)
    return Account(made.raw.file, head, left, (*notes, *_weights(made.raw, "row")), count, what)


def with_other_step(account: Account, line: Timeline | None, usual: str | None) -> Account:
    """With a sentence where no series has the step of the training file's rows, `usual`."""
    names = [] if line is None or usual is None else [step.name for step in line.steps if step is not None]
    if not names or _exact(usual or "") in map(_exact, names):
        return account
    note = (
        f"its rows are {' or '.join(names[:SHOWN])} apart, and those of the training part {usual}: a window shows "
        "another span of time than those that the model is trained with."
    )
    return replace(account, notes=(*account.notes, note))


def _exact(step: str) -> str:
    return step.removeprefix("about ")


def _filled(made: Windowed) -> Iterator[str]:
    """What nobody knew at its time."""
    if made.seen is None:
        return
    rows = made.seen - made.series[:, 0]
    (numbers,) = np.nonzero(rows)
    where = [f"{_name(made, number)}: {n(int(rows[number]), 'row')}" for number in numbers[:SHOWN].tolist()]
    few = rows.sum() == 1
    yield (
        f"{n(int(rows.sum()), 'row')} before the first value of a feature {'has' if few else 'have'} that value "
        f"(missing: fill), which is later than {'it is' if few else 'they are'} "
        f"({'series ' * (made.raw.group is None)}{listed(where, len(numbers))})."
    )


def _apart(names: list[str]) -> str:
    known = [name for name in names if name != "no step"]
    if not known:
        return "whose times have no step"
    return f"{' or '.join(known[:SHOWN])} apart" + (" (some have no step)" if len(known) < len(names) else "")


def _rows(raw: LoadedData, missing: Integers) -> Iterator[LeftOut]:
    if len(missing):
        where = tuple(place(raw, int(row)) for row in missing[:SHOWN])
        yield LeftOut("rows", len(missing), "with missing values", where)


def place(raw: LoadedData, row: int) -> str:
    """`row 12`, as the file counts its rows from 1, with its time."""
    return f"row {raw.row_number(row):,}" + ("" if raw.time is None else f": {written(raw.time[row])}")


def _short(made: Windowed, reach: int) -> Iterator[LeftOut]:
    """Series without a window, and what lies between gaps and has none."""
    rows = made.series[:, 1] - made.series[:, 0]
    of = np.searchsorted(made.series[:, 0], made.segments[:, 0], side="right") - 1
    length = made.segments[:, 1] - made.segments[:, 0]
    has_some = np.bincount(of[length >= reach], minlength=len(rows)) > 0
    what = "series" if made.raw.group is None else "groups"
    for chosen, why in (
        (rows < reach, f"shorter than a window of {n(reach, 'row')}"),
        ((rows >= reach) & ~has_some, "whose stretches between gaps are all shorter than a window"),
    ):
        numbers = np.flatnonzero(chosen).tolist()
        if len(numbers):
            where = tuple(
                f"{_name(made, number)}: {n(int(rows[number]), 'row')}" for number in numbers[:SHOWN]
            )
            yield LeftOut(what, len(numbers), why, where)
    between = (length < reach) & has_some[of]
    if between.any():
        why = (
            f"in {n(int(between.sum()), 'stretch')} between gaps, shorter than a window of {n(reach, 'row')}"
        )
        where = tuple(place(made.raw, int(row)) for row in made.segments[between, 0][:SHOWN])
        yield LeftOut("rows", int(length[between].sum()), why, where)


def _name(made: Windowed, number: int) -> str:
    group: Coded | None = made.raw.group
    first = made.series[number, 0]
    return str(number + 1) if group is None else str(group.decode(group.codes[first]))


def _windows(made: Windowed, whole: Integers, shown: int, reach: int) -> Iterator[LeftOut]:
    least = shown if made.is_open else reach

    def count(segments: Integers) -> int:
        return len(splits.windows(segments, shown, least, made.window["stride"]))

    without_gaps, without_missing = count(made.series), count(whole)
    for number, why in (
        (without_gaps - without_missing, "that would cross a gap in time"),
        (without_missing - len(made.index), "that would have missing values"),
        (len(made.index) - len(made.samples), "whose target is missing"),
    ):
        if number > 0:
            yield LeftOut("windows", number, why)


def between_parts(account: Account, made: Any, parts: Mapping[str, Any]) -> Account:
    """With how many windows (samples) the parts have, those of a chronological split that are in none, and the groups
    that a part lacks."""
    if account.makes is None:
        return account
    makes = sum(len(part.samples) for part in parts.values())
    unseen = sum(part.unseen for part in parts.values())
    lost, stride = len(made.samples) - makes - unseen, made.window["stride"]
    why = "whose target would lie in two parts"
    if stride > 1:
        why = f"that have no place, as every {stride} rows one begins, anew in each part"
    later = "that show a feature before its first value, which is in a later part"
    lacks = [LeftOut("windows", count, why) for count, why in ((lost, why), (unseen, later)) if count > 0]
    left = (*account.left_out, *lacks)
    return replace(account, left_out=left, notes=(*account.notes, *_lacking(made, parts)), makes=makes)


def _lacking(made: Windowed, parts: Mapping[str, Any]) -> Iterator[str]:
    """The groups that have windows, and none in a part."""
    if made.raw.group is None:
        return
    everywhere = _series_of(made)
    for name, part in parts.items():
        absent = np.setdiff1d(everywhere, _series_of(part))
        if len(absent) and len(part.samples):
            verbs = (
                ("has no", "have no")
                if part.unseen
                else ("is too short to have a", "are too short to have a")
            )
            shown = ", ".join(_name(made, int(number)) for number in absent[:SHOWN])
            more = f" and {len(absent) - SHOWN:,} more" if len(absent) > SHOWN else ""
            verb = verbs[min(len(absent), 2) - 1]
            yield f"{n(len(absent), 'group')} {verb} window in the {name} part ({shown}{more})."


def _series_of(made: Windowed) -> Integers:
    return np.unique(np.searchsorted(made.series[:, 0], made.index.first, side="right") - 1)


def of_samples(
    raw: LoadedData, keep: NDArray[np.bool_], what: str, *, names: NDArray[np.str_] | None = None
) -> Account:
    """`keep`: whether each sample (or sequence) has its values. `names`: what each is called, where it has a name."""
    gone = np.flatnonzero(~keep)
    left = []
    if len(gone):
        where = tuple(
            str(number + 1) if names is None else str(names[number]) for number in gone[:SHOWN].tolist()
        )
        left.append(LeftOut(what, len(gone), "with missing values", where))
    kept = len(keep) - len(gone)
    head = f"{len(keep):,} {what}" + (f", {kept:,} of them used" if left else "")
    return Account(raw.file, head, tuple(left), tuple(_weights(raw, what.removesuffix("s"))))


def _weights(raw: LoadedData, what: str) -> Iterator[str]:
    weight = raw.weight
    zeros = 0 if weight is None else int((np.asarray(weight) == 0).sum())
    if weight is not None and zeros:
        what = what if weight.ndim == 1 and len(weight) == len(raw) else "step"
        yield f"{n(zeros, what)} {'has' if zeros == 1 else 'have'} the weight 0: nothing is learned from that."
