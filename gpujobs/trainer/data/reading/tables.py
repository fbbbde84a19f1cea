"""Reads csv and parquet files, piece by piece, into arrays of the columns that a job asks for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray

from gpujobs.trainer.data.arrays import Integers, Times
from gpujobs.trainer.data.growing import Growing
from gpujobs.trainer.data.reading import parquet_columns, text, times
from gpujobs.trainer.data.reading.csv_columns import CsvColumns, Found, Piece
from gpujobs.trainer.data.reading.loaded import Coded, RowNames
from gpujobs.trainer.data.reading.parquet_columns import PIECE_ROWS
from gpujobs.trainer.data.reading.problems import Problems
from gpujobs.trainer.data.reading.required_columns import require
from gpujobs.trainer.data.reading.table_files import Source, likely_rows, naming, time_format
from gpujobs.trainer.data.reading.text import Block
from gpujobs.trainer.data.reading.times import TimeFormat
from gpujobs.trainer.data.reading.undecided import Undecided
from gpujobs.trainer.data.reading.wanted import Wanted
from gpujobs.trainer.failures import DataError


@dataclass(frozen=True, slots=True)
class Table:
    """`values`: float32, shape (rows, len(columns)). `words`: by column; the code of no text is -1.
    `time`: datetime64, int64 or float64, shape (rows,). `rows`: where in which file each of them stands."""

    values: NDArray[np.float32]
    columns: tuple[str, ...]
    words: dict[str, Coded]
    time: Integers | None
    rows: RowNames
    zone: str | None = None
    """Of the time column, where the file says one; `time` is UTC then."""

    def __len__(self) -> int:
        return len(self.values)


def read(sources: Sequence[Source], wanted: Wanted, scratch: Path, threads: int = 1) -> Table:
    """The rows of all files, one file after the other. What is too large for the memory is kept in files in
    `scratch`. `threads`: of the reading. Raises DataError, with the problems of all of them, and BecomesText."""
    require(sources, wanted)
    pa.set_cpu_count(threads)
    forms = [time_format(source, wanted.time) for source in sources]
    rows = sum(likely_rows(source) for source in sources)
    reading = _Reading(sources[0].name, wanted, rows, scratch, threads)
    for source, form in zip(sources, forms, strict=True):
        with naming(source):
            reading.read(source, form)
    pa.default_memory_pool().release_unused()
    return reading.table()


class _Reading:
    """A table that is being read."""

    def __init__(self, name: str, wanted: Wanted, rows: int, scratch: Path, threads: int) -> None:
        self._name, self._wanted, self._rows, self._at = name, wanted, rows, 0
        self._scratch, self._threads = scratch, threads
        self._values = self._array((len(wanted.numbers),), np.float32)
        words = [*wanted.words, *([wanted.file] if wanted.file else [])]
        self._codes = {column: self._array((), np.int32) for column in words}
        self._names: dict[str, dict[str, int]] = {column: {} for column in words}
        self._time: Growing | None = None
        self._zone: str | None = None
        self._first_times: tuple[str, str] | None = None
        self._problems, self._undecided = Problems(), Undecided()
        self._lines = RowNames()

    def _array(self, shape: tuple[int, ...], dtype: DTypeLike) -> Growing:
        """With room for the rows that are likely."""
        try:
            return Growing(self._rows, shape, dtype, self._scratch)
        except DataError as error:
            raise DataError(f"{self._name}: {error}") from None

    def read(self, source: Source, form: TimeFormat | None) -> None:
        before = self._at
        if source.head is None:
            self._read_parquet(source)
        else:
            self._read_csv(source, form)
        if self._at == before and not self._problems.count:
            self._problems.add(
                source.name,
                [0],
                lambda _: f"{source.name}: has no rows; expected some below its column names",
            )

    def _rows_of(self, source: Source, count: int) -> slice:
        rows = slice(self._at, self._at + count)
        try:
            for array in (self._values, *self._codes.values(), *([self._time] if self._time else [])):
                array.reserve(rows.stop)
        except DataError as error:
            raise DataError(f"{source.name}: {error}") from None
        self._rows = max(self._rows, rows.stop)
        if self._wanted.file:
            names = self._names[self._wanted.file]
            self._codes[self._wanted.file].rows[rows] = names.setdefault(source.name, len(names))
        self._at = rows.stop
        return rows

    def _put_time(self, source: Source, rows: slice, found: Times, zone: str | None) -> None:
        """`zone`: of these times, where the file says one."""
        first = self._first_times
        if first is None:
            self._first_times, self._zone = (source.name, _kind(found, zone)), zone
        elif first[1] != _kind(found, zone):
            raise DataError(
                f"{source.name}: column {self._wanted.time[0]}: has {_kind(found, zone)}, and {first[0]} "
                f"{first[1]}; expected one kind in all files of a table"
            )
        if zone != self._zone:
            self._zone = "UTC"  # the days of several zones are no days of one
        if self._time is None:
            self._time = self._array((), found.dtype)
        kind = _common(self._time.rows.dtype, found.dtype)
        self._require_room(source, found, kind)
        if self._time.rows.dtype != kind:
            held, self._time = self._time.rows[: rows.start], self._array((), kind)
            self._require_room(source, held, kind)
            self._time.rows[: rows.start] = held
        self._time.rows[rows] = found

    def _require_room(self, source: Source, found: Times, kind: np.dtype[Any]) -> None:
        """Raises DataError for years of which NumPy would make others."""
        if kind == times.NANOSECONDS != found.dtype and times.is_beyond_nanoseconds(found).any():
            raise DataError(
                f"{source.name}: column {self._wanted.time[0]}: the table has more than six digits of a second, and "
                "years beyond 1678 to 2261; expected one of them alone"
            )

    def _set(self, rows: slice, number: int, values: Any) -> None:
        """What is beyond float32 becomes infinite, which is told in words later, not by a warning of numpy's."""
        with np.errstate(over="ignore"):
            self._values.rows[rows, number] = values

    # parquet

    def _read_parquet(self, source: Source) -> None:
        self._lines.add(self._at, source.name, 1)
        begin = self._at
        with parquet_columns.opened(source.path) as file:
            for piece in file.iter_batches(PIECE_ROWS, columns=self._wanted.columns, use_threads=False):
                self._add(source, piece, self._at - begin + 1)

    def _add(self, source: Source, piece: pa.RecordBatch, row: int) -> None:
        """`row`: the number of the first, in the file."""
        rows = self._rows_of(source, piece.num_rows)
        for number, column in enumerate(self._wanted.numbers):
            self._set(rows, number, parquet_columns.floats(source.name, column, piece.column(column)))
        for column in self._wanted.words:
            self._codes[column].rows[rows] = _codes(
                parquet_columns.texts(source.name, column, piece.column(column), row), self._names[column]
            )
        if self._wanted.time:
            found = parquet_columns.times(source.name, self._wanted.time, piece)
            zone = getattr(piece.column(self._wanted.time[0]).type, "tz", None)
            self._put_time(source, rows, found, zone)

    # csv

    def _read_csv(self, source: Source, form: TimeFormat | None) -> None:
        assert source.head is not None
        zone = "UTC" if form is not None and form.has_zone else None
        columns = CsvColumns(source, source.head, self._wanted, form, self._undecided)
        blocks = text.blocks(source.name, source.path, source.head.dialect.form)
        begin, first = self._at, source.head.dialect.form.skipped + 1
        for block, found in _in_turn(blocks, columns, self._threads):
            self._problems.merge(found.problems)
            if found.piece is None:
                continue
            self._put(source, block, found.piece, zone)
            self._undecided.add(source.name, block, found.shown)
            if self._at - begin > block.line + block.count - first + 1:
                raise DataError(
                    f"{source.name}: holds more rows than its line ends say; expected one kind of line end"
                )

    def _put(self, source: Source, block: Block, found: Piece, zone: str | None) -> None:
        rows = self._rows_of(source, found.count)
        self._name_rows(rows, source.name, block)
        for number, column in enumerate(self._wanted.numbers):
            self._set(rows, number, found.numbers[column])
        for column in self._wanted.words:
            self._codes[column].rows[rows] = _codes(found.words[column], self._names[column])
        if self._wanted.time:
            self._put_time(source, rows, found.time, zone)

    def _name_rows(self, rows: slice, file: str, block: Block) -> None:
        row = rows.start
        if block.count == rows.stop - row:
            self._lines.add(row, file, block.line)
            return
        lines = block.lines()
        for begin in [0, *(np.flatnonzero(np.diff(lines) != 1) + 1).tolist()]:
            self._lines.add(row + begin, file, int(lines[begin]))

    def table(self) -> Table:
        if self._problems.count:
            raise self._problems.error()
        if errors := list(self._undecided.errors()):
            raise DataError(*errors)
        words = {
            column: _sorted(codes.first(self._at), self._names[column])
            for column, codes in self._codes.items()
        }
        time = None if self._time is None else self._time.first(self._at)
        return Table(self._values.first(self._at), self._wanted.numbers, words, time, self._lines, self._zone)


def _in_turn(blocks: Iterable[Block], columns: CsvColumns, threads: int) -> Iterator[tuple[Block, Found]]:
    """Each block with what it holds, in the order of the file. With several threads one block is parsed in each, while
    the next are read, and what has come is put in its place."""
    held = (block for block in blocks if not block.is_blank)
    if threads < 2:
        yield from ((block, columns.read(block)) for block in held)
        return
    waiting: deque[tuple[Block, Future[Found]]] = deque()
    with ThreadPoolExecutor(threads, "parse") as pool:
        for block in held:
            waiting.append((block, pool.submit(columns.read, block)))
            if len(waiting) > 2 * threads:
                block, found = waiting.popleft()
                yield block, found.result()
        while waiting:
            block, found = waiting.popleft()
            yield block, found.result()


def _kind(found: Times, zone: str | None) -> str:
    """What times are, in words."""
    if found.dtype.kind != "M":
        return "times that are numbers"
    return "times without a zone" if zone is None else "times with a zone"


def _common(held: np.dtype[Any], found: np.dtype[Any]) -> np.dtype[Any]:
    """A kind that takes what has been read, and what comes: whole numbers become floats, and units finer."""
    return np.promote_types(held, found)


def _codes(encoded: pa.Array, names: dict[str, int]) -> NDArray[np.int32]:
    """int32; new words get the next number in `names`."""
    known = [names.setdefault(word, len(names)) for word in encoded.dictionary.to_pylist()]
    return np.array([*known, -1], np.int32)[
        encoded.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
    ]


def _sorted(codes: NDArray[np.int32], names: Mapping[str, int]) -> Coded:
    """With codes in the order of the words, wherever in the file they stand."""
    words = np.array(list(names), dtype=np.str_)
    order = np.argsort(words)
    place = np.empty(len(words) + 1, np.int32)
    place[order], place[-1] = np.arange(len(words)), -1
    for begin in range(0, len(codes), PIECE_ROWS):
        codes[begin : begin + PIECE_ROWS] = place[codes[begin : begin + PIECE_ROWS]]
    return Coded(codes, words[order])
