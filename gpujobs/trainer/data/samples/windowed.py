"""Series cut into windows, which are never copied: a batch gathers its rows from the series."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpujobs.trainer.data.arrays import Integers
from gpujobs.trainer.data.fitting import scaling
from gpujobs.trainer.data.memory import pieces
from gpujobs.trainer.data.missing import require as require_values
from gpujobs.trainer.data.notices import NOTHING, Account, n, say
from gpujobs.trainer.data.reading.loaded import CLASS_TASKS, LoadedData, begins
from gpujobs.trainer.data.samples import accounts, splits, timelines
from gpujobs.trainer.data.samples.gaps import cut, cut_at, without_missing
from gpujobs.trainer.data.samples.rows import Mapped, Rows
from gpujobs.trainer.data.samples.samples import Samples
from gpujobs.trainer.data.samples.timeline import Timeline
from gpujobs.trainer.data.samples.windows import (
    FutureRows,
    SegmentRows,
    StepRows,
    TimeRows,
    WindowIndex,
    WindowRows,
    columns,
    is_contiguous,
)
from gpujobs.trainer.failures import DataError, together


@dataclass(frozen=True, slots=True)
class Windowed:
    """The windows of a file's series.

    `series`: the (first, end) rows of each, shape (n, 2); `segments`: those of them that have no gap, within
    which windows lie. `fitted`: the (first, end) rows that scaling may see. `numbers`: the windows of `index`
    that belong here; None: all. `holes`: whether a row's target is missing, where some are. `is_open`: the last
    targets of a segment may lie beyond its end. `timeline`: None where nothing says when rows are. `is_shared_out`:
    whether windows, not rows, were divided into parts: then scaling sees what its own windows show. `seen`: of each
    series the row by which every feature has had a value, where rows before it were filled with a later one; `unseen`:
    the windows that a part lacks since they would show what is in a later one. `of_class`: of several outputs the
    targets that are a class of the window, not numbers.
    """

    raw: LoadedData
    window: Mapping[str, int]
    task: str
    series: Integers
    segments: Integers
    index: WindowIndex
    fitted: Integers
    numbers: Integers | None = None
    holes: NDArray[np.bool_] | None = None
    is_open: bool = False
    timeline: Timeline | None = None
    account: Account = NOTHING
    is_shared_out: bool = False
    seen: Integers | None = None
    unseen: int = 0
    of_class: frozenset[str] = frozenset()

    @property
    def samples(self) -> Samples:
        raw, index = self.raw, self.index
        inputs: dict[str, Rows] = {
            name: self._rows(x, raw.x_columns, 0, self.window["length"]) for name, x in raw.inputs.items()
        }
        labels: dict[str, Rows] = {}
        if raw.time is not None:
            labels["time"] = self._times(self._label)
        if raw.group is not None:
            labels["group"] = Mapped(StepRows(raw.group.codes, index, 0), raw.group.decode)
        series = SegmentRows(index)
        return Samples(inputs, self._targets(), len(index), self.numbers, self._weight(), labels, series)

    def _times(self, first: int, length: int | None = None, every: int = 1) -> TimeRows:
        assert self.timeline is not None
        assert self.raw.time is not None
        return TimeRows(self.raw.time, self.index, first, self.timeline.beyond, length, every)

    @property
    def times(self) -> Rows | None:
        """Of each row of the target, shape (windows, rows)."""
        if self.raw.time is None:
            return None
        first, end = self.target
        every = self.every if self.task == "labelling" else 1
        return self._times(first, -(-(end - first) // every), every)

    @property
    def every(self) -> int:
        """How many rows lie from one that is shown to the next."""
        return every(self.window)

    @property
    def span(self) -> int:
        """From the first row that is shown to the end of the last."""
        return span(self.window)

    def before(self, rows: Integers, steps: Integers) -> Integers:
        """The rows that are so many steps before these, in the same series; -1 where there is none."""
        if self.timeline is None:
            begin = self.series[np.searchsorted(self.series[:, 0], rows, side="right") - 1, 0]
            return np.where(rows - steps < begin, -1, rows - steps)
        ticks = self.timeline.ticks()
        wanted = ticks[rows] - steps
        found = np.searchsorted(ticks, wanted)
        return np.where(ticks[np.minimum(found, len(ticks) - 1)] == wanted, found, -1)

    def _weight(self) -> Rows | None:
        if self.raw.weight is None:
            return None
        if self.task == "labelling":
            return _steps(self._shown(two(self.raw.weight)))
        return StepRows(self.raw.weight, self.index, self._label)

    @property
    def _label(self) -> int:
        """The row, counted from a window's start, whose time and weight are the window's: that of its class, or the
        first of its numbers."""
        return self.target.first

    @property
    def target(self) -> Span:
        """The rows of the target."""
        return _target(self.window, self.task)

    def _rows(self, values: NDArray[np.float32], numbers: Any, first: int, length: int) -> Rows:
        """Columns that lie apart are chosen from each batch, not from the series: that would copy it."""
        apart = numbers is not None and not is_contiguous(numbers)
        table = two(values) if apart else columns(two(values), numbers)
        rows: Rows = self._shown(table) if first == 0 else WindowRows(table, self.index, first, length)
        if self.is_open and first > 0:
            rows = FutureRows(table, self.index, first, length, self.holes)
        if not apart:
            return rows
        return Mapped(rows, lambda taken: taken[:, :, list(numbers)], (length, len(numbers)))

    def _shown(self, table: NDArray[np.float32], dtype: DTypeLike = np.float32) -> WindowRows:
        return WindowRows(table, self.index, 0, self.window["length"], dtype, self.every)

    def _targets(self) -> dict[str, Rows]:
        first, end = self.target
        if self.raw.y_columns is not None:
            (x,) = self.raw.inputs.values()
            return {"y": _squeezed(self._rows(x, self.raw.y_columns, first, end - first))}
        found: dict[str, Rows] = {}
        for name, y in self.raw.targets.items():
            if self.task == "labelling":
                found[name] = _steps(self._shown(two(y), y.dtype))
            elif self.task in CLASS_TASKS or name in self.of_class:
                found[name] = StepRows(y, self.index, end - 1)
            else:
                found[name] = _squeezed(self._rows(y, None, first, end - first))
        return found

    def split(self, settings: Mapping[str, Any], labels: Any) -> dict[str, Windowed]:
        if settings["method"] == "chronological":
            return self._chronological(settings)
        samples = self.samples
        groups = self._groups() if settings["method"] == "group" else None
        parts = splits.split(settings, len(samples), labels=labels, groups=groups, times=None)
        if self.window["stride"] < self.target.end and settings["method"] != "group":
            say(["Windows overlap: with this split, training sees rows that validation and test have too; "
                 "method: chronological keeps them apart."])  # fmt: skip
        return {name: self._sharing(samples.at(positions)) for name, positions in parts.items()}

    def _sharing(self, numbers: Integers) -> Windowed:
        return replace(self, numbers=numbers, is_shared_out=True)

    def _groups(self) -> Integers:
        assert self.raw.group is not None
        numbers = self.samples.at(np.arange(len(self.samples)))
        return self.raw.group.codes[self.index.starts(numbers)]

    def _chronological(self, settings: Mapping[str, Any]) -> dict[str, Windowed]:
        first = self.target.first
        spans = splits.chronological_spans(self.series, self.segments, first, settings, self.seen)
        fitted = splits.some(spans["train"])
        parts = {name: self._between(span, fitted) for name, span in spans.items()}
        if self.seen is None:
            return parts
        spans = splits.chronological_spans(self.series, self.segments, first, settings)
        every = {name: len(self._between(span, fitted).samples) for name, span in spans.items()}
        return {name: replace(one, unseen=every[name] - len(one.samples)) for name, one in parts.items()}

    def _between(self, spans: Integers, fitted: Integers) -> Windowed:
        """The windows within these (first, end) rows."""
        index = splits.windows(spans, self.span, self.target.end, self.window["stride"])
        return replace(self, index=index, fitted=fitted, numbers=self._known(index))

    def _known(self, index: WindowIndex) -> Integers | None:
        """The windows whose targets are all there."""
        if self.holes is None:
            return None
        starts = index.starts(np.arange(len(index)))
        if (
            self.task == "labelling" and self.every > 1
        ):  # rows between those that are shown have no label to give
            shown = range(0, self.span, self.every)
            return np.flatnonzero(~np.logical_or.reduce([self.holes[starts + row] for row in shown]))
        before = np.concatenate([[0], np.cumsum(self.holes, dtype=np.int64)])
        return np.flatnonzero(before[starts + self.target.first] == before[starts + self.target.end])

    def first(self, count: int) -> tuple[Windowed, Windowed]:
        """The first `count` windows, and the rest."""
        shared = self.target.end - self.window["stride"]
        if shared > 0:
            say([f"Windows overlap: at the validation_split, training and validation have up to {shared} rows "
                 "in common; data.split: {method: chronological} keeps their targets apart."])  # fmt: skip
        numbers = self.samples.at(np.arange(len(self.samples)))
        return self._sharing(numbers[:count]), self._sharing(numbers[count:])

    def with_before(self) -> tuple[Windowed, Any]:
        """These windows with those before them in their segments, each a stride after the last, and the places of
        these among them."""
        index = self.index
        before = (index.first - self.segment_starts(index.first)) // index.stride
        longer = WindowIndex(
            index.first - before * index.stride, index.counts + before, index.ends, index.stride
        )
        numbers = self.samples.at(np.arange(len(self.samples)))
        return replace(self, index=longer, numbers=None), numbers + before.cumsum()[index.segments(numbers)]

    def segment_starts(self, rows: Any) -> Any:
        """The first rows of the segments that these rows are in."""
        begins = self.segments[:, 0]
        return begins[np.searchsorted(begins, rows, side="right") - 1]

    def rows_from(self, starts: Any, length: int) -> dict[str, Rows]:
        """The inputs' rows from each of these rows on, before scaling."""
        starts = np.asarray(starts)
        index = WindowIndex(starts, np.ones(len(starts), np.int64), starts + length, 1)
        numbers = None if self.raw.x_columns is None else list(self.raw.x_columns)
        found: dict[str, Rows] = {}
        for name, x in self.raw.inputs.items():
            found[name] = WindowRows(two(x), index, 0, length)
            if numbers is not None:
                chosen = partial(np.take, indices=numbers, axis=2)
                found[name] = Mapped(found[name], chosen, (length, len(numbers)))
        return found

    def x_pieces(self, name: str) -> Callable[[], Iterable[NDArray[Any]]]:
        spans = self._spans(0, self.span)
        return scaling.rows_in_pieces(two(self.raw.inputs[name]), self.raw.x_columns, spans)

    def y_pieces(self, name: str) -> Callable[[], Iterable[NDArray[Any]]]:
        spans = self._spans(*self.target)
        if self.holes is not None:
            spans = cut(spans, self.holes)
        if self.raw.y_columns is None:
            return scaling.rows_in_pieces(two(self.raw.targets[name]), None, spans)
        (x,) = self.raw.inputs.values()
        return scaling.rows_in_pieces(x, self.raw.y_columns, spans)

    def _spans(self, first: int, end: int) -> Integers:
        """The rows that the windows see between `first` and `end`, or those that scaling may see."""
        if self.numbers is None or not self.is_shared_out:
            return self.fitted
        is_start = np.zeros(len(self.raw), bool)
        for some in pieces(0, len(self.numbers), 8):
            is_start[self.index.starts(self.numbers[some]) + first] = True
        return covered(is_start, end - first)


def assemble(
    raw: LoadedData,
    data: Mapping[str, Any],
    task: str,
    scratch: Path,
    *,
    is_open: bool = False,
    usual: str | None = None,
    of_class: frozenset[str] = frozenset(),
) -> Windowed:
    """`data`: of the job file. `is_open`: windows may end where the series does, with targets that nobody knows yet.
    `usual`: the step of the training file's rows, where this is another. `of_class`: as `Windowed` has it.

    Raises DataError for values that are missing, for times out of order, and for series shorter than a window.
    """
    window, handling = data["window"], data.get("missing", "error")
    starts = begins(raw.group.codes) if raw.group is not None else np.zeros(1, np.int64)
    series = np.stack([starts, np.append(starts[1:], len(raw))], axis=1)
    line = _timeline(raw, series, data, usual)
    whole = series if line is None else cut_at(series, line.cuts)
    is_open = is_open and (task not in CLASS_TASKS or not raw.targets)
    if is_open and of_class:  # beyond the end there is no class
        raw = replace(raw, targets={name: y for name, y in raw.targets.items() if name not in of_class})
    shown, reach = span(window), max(span(window), _target(window, task).end)
    raw, segments, holes, missing, seen = without_missing(
        raw, series, whole, handling, shown if is_open else reach, scratch
    )
    index = splits.windows(segments, shown, shown if is_open else reach, window["stride"])
    if len(index) == 0:
        raise DataError(_too_short(raw, segments, window, shown if is_open else reach, line))
    windowed = Windowed(
        raw, window, task, series, segments, index, segments, None, holes, is_open, line,
        seen=seen, of_class=of_class,
    )  # fmt: skip
    windowed = windowed if is_open else replace(windowed, numbers=windowed._known(index))
    reach = shown if is_open else reach
    account = accounts.of_windows(windowed, whole, missing, shown, reach)
    return replace(windowed, account=accounts.with_other_step(account, line, usual))


def _timeline(raw: LoadedData, series: Any, data: Mapping[str, Any], usual: str | None) -> Timeline | None:
    """Raises DataError, which then names the values that are missing too."""
    try:
        return timelines.of(raw, series, data, usual)
    except DataError as error:
        errors = [error]
        try:
            require_values(raw, data.get("missing", "error"))
        except DataError as more:
            errors.append(more)
        raise together(errors) from None


def _too_short(
    raw: LoadedData, segments: Integers, window: Mapping[str, int], least: int, line: Timeline | None
) -> str:
    longest = int((segments[:, 1] - segments[:, 0]).max(initial=0))
    said = ", ".join(f"{key} {window[key]}" for key in ("length", "horizon", "sampling_rate", "gap")
                     if key in ("length", "horizon") or window.get(key, 0) > (key == "sampling_rate"))  # fmt: skip
    rows = "1 row" if longest == 1 else f"{longest} rows"
    text = (
        f"{raw.file}: the longest series without a gap has {rows}; expected at least {least}, "
        f"as data.window has {said}"
    )
    if line is not None and len(line.cuts):
        names = ", ".join(line.step_names)
        said = f"As data.step says {names}," if line.is_given else f"Its rows are {names} apart, and"
        text += (
            f". {said} {n(len(line.cuts), 'row')} {'does' if len(line.cuts) == 1 else 'do'} not follow the one before "
            "by that: data.step: none lets windows cross them"
        )
    return text


def every(window: Mapping[str, int]) -> int:
    return int(window.get("sampling_rate") or 1)


def span(window: Mapping[str, int]) -> int:
    return (window["length"] - 1) * every(window) + 1


class Span(NamedTuple):
    """Rows, counted from a window's start."""

    first: int
    end: int


def _target(window: Mapping[str, int], task: str) -> Span:
    shown, horizon = span(window), window["horizon"]
    if task == "labelling":
        return Span(0, shown)
    end = shown + int(window.get("gap") or 0) + horizon
    return Span(end - 1, end) if task in CLASS_TASKS or not horizon else Span(end - horizon, end)


def two(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shape (rows, columns)."""
    return values if values.ndim == 2 else values.reshape(len(values), -1)


def _squeezed(rows: Rows) -> Rows:
    """One step ahead: shape (columns,) instead of (1, columns)."""
    return Mapped(rows, lambda taken: taken[:, 0], rows.row_shape[1:]) if rows.row_shape[0] == 1 else rows


def _steps(rows: WindowRows) -> Rows:
    """A label per step: shape (length,) instead of (length, 1)."""
    if rows.row_shape[1] != 1:
        return rows
    return Mapped(rows, lambda taken: taken[:, :, 0], (rows.length,))


def covered(is_start: NDArray[np.bool_], length: int) -> Integers:
    """The (first, end) rows of spans of `length` rows that begin where `is_start`; those that touch or overlap
    are one."""
    firsts, ends, last = [], [], -length - 1
    for some in pieces(0, len(is_start), 8):
        starts = np.flatnonzero(is_start[some]) + some.start
        if len(starts) == 0:
            continue
        before = np.append(last, starts[:-1])
        apart = starts > before + length
        firsts.append(starts[apart])
        ends.append(before[apart] + length)
        last = starts[-1]
    ending = [ends[0][1:], *ends[1:], [last + length]]
    return np.stack([np.concatenate(firsts), np.concatenate(ending)], axis=1)
