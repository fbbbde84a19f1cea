"""What a data file holds, as arrays, before it is cut, split and scaled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gpujobs.trainer.failures import DataError
from gpujobs.trainer.spec import Spec

CLASS_TASKS = ("classification", "multilabel", "labelling")


@dataclass(frozen=True, slots=True)
class Coded:
    """Names that repeat: row i is called `names[codes[i]]`; without names, `codes[i]`."""

    codes: Any
    names: Any = None

    def __len__(self) -> int:
        return len(self.codes)

    def decode(self, codes: Any) -> Any:
        return codes if self.names is None else self.names[codes]

    def only(self, rows: Any) -> Coded:
        return Coded(self.codes[rows], self.names)


@dataclass(frozen=True, slots=True)
class Known:
    """What the training file has told, for the reading of others. `are_text`: whether the classes have names that
    are text, though a file may have only such as 1 and 2. `features`: the columns that go in."""

    are_text: bool = False
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Arrays:
    """The content of one file.

    `inputs`, `targets`: arrays of numbers by name, one row per sample, or, of a `series`, one per time step.
    `lengths`: of the sequences, which are then concatenated in `inputs`, or padded to one length.
    `words`: of the targets that are text, what each of their numbers is called.
    `group`, `time`: of each row; the rows of one series stand together, in time order.
    `sequence`: what each sequence of a table is called. `zone`: where the file says one, its times are UTC.
    `rows`: the place of each row in the file, from 0; None: as they stand.
    """

    file: str
    inputs: dict[str, Any]
    targets: dict[str, Any]
    lengths: Any = None
    weight: Any = None
    group: Coded | None = None
    time: Any = None
    sequence: Coded | None = None
    zone: str | None = None
    rows: Any = None
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    called: Mapping[str, str] = field(default_factory=dict)
    """What the file calls an input or a target, such as `array x2` or `column load`."""

    features: tuple[str, ...] = ()
    x_columns: tuple[int, ...] | None = None
    """The columns of the only input that are features; None: all."""

    y_columns: tuple[int, ...] | None = None
    """The columns of the only input that are the target; None: the target is in `targets`."""

    target_names: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values()))) if self.lengths is None else len(self.lengths)

    def row_number(self, row: int) -> int:
        """What a row is called, for messages: its place in the file, from 1."""
        return int(row if self.rows is None else self.rows[row]) + 1

    def place(self, name: str) -> str:
        """An input or a target, for messages."""
        return f"{self.file}: {self.called.get(name, f'array {name}')}"

    def column(self, number: int) -> str:
        """The name of a column of the only input of a table."""
        named = dict(zip(self.x_columns or range(len(self.features)), self.features, strict=True))
        named |= dict(zip(self.y_columns or (), self.target_names, strict=False))
        return named.get(number, str(number))


def place(spec: Spec, path: str) -> Path:
    return Path(spec.data[path]["path"])


def coded(place: str, values: Any) -> Coded:
    """Text as codes in the order of its words; integers are codes already. Raises DataError for others."""
    if values.dtype.kind == "U":
        names, codes = np.unique(values, return_inverse=True)
        return Coded(codes.reshape(values.shape).astype(np.int32), names)
    if values.dtype.kind not in "iub":
        raise DataError(f"{place}: has dtype {values.dtype}; expected integers or text")
    return Coded(values)


def begins(codes: Any) -> Any:
    """The first row of each run of one code."""
    if len(codes) == 0:
        return np.zeros(0, np.int64)
    return np.concatenate([[0], np.flatnonzero(codes[1:] != codes[:-1]) + 1])


def require_times(place: str, time: Any) -> None:
    """Raises DataError where a row has none."""
    if time.dtype.kind in "mMf" and (time != time).any():
        raise DataError(f"{place}: has no time in {int((time != time).sum())} rows; expected one in each")


def require_order(
    place: str,
    time: Any,
    firsts: Any,
    row_number: Callable[[int], int],
    *,
    shown: Any = None,
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
        raise DataError(
            f"{place}: its times are out of order: row {row_number(row)} has {shown[row]}, the row before it "
            f"{shown[row - 1]}{more}; expected each later than the one before: sort the file, and name the column "
            "that tells series apart in data.group"
        )
