"""What a data file holds, as arrays, before it is cut, split and scaled."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpujobs.protocol.spec import AttemptSpec
from gpujobs.trainer.data.arrays import Integers, Times
from gpujobs.trainer.failures import DataError

CLASS_TASKS = ("classification", "multilabel", "labelling")


@dataclass(frozen=True, slots=True)
class Coded:
    """Names that repeat: row i is called `names[codes[i]]`; without names, `codes[i]`."""

    codes: Integers
    names: NDArray[np.str_] | None = None

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def texts(self) -> NDArray[np.str_]:
        """The names, of what has some."""
        assert self.names is not None
        return self.names

    def decode(self, codes: Integers) -> NDArray[Any]:
        return codes if self.names is None else self.names[codes]

    def only(self, rows: Integers) -> Coded:
        return Coded(self.codes[rows], self.names)


class RowName(NamedTuple):
    """The file, and the number of the row in it."""

    file: str
    number: int


@dataclass
class RowNames:
    """Where the rows of a table stand in its files: as runs, since most follow each other. Rows of a csv file are
    called by the number of their line, those of a parquet file count from 1. `order`: where rows were sorted, what row
    of the files each is."""

    files: list[str] = field(default_factory=list)
    order: Integers | None = None
    _starts: array[int] = field(default_factory=lambda: array("q"))
    _lines: array[int] = field(default_factory=lambda: array("q"))
    _file: array[int] = field(default_factory=lambda: array("q"))

    def add(self, row: int, file: str, line: int) -> None:
        """From this row on, rows are called by numbers from `line` on."""
        if not self.files or self.files[-1] != file:
            self.files.append(file)
        elif self._lines[-1] + row - self._starts[-1] == line:
            return
        self._starts.append(row)
        self._lines.append(line)
        self._file.append(len(self.files) - 1)

    def of(self, row: int) -> RowName:
        row = int(row if self.order is None else self.order[row])
        run = bisect_right(self._starts, row) - 1
        return RowName(self.files[self._file[run]], self._lines[run] + row - self._starts[run])

    def of_files(self, count: int) -> Iterator[slice]:
        """The rows of each file among `count`, before they are sorted."""
        files = np.asarray(self._file)
        firsts = [self._starts[run] for run in begins(files).tolist()]
        for first, end in zip(firsts, [*firsts[1:], count], strict=True):
            yield slice(first, end)

    def sorted(self, order: Integers) -> RowNames:
        return replace(self, order=order)


def rows_named(rows: RowNames | None, numbers: Sequence[int], count: int) -> str:
    """Some rows of a table, such as `rows 5, 7 and 12 more`; rows of arrays count from 1."""
    most = 5
    names = [str(number + 1) if rows is None else str(rows.of(number).number) for number in numbers[:most]]
    more = f" and {count - len(names):,} more" if count > len(names) else ""
    return f"row{'s' if count > 1 else ''} {', '.join(names)}{more}"


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """How csv files of one export have their numbers, and the file that shows it. `decimal`: None where none does.
    `either`: then a number such as 1.234, which could be a thousand too and has been read with a decimal point."""

    decimal: str | None = None
    thousands: str | None = None
    file: str = ""
    either: str | None = None

    @property
    def called(self) -> str:
        return "comma" if self.decimal == "," else "point"


@dataclass(frozen=True, slots=True)
class Known:
    """What the training file has told, for the reading of others. `are_text`: whether the classes have names that
    are text, though a file may have only such as 1 and 2. `features`: the columns that go in. `truths`: those of them
    that are yes and no. `number_format`: of its csv files. `date_order`: of days and months in the times of
    these, where they show one, such as %d/%m."""

    are_text: bool = False
    features: tuple[str, ...] = ()
    truths: tuple[str, ...] = ()
    number_format: NumberFormat | None = None
    date_order: str | None = None
    is_trained: bool = False
    """Whether a model that has been trained is applied: nothing can be set any more."""


@dataclass(frozen=True, slots=True)
class LoadedData:
    """The content of one file.

    `inputs`, `targets`: arrays of numbers by name, one row per sample, or, of a `series`, one per time step.
    `lengths`: of the sequences, which are then concatenated in `inputs`, or padded to one length.
    `words`: of the targets that are text, what each of their numbers is called.
    `group`, `time`: of each row; the rows of one series stand together, in time order.
    `sequence`: what each sequence of a table is called. `zone`: where the file says one, its times are UTC.
    """

    file: str
    inputs: dict[str, NDArray[Any]]
    targets: dict[str, NDArray[Any]]
    lengths: Integers | None = None
    weight: NDArray[Any] | None = None
    group: Coded | None = None
    time: Times | None = None
    sequence: Coded | None = None
    zone: str | None = None
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    called: Mapping[str, str] = field(default_factory=dict)
    """What the file calls an input or a target, such as `array x2` or `column load`."""

    features: tuple[str, ...] = ()
    truths: tuple[str, ...] = ()
    """The features that are yes and no, in one of the files at least."""

    x_columns: tuple[int, ...] | None = None
    """The columns of the only input that are features; None: all."""

    y_columns: tuple[int, ...] | None = None
    """The columns of the only input that are the target; None: the target is in `targets`."""

    target_names: tuple[str, ...] = field(default=())
    rows: RowNames | None = None
    """Where the rows of a table stand in its files."""

    number_format: NumberFormat | None = None
    """Of the csv files of a table."""

    date_order: str | None = None
    """Of days and months in the times of the csv files of a table, where they show one, such as %d/%m."""

    is_fixed: bool = False
    """Whether a model that has been trained is applied to these, for which the job file is no help."""

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values()))) if self.lengths is None else len(self.lengths)

    def row_number(self, row: int) -> int:
        """What a row is called, for messages: of a csv file its line, of others its place in the file, from 1."""
        return row + 1 if self.rows is None else self.rows.of(row).number

    def place(self, name: str) -> str:
        """An input or a target, for messages."""
        return f"{self.file}: {self.called.get(name, f'array {name}')}"

    def column(self, number: int) -> str:
        """The name of a column of the only input of a table."""
        named = dict(zip(self.x_columns or range(len(self.features)), self.features, strict=True))
        named |= dict(zip(self.y_columns or (), self.target_names, strict=False))
        return named.get(number, str(number))


def place(spec: AttemptSpec, path: str) -> Path:
    return Path(spec.data[path].path)


def coded(place: str, values: NDArray[Any]) -> Coded:
    """Text as codes in the order of its words; integers are codes already. Raises DataError for others."""
    if values.dtype.kind == "U":
        names, codes = np.unique(values, return_inverse=True)
        if any("\0" in name for name in names.tolist()):
            raise DataError(f"{place}: holds a NUL byte (0x00) in a text; expected text without one")
        return Coded(codes.reshape(values.shape).astype(np.int32), names)
    if values.dtype.kind not in "iub":
        raise DataError(f"{place}: has dtype {values.dtype}; expected integers or text")
    return Coded(values)


def begins(codes: Integers) -> Integers:
    """The first row of each run of one code."""
    if len(codes) == 0:
        return np.zeros(0, np.int64)
    return np.concatenate([[0], np.flatnonzero(codes[1:] != codes[:-1]) + 1])


def require_times(place: str, time: Times, rows: RowNames | None = None) -> None:
    """Raises DataError where a row has none."""
    if time.dtype.kind in "mMf" and (time != time).any():
        none = np.flatnonzero(time != time)
        raise DataError(
            f"{place}: has no time in {len(none)} rows ({rows_named(rows, none[:5].tolist(), len(none))}); expected "
            "one in each"
        )


def require_order(
    place: str,
    time: Times,
    firsts: Integers,
    row_number: Callable[[int], int],
    *,
    shown: Times | None = None,
    is_strict: bool = True,
) -> None:
    """Raises DataError where time goes back within a series, or, `is_strict`, stands. `firsts`: the first row of each.
    `row_number`: what a row is called; `shown`: the times as the file has them."""
    back = time[1:] <= time[:-1] if is_strict else time[1:] < time[:-1]
    back[np.asarray(firsts)[1:] - 1] = False
    wrong = np.flatnonzero(back)
    if len(wrong):
        shown, row = time if shown is None else shown, int(wrong[0]) + 1
        more = f", and {len(wrong) - 1} more do so" if len(wrong) > 1 else ""
        advice = (
            "sort the file, and name the column that tells series apart in data.group"
            if len(firsts) < 2
            else "sort the rows of each series by time"
        )
        raise DataError(
            f"{place}: its times are out of order: row {row_number(row)} has {shown[row]}, row {row_number(row - 1)} "
            f"before it {shown[row - 1]}{more}; expected each later than the one before: {advice}"
        )
