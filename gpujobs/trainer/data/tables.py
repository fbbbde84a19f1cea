"""Reads csv and parquet files, piece by piece, into arrays of the columns that a job asks for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as paparquet

from gpujobs.trainer.failures import DataError

BLOCK_BYTES = 16 << 20
PIECE_ROWS = 1 << 18
MAPPED_SHARE = 0.25
"""A table whose values take more than this share of the memory that is free is kept in a mapped file."""


@dataclass(frozen=True, slots=True)
class Table:
    """`values`: float32, shape (rows, len(columns)). `words`: text or None, shape (rows,), by column.
    `time`: datetime64[ns] or float64, shape (rows,)."""

    values: Any
    columns: tuple[str, ...]
    words: dict[str, Any]
    time: Any

    def __len__(self) -> int:
        return len(self.values)


def read(
    name: str, path: Path, numbers: Sequence[str], words: Sequence[str], time: str | None, scratch: Path
) -> Table:
    """The columns `numbers` as float32 and `words` as text. `name` is the path as the user wrote it: its suffix
    says the format. Raises DataError."""
    named = list(dict.fromkeys([*numbers, *words, *([time] if time else [])]))
    try:
        known, rows = _schema(name, path)
        require(name, named, known.names)
        return _read(
            name, path, numbers, words, time, allocate((rows or _lines(path), len(numbers)), scratch)
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowKeyError) as error:
        raise DataError(f"{name}: cannot be read as a table: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror or error}") from error


def columns(name: str, path: Path) -> dict[str, bool]:
    """The columns in order, and whether each holds numbers. Raises DataError."""
    try:
        return {field.name: _is_number(field.type) for field in _schema(name, path)[0]}
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"{name}: cannot be read as a table: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror or error}") from error


def _schema(name: str, path: Path) -> tuple[pa.Schema, int | None]:
    """The columns and, where the file says so, the number of rows."""
    if is_parquet(name):
        with paparquet.ParquetFile(path) as file:
            return file.schema_arrow, file.metadata.num_rows
    with _open_csv(path, {}) as reader:
        return reader.schema, None


def is_parquet(name: str) -> bool:
    return name.lower().endswith(".parquet")


def _read(
    name: str, path: Path, numbers: Sequence[str], words: Sequence[str], time: str | None, values: Any
) -> Table:
    texts: dict[str, list[Any]] = {column: [] for column in words}
    times: list[Any] = []
    at = 0
    for piece in _pieces(name, path, numbers, words, time):
        for number, column in enumerate(numbers):
            values[at : at + piece.num_rows, number] = _floats(name, column, piece.column(column))
        for column, parts in texts.items():
            parts.append(_words(piece.column(column)))
        if time:
            times.append(_time(name, time, piece.column(time)))
        at += piece.num_rows
    if at == 0:
        raise DataError(f"{name}: has no rows")
    joined = {column: np.concatenate(parts) for column, parts in texts.items()}
    return Table(values[:at], tuple(numbers), joined, np.concatenate(times) if times else None)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def require(name: str, columns: Iterable[str], known: Sequence[str]) -> None:
    """Raises DataError where a column is not there, with the nearest that is."""
    for column in columns:
        if column in known:
            continue
        near = get_close_matches(column, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        some = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
        raise DataError(f"{name}: has no column {column}{hint} (it has {some})")


def _pieces(
    name: str, path: Path, numbers: Sequence[str], words: Sequence[str], time: str | None
) -> Iterator[pa.RecordBatch]:
    named = list(dict.fromkeys([*numbers, *words, *([time] if time else [])]))
    if is_parquet(name):
        with paparquet.ParquetFile(path) as file:
            yield from file.iter_batches(PIECE_ROWS, columns=named, use_threads=False)
        return
    types = {column: pa.float64() for column in numbers} | dict.fromkeys(words, pa.string())
    with _open_csv(path, types, named) as reader:
        yield from reader


def _open_csv(path: Path, types: dict[str, Any], columns: Sequence[str] = ()) -> Any:
    return pacsv.open_csv(
        path,
        read_options=pacsv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
        convert_options=pacsv.ConvertOptions(
            column_types=types, include_columns=list(columns), strings_can_be_null=True
        ),
    )


def _lines(path: Path) -> int:
    """At least as many as a csv file has rows."""
    count = 1
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            count += block.count(b"\n") + block.count(b"\r")
    return count


def _floats(name: str, column: str, values: Any) -> Any:
    """Nulls become NaN."""
    if not _is_number(values.type):
        raise DataError(f"{name}: column {column} holds {values.type}; expected numbers")
    return values.cast(pa.float64()).to_numpy(zero_copy_only=False)


def _words(values: Any) -> Any:
    """Text, and None where there is nothing."""
    return np.asarray(values.cast(pa.string()).to_numpy(zero_copy_only=False), dtype=object)


def _time(name: str, column: str, values: Any) -> Any:
    kind = values.type
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return pc.cast(values, pa.timestamp("ns")).to_numpy(zero_copy_only=False)
    if _is_number(kind):
        return values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    raise DataError(
        f"{name}: column {column} holds {kind}; expected times such as 2026-01-31 12:00:00, or numbers"
    )


def allocate(shape: tuple[int, ...], scratch: Path) -> Any:
    """float32: in memory, or in a file without a name where that would take too much of it."""
    if int(np.prod(shape)) * 4 <= MAPPED_SHARE * os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        return np.empty(shape, np.float32)
    file = scratch / "series.tmp"
    mapped: Any = np.memmap(file, np.float32, "w+", shape=shape)
    file.unlink()
    return mapped
