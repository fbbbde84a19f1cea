"""Values that are not there (NaN) or are not finite."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpujobs.trainer.data.memory import LOOK, pieces, row_bytes
from gpujobs.trainer.data.notices import listed
from gpujobs.trainer.data.reading.loaded import LoadedData, RowNames, rows_named
from gpujobs.trainer.failures import DataError, together

LARGEST = float(np.finfo(np.float32).max)
"""Models compute in float32: what is beyond is infinite there."""

Place = Callable[[], str]
"""The file and the array or columns, for a message; a function where finding them takes a look at all values."""

SETTING = ", or say data.missing: drop or fill"
FIXED = "; the model was trained with data.missing: error, so rows without a value cannot be predicted"


class Absent(NamedTuple):
    """How many values are NaN, and how many are infinite as float32."""

    nan: int
    infinite: int


def count(values: NDArray[Any]) -> Absent:
    if values.dtype.kind != "f":
        return Absent(0, 0)
    missing = infinite = 0
    for rows in pieces(0, len(values), row_bytes(values)):
        piece = _comparable(values[rows])
        if np.isfinite(piece).all() and np.abs(piece).max(initial=0) <= LARGEST:
            continue
        missing += int(np.isnan(piece).sum())
        infinite += int((np.abs(piece) > LARGEST).sum())
    return Absent(missing, infinite)


def _comparable(piece: NDArray[Any]) -> NDArray[Any]:
    """Of halves, float32: they do not hold LARGEST, beside which an infinity would be none."""
    held = np.asarray(piece)
    return held.astype(np.float32) if held.dtype.itemsize < 4 else held


def refuse(place: Place, values: NDArray[Any], rows: RowNames | None = None, advice: str = SETTING) -> None:
    """Raises DataError with the numbers of both and the first rows, where there is one."""
    missing, infinite = count(values)
    if missing or infinite:
        raise DataError(
            f"{place()}: holds {missing} NaN and {infinite} infinite values ({first(values, rows)}); expected finite "
            "numbers: remove or replace them" + (advice if not infinite else "")
        )


def refuse_infinite(
    place: Place, values: NDArray[np.floating[Any]], rows: RowNames | None = None, advice: str = ""
) -> None:
    """Raises DataError: an infinity is no missing value, which could be left out or filled."""
    infinite = count(values).infinite
    if infinite:
        raise DataError(
            f"{place()}: holds {infinite} infinite values ({first(values, rows, nan=False)}); expected finite numbers: "
            "remove or replace them"
        )


def first(values: NDArray[np.floating[Any]], rows: RowNames | None, *, nan: bool = True) -> str:
    """The first rows with such a value, in words."""
    found: list[int] = []
    total = 0
    for piece in pieces(0, len(values), row_bytes(values)):
        held = _comparable(values[piece])
        wrong = ~(np.abs(held) <= LARGEST) if nan else np.abs(held) > LARGEST
        places = np.flatnonzero(wrong.reshape(len(held), -1).any(axis=1)) + piece.start
        found += places[: 5 - len(found)].tolist()
        total += len(places)
    return rows_named(rows, found, total)


def require(raw: LoadedData, handling: str) -> None:
    """Raises DataError with every array and column that has values missing, or infinite ones where missing ones are
    no error (`handling`)."""
    errors = []
    for name, values in [*raw.inputs.items(), *raw.targets.items()]:
        errors += wrong(raw, name, values, handling)
    if errors:
        raise together(errors)


def wrong(raw: LoadedData, name: str, values: NDArray[Any], handling: str) -> list[DataError]:
    """As `require`, of one input or target."""
    if raw.features and name not in raw.targets and values.ndim == 2:
        return by_column(raw, values, handling=handling)
    refused = refuse if handling == "error" else refuse_infinite
    try:
        refused(lambda: raw.place(name), values, raw.rows, FIXED if raw.is_fixed else SETTING)
    except DataError as error:
        return [error]
    return []


def by_column(
    raw: LoadedData, values: NDArray[np.floating[Any]], *, handling: str, numbers: Iterable[int] | None = None
) -> list[DataError]:
    """An error for each column of a table (or of those in `numbers`) that has values missing, or infinite ones where
    others are no error."""
    if numbers is None and _is_finite(values):
        return []
    refused = refuse if handling == "error" else refuse_infinite
    errors = []
    for number in range(values.shape[1]) if numbers is None else numbers:
        place = partial("{}: column {}".format, raw.file, raw.column(number))
        try:
            refused(place, values[:, number], raw.rows, FIXED if raw.is_fixed else SETTING)
        except DataError as error:
            errors.append(error)
    return errors


def _is_finite(values: NDArray[np.floating[Any]]) -> bool:
    """Whether nothing is missing for sure, at one look at the whole table: what is not finite makes their sum so. Of
    those of float64 some are beyond what is finite in a model."""
    if values.dtype != np.float32 or LOOK.get() is not None:
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        sums = (np.add.reduce(values[rows], axis=None) for rows in pieces(0, len(values), row_bytes(values)))
        return all(map(np.isfinite, sums))


def rows_with(values: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """bool, shape (rows,): where a value of the row is NaN."""
    found = np.zeros(len(values), bool)
    if values.dtype.kind == "f":
        for rows in pieces(0, len(values), row_bytes(values)):
            piece = np.isnan(np.asarray(values[rows]))
            found[rows] = piece.reshape(len(piece), -1).any(axis=1)
    return found


def fill(
    raw: LoadedData,
    name: str,
    blocks: Iterable[NDArray[Any]],
    called: Callable[[int], str],
    idle: Container[int] = (),
) -> set[int]:
    """In place: of each block of an input, shape (steps, ...), by itself. `called`: what a block is, by its number.
    Gives the `idle` blocks, from which nothing is learned, that have no value of a feature. Raises DataError with
    the features that have none in another block: nothing stands for what was never seen."""
    empty: dict[int, list[int]] = {}
    count = 0
    for number, block in enumerate(blocks):
        count += 1
        held = block.reshape(len(block), -1)
        for column in fill_forward(held):
            empty.setdefault(column, []).append(number)
        if not np.may_share_memory(held, block):
            block[...] = held.reshape(block.shape)
    named = features(raw, name) or {column: f"{raw.place(name)}: column {column}" for column in empty}
    found = {place: empty[column] for column, place in named.items() if column in empty}
    errors = []
    for place, numbers in found.items():
        needed = [number for number in numbers if number not in idle]
        if needed:
            advice = _advice(is_fixed=raw.is_fixed, is_all=count == len(numbers), is_one=len(needed) == 1)
            errors.append(
                DataError(
                    f"{place}: holds no value in {listed([called(number) for number in needed])}; expected one at "
                    f"least, which data.missing: fill could put into the others: {advice}"
                )
            )
    if errors:
        raise together(errors)
    return {number for numbers in found.values() for number in numbers}


def _advice(*, is_fixed: bool, is_all: bool, is_one: bool) -> str:
    """What to do where a feature has no value in some blocks, or in all."""
    these = "leave it out of the file" if is_one else "leave these out of the file"
    if is_fixed:
        return "the model was trained with this column" if is_all else these
    if is_all:
        return "leave the column out of data.features"
    return f"{these}, leave the column out of data.features, or say data.missing: drop"


def features(raw: LoadedData, name: str) -> dict[int, str]:
    """Of a table, which of an input's columns are features, and what each is called; of arrays none. Others are
    targets only, whose values count where they are there."""
    if not raw.features or name in raw.targets:
        return {}
    shown = raw.x_columns or range(len(raw.features))
    return {number: f"{raw.file}: column {raw.column(number)}" for number in shown}


def fill_forward(values: NDArray[np.float32]) -> list[int]:
    """In place, along axis 0 of shape (steps, columns): the last value seen, before the first the first one. Gives the
    columns where there is none at all, which are 0 then."""
    empty = []
    for number, column in enumerate(values.T):
        there = np.flatnonzero(~np.isnan(column))
        if len(there) == len(column):
            continue
        if len(there) == 0:
            column[:] = 0.0
            empty.append(number)
            continue
        last = np.maximum(np.searchsorted(there, np.arange(len(column)), side="right") - 1, 0)
        column[:] = column[there[last]]
    return empty
