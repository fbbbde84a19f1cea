"""Reads csv and parquet files, piece by piece, into arrays of the columns that a job asks for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as paparquet

from gpujobs.trainer.data.memory import allocate
from gpujobs.trainer.data.raw import Coded
from gpujobs.trainer.failures import DataError

INFERRED_BYTES = 4 << 20
"""The beginning of a csv file, by which the types of its columns are told."""

BLOCK_BYTES = 1 << 20
"""Of a csv file, read at once; pyarrow holds some dozens of them."""

PIECE_ROWS = 1 << 16
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """The columns to read: `numbers` as float32, `words` as text, and the one that says when."""

    numbers: tuple[str, ...]
    words: tuple[str, ...] = ()
    time: str | None = None

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys([*self.numbers, *self.words, *([self.time] if self.time else [])]))


@dataclass(frozen=True, slots=True)
class Table:
    """`values`: float32, shape (rows, len(columns)). `words`: by column; the code of no text is -1.
    `time`: datetime64, int64 or float64, shape (rows,)."""

    values: Any
    columns: tuple[str, ...]
    words: dict[str, Coded]
    time: Any
    zone: str | None = None
    """Of the time column, where the file says one; `time` is UTC then."""

    def __len__(self) -> int:
        return len(self.values)


def read(name: str, path: Path, wanted: Wanted, scratch: Path) -> Table:
    """`name` is the path as the user wrote it: its suffix says the format. What is too large for the memory is
    kept in files in `scratch`. Raises DataError."""
    with _naming(name, path):
        known, rows = _schema(name, path)
        require(name, wanted.columns, known.names)
        _refuse_bytes(name, known, wanted.columns)
        twice = [column for column in wanted.columns if known.names.count(column) > 1]
        if twice:
            raise DataError(f"{name}: has several columns named {twice[0]}; expected one of each name")
        reading = _Reading(name, wanted, _lines(path) if rows is None else rows, scratch)
        for piece in _pieces(name, path, wanted, known):
            reading.add(piece)
        pa.default_memory_pool().release_unused()
        return reading.table()


def _refuse_bytes(name: str, known: pa.Schema, columns: Iterable[str]) -> None:
    for column in columns:
        if not is_parquet(name) and pa.types.is_binary(
            known.field(known.get_all_field_indices(column)[0]).type
        ):
            raise DataError(
                f"{name}: column {column} holds bytes that are not UTF-8; expected text in UTF-8: convert it with "
                "iconv"
            )


def columns(name: str, path: Path) -> dict[str, bool]:
    """The columns in order, and whether each holds numbers. Raises DataError."""
    with _naming(name, path):
        return {field.name: _is_number(field.type) for field in _schema(name, path)[0]}


@contextmanager
def _naming(name: str, path: Path) -> Iterator[None]:
    """What pyarrow raises, as DataError that names the file and the column."""
    try:
        yield
    except MemoryError:  # pyarrow's is one of its own exceptions too
        raise
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{name}: {_explained(' '.join(str(error).split()), name, path)}") from error
    except OSError as error:
        text = " ".join((error.strerror or str(error)).split())
        raise DataError(f"{name}: cannot be read: {text}") from error


def _explained(text: str, name: str, path: Path) -> str:
    if is_parquet(name):
        return f"cannot be read as parquet ({text[:200]}); expected a file that a parquet writer has written"
    if found := re.match(r"In CSV column #(\d+): (?:Row #(\d+): )?CSV conversion error to (\w+): (.*)", text):
        column = _schema(name, path)[0].names[int(found[1])]
        row = f" in row {found[2]}" if found[2] else ""
        what = {"double": "numbers", "string": "text"}.get(found[3], found[3])
        return f"column {column}: {found[4][:100]}{row}; expected {what}"
    if found := re.match(r"CSV parse error: Row #(\d+): Expected (\d+) columns?, got (\d+)", text):
        return f"row {found[1]} has {found[3]} fields; expected {found[2]}, as the first row has"
    if "mpty CSV" in text:
        return "has no rows; expected a row of column names, and rows of values below it"
    return f"cannot be read as csv ({text[:200]}); expected fields separated by commas, in UTF-8"


def _schema(name: str, path: Path) -> tuple[pa.Schema, int | None]:
    """The columns and, where the file says so, the number of rows."""
    if is_parquet(name):
        with _open_parquet(path) as file:
            return file.schema_arrow, file.metadata.num_rows
    try:
        with _open_csv(_beginning(path), INFERRED_BYTES, {}) as reader:
            return reader.schema, None
    except pa.ArrowInvalid:  # it may end within a field that is quoted
        with _open_csv(path, INFERRED_BYTES, {}) as reader:
            return reader.schema, None


def _beginning(path: Path) -> pa.BufferReader:
    """As many whole lines as fit; a stream of the whole file would read far ahead."""
    with path.open("rb") as file:
        content = file.read(INFERRED_BYTES)
    whole = content.rfind(b"\n") + 1
    return pa.BufferReader(content[:whole] if len(content) == INFERRED_BYTES and whole else content)


def is_parquet(name: str) -> bool:
    return name.lower().endswith(".parquet")


def require(name: str, columns: Iterable[str], known: Sequence[str]) -> None:
    """Raises DataError where a column is not there, with the nearest that is."""
    for column in columns:
        if column in known:
            continue
        near = get_close_matches(column, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        some = ", ".join(known[:SHOWN]) + (", ..." if len(known) > SHOWN else "")
        other = [sign for sign in (";", "\t", "|") if len(known) == 1 and sign in known[0]]
        apart = f": its columns are separated by {other[0]!r}; expected commas" if other else ""
        raise DataError(f"{name}: has no column {column}{hint} (it has {some}){apart}")


class _Reading:
    """A table that is being read."""

    def __init__(self, name: str, wanted: Wanted, rows: int, scratch: Path) -> None:
        self._name, self._wanted, self._rows, self._at = name, wanted, rows, 0
        self._scratch = scratch
        self._values = self._array((rows, len(wanted.numbers)), np.float32)
        self._codes = {column: self._array((rows,), np.int32) for column in wanted.words}
        self._names: dict[str, dict[str, int]] = {column: {} for column in wanted.words}
        self._time: Any = None
        self._zone: str | None = None

    def _array(self, shape: tuple[int, ...], dtype: Any) -> Any:
        try:
            return allocate(shape, dtype, self._scratch)
        except DataError as error:
            raise DataError(f"{self._name}: {error}") from None

    def add(self, piece: pa.RecordBatch) -> None:
        rows = slice(self._at, self._at + piece.num_rows)
        if rows.stop > self._rows:
            raise DataError(f"{self._name}: holds more rows than it says; expected {self._rows}")
        for number, column in enumerate(self._wanted.numbers):
            self._values[rows, number] = _floats(self._name, column, piece.column(column))
        for column, names in self._names.items():
            self._codes[column][rows] = _codes(piece.column(column), names)
        if self._wanted.time:
            time = _time(self._name, self._wanted.time, piece.column(self._wanted.time))
            self._zone = getattr(piece.column(self._wanted.time).type, "tz", None)
            if self._time is None:
                self._time = self._array((self._rows,), time.dtype)
            self._time[rows] = time
        self._at = rows.stop

    def table(self) -> Table:
        if self._at == 0:
            raise DataError(f"{self._name}: has no rows; expected some below its column names")
        words = {
            column: _sorted(codes[: self._at], self._names[column]) for column, codes in self._codes.items()
        }
        time = None if self._time is None else self._time[: self._at]
        return Table(self._values[: self._at], self._wanted.numbers, words, time, self._zone)


def _pieces(name: str, path: Path, wanted: Wanted, known: pa.Schema) -> Iterator[pa.RecordBatch]:
    if is_parquet(name):
        with _open_parquet(path) as file:
            yield from file.iter_batches(PIECE_ROWS, columns=wanted.columns, use_threads=False)
        return
    types = {column: known.field(column).type for column in wanted.columns}
    types |= dict.fromkeys(wanted.numbers, pa.float64()) | dict.fromkeys(wanted.words, pa.string())
    with _open_csv(path, BLOCK_BYTES, types) as reader:
        yield from reader


def _open_parquet(path: Path) -> Any:
    return paparquet.ParquetFile(path, pre_buffer=False, buffer_size=BLOCK_BYTES)


def _open_csv(source: Any, block_bytes: int, types: Mapping[str, Any]) -> Any:
    """Of the columns with a type; all, with the types that they seem to have, where none is given."""
    return pacsv.open_csv(
        source,
        read_options=pacsv.ReadOptions(use_threads=False, block_size=block_bytes),
        convert_options=pacsv.ConvertOptions(
            column_types=types, include_columns=list(types), strings_can_be_null=True
        ),
    )


def _lines(path: Path) -> int:
    """At least as many as a csv file has rows."""
    count = 1
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            count += 1 + block.count(b"\n") + block.count(b"\r") - block.count(b"\r\n")
    return count


def _is_number(kind: pa.DataType) -> bool:
    tests = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_decimal,
        pa.types.is_null,
    )
    return any(test(kind) for test in tests)


def _floats(name: str, column: str, values: Any) -> Any:
    """float64. Nulls become NaN."""
    if not _is_number(values.type):
        raise DataError(f"{name}: column {column} holds {values.type}; expected numbers")
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    return values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def _codes(values: Any, names: dict[str, int]) -> Any:
    """int32; new words get the next number in `names`."""
    encoded = values.cast(pa.string()).dictionary_encode()
    known = [names.setdefault(word, len(names)) for word in encoded.dictionary.to_pylist()]
    return np.array([*known, -1], np.int32)[
        encoded.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
    ]


def _sorted(codes: Any, names: Mapping[str, int]) -> Coded:
    """With codes in the order of the words, wherever in the file they stand."""
    words = np.array(list(names), dtype=np.str_)
    order = np.argsort(words)
    place: Any = np.empty(len(words) + 1, np.int32)
    place[order], place[-1] = np.arange(len(words)), -1
    for begin in range(0, len(codes), PIECE_ROWS):
        codes[begin : begin + PIECE_ROWS] = place[codes[begin : begin + PIECE_ROWS]]
    return Coded(codes, words[order])


def _time(name: str, column: str, values: Any) -> Any:
    kind = values.type
    if pa.types.is_date(kind):
        values, kind = values.cast(pa.timestamp("s")), pa.timestamp("s")
    if pa.types.is_timestamp(kind):
        return values.to_numpy(zero_copy_only=False)
    if pa.types.is_integer(kind) and values.null_count == 0:
        return values.cast(pa.int64()).to_numpy(zero_copy_only=False)
    if _is_number(kind):
        return values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    raise DataError(
        f"{name}: column {column} holds {kind}; expected times such as 2026-01-31 12:00:00, or numbers"
    )
