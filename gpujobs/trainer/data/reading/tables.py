"""Reads csv and parquet files, piece by piece, into arrays of the columns that a job asks for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as paparquet

from gpujobs import formats
from gpujobs.trainer.data.memory import allocate
from gpujobs.trainer.data.reading import cells, dialect, text, times
from gpujobs.trainer.data.reading.cells import Writing, shown
from gpujobs.trainer.data.reading.dialect import Head
from gpujobs.trainer.data.reading.loaded import Coded, RowNames
from gpujobs.trainer.data.reading.text import Block
from gpujobs.trainer.data.reading.times import TimeFormat
from gpujobs.trainer.failures import DataError, together

PARSED_BYTES = 1 << 20
"""Of a block, by each of several threads."""

PIECE_ROWS = 1 << 16
LINE_BYTES = 1 << 10
BUFFER_BYTES = 1 << 20
SHOWN = 20
MOST_OF_KIND = 5
"""Cells of one column that cannot be read are shown; the rest is counted."""

FILE = "file"
"""Stands for a column that has the name of each row's file, where no column has this name."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The columns to read: `numbers` as float32, `words` as text, and one that says when, or two. `labels`: those of
    `numbers` that may have turned out to be words. `file`: what the words are called that are the names of files."""

    numbers: tuple[str, ...]
    words: tuple[str, ...] = ()
    time: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    file: str | None = None

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys([*self.numbers, *self.words, *self.time]))


@dataclass(frozen=True, slots=True)
class Table:
    """`values`: float32, shape (rows, len(columns)). `words`: by column; the code of no text is -1.
    `time`: datetime64, int64 or float64, shape (rows,). `rows`: where in which file each of them stands."""

    values: Any
    columns: tuple[str, ...]
    words: dict[str, Coded]
    time: Any
    rows: RowNames
    zone: str | None = None
    """Of the time column, where the file says one; `time` is UTC then."""

    def __len__(self) -> int:
        return len(self.values)


class BecomesText(Exception):
    """A column that begins with numbers has words further down."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


@dataclass(frozen=True)
class Source:
    """A file that has been looked at. `name` is the path as the user wrote it: its suffix says the format. `head`: the
    beginning of a csv file. `schema`, `count`: of a parquet file."""

    name: str
    path: Path
    head: Head | None = None
    schema: Any = None
    count: int = 0

    @cached_property
    def names(self) -> list[str]:
        return list(self.head.dialect.names) if self.head is not None else list(self.schema.names)

    @cached_property
    def kinds(self) -> dict[str, str]:
        """number, truth, mixed, text or other, of each column."""
        if self.head is not None:
            return {name: self.head.kind(number) for number, name in enumerate(self.names)}
        return {column.name: _kind(column.type) for column in self.schema}

    def holds_names_only(self, column: str) -> bool:
        return self.head is not None and self.head.holds_names_only(self.names.index(column))

    def distinct(self, column: str) -> list[str]:
        """The different values of a column of text, of the beginning."""
        if self.head is not None:
            return self.head.distinct(self.names.index(column))
        with _naming(self), _open_parquet(self.path) as file:
            piece = next(file.iter_batches(PIECE_ROWS, columns=[column], use_threads=False), None)
        return (
            []
            if piece is None
            else [str(one) for one in pc.unique(piece.column(0)).to_pylist() if one is not None]
        )


def look(name: str, path: Path, csv: Mapping[str, Any] = {}) -> Source:
    """`csv`: data.csv of the job file. Raises DataError."""
    with _naming(Source(name, path)):
        if formats.is_text(name):
            return Source(name, path, dialect.look(name, path, csv))
        with _open_parquet(path) as file:
            return Source(name, path, None, file.schema_arrow, file.metadata.num_rows)


def read(sources: Sequence[Source], wanted: Wanted, scratch: Path) -> Table:
    """The rows of all files, one file after the other. What is too large for the memory is kept in files in
    `scratch`. Raises DataError, with the problems of all of them, and BecomesText."""
    require(sources, wanted)
    pa.set_cpu_count(len(os.sched_getaffinity(0)))
    forms = [time_format(source, wanted.time) for source in sources]
    rows = sum(_count(source) for source in sources)
    reading = _Reading(sources[0].name, wanted, rows, scratch)
    for source, form in zip(sources, forms, strict=True):
        with _naming(source):
            reading.read(source, form)
    pa.default_memory_pool().release_unused()
    return reading.table()


@contextmanager
def _naming(source: Source) -> Iterator[None]:
    """What pyarrow raises, as DataError that names the file."""
    try:
        yield
    except MemoryError:  # pyarrow's is one of its own exceptions too
        raise
    except UnicodeDecodeError as error:
        raise DataError(
            f"{source.name}: holds bytes that are no {error.encoding} ({error.reason}); expected one encoding "
            "throughout: name it, as in data.csv: {encoding: latin-1}"
        ) from error
    except pa.ArrowException as error:
        why = " ".join(str(error).split())[:200]
        what = "csv" if formats.is_text(source.name) else "parquet"
        raise DataError(
            f"{source.name}: cannot be read as {what} ({why}); expected a file that a {what} writer has written"
        ) from error
    except OSError as error:
        why = " ".join((error.strerror or str(error)).split())[:200]
        raise DataError(f"{source.name}: cannot be read: {why}") from error


# Columns


def require(sources: Sequence[Source], wanted: Wanted) -> None:
    """Raises DataError with every column that is not there, or there twice, of every file."""
    errors = []
    for source in sources:
        missing = [column for column in wanted.columns if column not in source.names]
        if missing:
            errors.append(_absent(source, missing))
        errors += [_twice(source, column) for column in wanted.columns if source.names.count(column) > 1]
    if errors:
        raise together(errors)


def require_columns(sources: Iterable[Source], columns: Iterable[str]) -> None:
    """Raises DataError with every column that is not there, of every file."""
    errors = []
    for source in sources:
        missing = [column for column in columns if column not in source.names]
        if missing:
            errors.append(_absent(source, missing))
    if errors:
        raise together(errors)


def _absent(source: Source, missing: Sequence[str]) -> DataError:
    known = source.names
    hints = []
    for column in missing:
        folded = [name for name in known if name.casefold().strip() == column.casefold().strip()]
        near = folded or get_close_matches(column, known, n=1)
        hints.append(f"{column}{f' (did you mean {near[0]}?)' if near else ''}")
    some = ", ".join(known[:SHOWN]) + (", ..." if len(known) > SHOWN else "")
    other = [sign for sign in (";", "\t", "|", ",") if len(known) == 1 and sign in known[0]]
    apart = f': say data.csv: {{separator: "{dialect._escaped(other[0])}"}}' if other else ""
    return DataError(f"{source.name}: has no column {', '.join(hints)}; it has {some}{apart}")


def _twice(source: Source, column: str) -> DataError:
    places = [str(number + 1) for number, name in enumerate(source.names) if name == column]
    if source.head is None:
        return DataError(f"{source.name}: has several columns named {column}; expected one of each name")
    seen: dict[str, int] = {}
    names = []
    for name in source.names[:SHOWN]:
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return DataError(
        f"{source.name}: columns {' and '.join(places)} are both named {column}; expected one of each name: rename "
        f"them, or say data.csv: {{header: first, names: [{', '.join(names)}]}}"
    )


# Reading


def _count(source: Source) -> int:
    """At least as many as there are rows."""
    if source.head is None:
        return source.count
    return text.count(source.name, source.path, source.head.dialect.form)


def time_format(source: Source, time: Sequence[str]) -> TimeFormat | None:
    """Of a csv file, in whose column, or two columns, `time` is."""
    if not time or source.head is None:
        return None
    if tuple(time) not in source.head.times:
        source.head.times[tuple(time)] = _time_format(source, source.head, time)
    return source.head.times[tuple(time)]


def _time_format(source: Source, head: Head, time: Sequence[str]) -> TimeFormat:
    place = f"{source.name}: column{'s' if len(time) > 1 else ''} {', '.join(time)}"
    columns = [head.table.column(source.names.index(name)).combine_chunks() for name in time]
    joined = _joined(columns).filter(pc.not_equal(_joined(columns), ""))
    known = head.dialect.writing.missing
    held = joined.filter(pc.invert(pc.is_in(joined, value_set=pa.array([" ", *known], pa.string()))))
    return times.look(place, held[: times.SUFFICIENT].to_pylist(), head.dialect.dates)


def _joined(columns: Sequence[Any]) -> Any:
    trimmed = [pc.utf8_trim_whitespace(column) for column in columns]
    return trimmed[0] if len(trimmed) == 1 else pc.binary_join_element_wise(*trimmed, " ")


@dataclass
class _Problems:
    """The first of each kind, such as those of a column, and how many there are."""

    shown: dict[str, list[str]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return sum(self.counts.values())

    def add(self, kind: str, places: Sequence[int], message: Any) -> None:
        """`message` is asked for the text of those that are shown."""
        if not len(places):
            return
        texts = self.shown.setdefault(kind, [])
        texts += [message(int(place)) for place in places[: max(0, MOST_OF_KIND - len(texts))]]
        self.counts[kind] = self.counts.get(kind, 0) + len(places)

    def error(self) -> DataError:
        texts = []
        for kind, first in self.shown.items():
            more = self.counts[kind] - len(first)
            texts += [*first[:-1], first[-1] + (f" ({more:,} more such rows)" if more else "")]
        return DataError(*texts)


class _Reading:
    """A table that is being read."""

    def __init__(self, name: str, wanted: Wanted, rows: int, scratch: Path) -> None:
        self._name, self._wanted, self._rows, self._at = name, wanted, rows, 0
        self._scratch = scratch
        self._values = self._array((rows, len(wanted.numbers)), np.float32)
        words = [*wanted.words, *([wanted.file] if wanted.file else [])]
        self._codes = {column: self._array((rows,), np.int32) for column in words}
        self._names: dict[str, dict[str, int]] = {column: {} for column in words}
        self._time: Any = None
        self._zone: str | None = None
        self._problems = _Problems()
        self._lines = RowNames()

    def _array(self, shape: tuple[int, ...], dtype: Any) -> Any:
        try:
            return allocate(shape, dtype, self._scratch)
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
        if rows.stop > self._rows:
            raise DataError(
                f"{source.name}: holds more rows than its line ends say; expected one kind of line end"
            )
        if self._wanted.file:
            names = self._names[self._wanted.file]
            self._codes[self._wanted.file][rows] = names.setdefault(source.name, len(names))
        self._at = rows.stop
        return rows

    def _put_time(self, rows: slice, found: Any) -> None:
        if self._time is None:
            self._time = self._array((self._rows,), found.dtype)
        elif self._time.dtype != found.dtype:
            self._time = _common(self._time, found)
        self._time[rows] = found

    # parquet

    def _read_parquet(self, source: Source) -> None:
        self._lines.add(self._at, source.name, 1)
        with _open_parquet(source.path) as file:
            for piece in file.iter_batches(PIECE_ROWS, columns=self._wanted.columns, use_threads=False):
                self._add(source, piece)

    def _add(self, source: Source, piece: pa.RecordBatch) -> None:
        rows = self._rows_of(source, piece.num_rows)
        for number, column in enumerate(self._wanted.numbers):
            self._values[rows, number] = _floats(source.name, column, piece.column(column))
        for column in self._wanted.words:
            self._codes[column][rows] = _codes(_texts(piece.column(column)), self._names[column])
        if self._wanted.time:
            self._zone = getattr(piece.column(self._wanted.time[0]).type, "tz", None)
            self._put_time(rows, _time(source.name, self._wanted.time, piece))

    # csv

    def _read_csv(self, source: Source, form: TimeFormat | None) -> None:
        assert source.head is not None
        self._zone = "UTC" if form is not None and form.has_zone else None
        columns = _CsvColumns(source, source.head, self._wanted, form)
        for block in text.blocks(source.name, source.path, source.head.dialect.form):
            if not block.content[:LINE_BYTES].strip() and not block.content.strip():
                continue
            found = columns.read(block, self._problems)
            if found is not None:
                self._put(source, block, found)

    def _put(self, source: Source, block: Block, found: _Piece) -> None:
        rows = self._rows_of(source, found.count)
        self._name_rows(rows, source.name, block)
        for number, column in enumerate(self._wanted.numbers):
            self._values[rows, number] = found.numbers[column]
        for column in self._wanted.words:
            self._codes[column][rows] = _codes(found.words[column], self._names[column])
        if self._wanted.time:
            self._put_time(rows, found.time)

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
        words = {
            column: _sorted(codes[: self._at], self._names[column]) for column, codes in self._codes.items()
        }
        time = None if self._time is None else self._time[: self._at]
        return Table(self._values[: self._at], self._wanted.numbers, words, time, self._lines, self._zone)


@dataclass(frozen=True, slots=True)
class _Piece:
    """What a block of a csv file holds. `numbers`: float64 by column. `words`: dictionary-encoded."""

    count: int
    numbers: dict[str, Any]
    words: dict[str, Any]
    time: Any


class _CsvColumns:
    """The wanted columns of a csv file: converted by pyarrow as it parses, or, where it cannot, from text."""

    def __init__(self, source: Source, head: Head, wanted: Wanted, form: TimeFormat | None) -> None:
        self._source, self._head, self._wanted, self._form = source, head, wanted, form
        self._key = {name: str(source.names.index(name)) for name in wanted.columns}
        self._truths = {name for name in wanted.numbers if source.kinds[name] == "truth"}
        self._failures = 0
        self._types = self._fast_types()

    def _fast_types(self) -> dict[str, Any]:
        """By key."""
        found = {self._key[name]: pa.string() for name in self._wanted.columns}
        if self._head.dialect.writing.is_plain:
            numbers = [
                name for name in self._wanted.numbers if name not in {*self._truths, *self._wanted.words}
            ]
            found |= {self._key[name]: pa.float64() for name in numbers}
        if self._form is not None and self._form.kind == "iso" and len(self._wanted.time) == 1:
            found[self._key[self._wanted.time[0]]] = self._form.arrow
        return found

    def read(self, block: Block, problems: _Problems) -> _Piece | None:
        """None where there are problems, which are added."""
        if self._failures < 2:
            try:
                return self._converted(self._parsed(block, self._types), _no_problem)
            except (pa.ArrowInvalid, _Odd):
                self._failures += 1
        return self._from_text(block, problems)

    def _parsed(self, block: Block, types: Mapping[str, Any], handler: Any = None) -> Any:
        dialect, writing = self._head.dialect, self._head.dialect.writing
        size = PARSED_BYTES if handler is None else len(block.content) + 1
        return pacsv.read_csv(
            pa.BufferReader(block.content),
            pacsv.ReadOptions(column_names=dialect.keys(), use_threads=handler is None, block_size=size),
            pacsv.ParseOptions(delimiter=dialect.separator, invalid_row_handler=handler),
            pacsv.ConvertOptions(
                column_types=types,
                include_columns=list(types),
                null_values=writing.no_number,
                strings_can_be_null=False,
                decimal_point=writing.decimal,
            ),
        )

    def _converted(self, table: Any, wrong: Any) -> _Piece:
        """`wrong` is told of each column's cells that cannot be read, and why."""
        writing = self._head.dialect.writing
        numbers = {name: self._numbers(name, table, writing, wrong) for name in self._wanted.numbers}
        words = {
            name: cells.words(table.column(self._key[name]).combine_chunks(), writing.missing)
            for name in self._wanted.words
        }
        return _Piece(table.num_rows, numbers, words, self._times(table, wrong))

    def _numbers(self, name: str, table: Any, writing: Writing, wrong: Any) -> Any:
        column = table.column(self._key[name])
        if pa.types.is_floating(column.type):
            return cells.without_missing(column.to_numpy(), writing)
        column = column.combine_chunks()
        convert = cells.truths if name in self._truths else cells.numbers
        found, places = convert(column, writing)
        if len(places):
            expected = "yes or no, as the rows before" if name in self._truths else "a number"
            wrong(
                f"column {name}",
                places,
                lambda place: (
                    f"column {name}: holds {shown(column[place].as_py())!r}; expected {expected}: "
                    + cells.advice(column[place].as_py(), writing)
                ),
            )
            if name in self._wanted.labels:
                raise BecomesText(name)
        return found

    def _times(self, table: Any, wrong: Any) -> Any:
        if self._form is None:
            return None
        columns = [table.column(self._key[name]).combine_chunks() for name in self._wanted.time]
        if pa.types.is_timestamp(columns[0].type):
            if columns[0].null_count:
                raise _Odd
            return columns[0].to_numpy(zero_copy_only=False)
        joined = _joined(columns)
        found, places = times.parse(joined, self._form)
        if len(places):
            named = f"column{'s' if len(columns) > 1 else ''} {', '.join(self._wanted.time)}"
            wrong(
                named,
                places,
                lambda place: (
                    f"{named}: holds {shown(joined[place].as_py())!r}; expected a time{self._as_before()}"
                ),
            )
        return found

    def _as_before(self) -> str:
        if self._form is None or self._form.kind == "number":
            return ", a number as in the rows before"
        if self._form.kind == "iso":
            example = "2026-01-31 12:00:00" + ("+01:00" if self._form.has_zone else "")
            return f' such as {example}: data.csv: {{dates: "..."}} says how others are written'
        return f" written {self._form}"

    def _from_text(self, block: Block, problems: _Problems) -> _Piece | None:
        broken: list[Any] = []

        def skip(row: Any) -> str:
            broken.append(row)
            return "skip"

        types = dict.fromkeys(self._key.values(), pa.string())
        before = problems.count
        table = self._utf8(block, types, skip, problems)
        if table is None:
            return None
        lines = block.lines()
        kept = np.delete(lines, [row.number - 1 for row in broken]) if broken else lines
        problems.add(
            f"{self._source.name}: fields",
            range(len(broken)),
            lambda place: self._broken(broken[place], lines),
        )
        name = self._source.name
        found = self._converted(
            table,
            lambda kind, places, what: problems.add(
                f"{name}: {kind}", places, lambda place: f"{name}: row {int(kept[place])}: {what(place)}"
            ),
        )
        return found if problems.count == before else None

    def _utf8(self, block: Block, types: Mapping[str, Any], handler: Any, problems: _Problems) -> Any:
        """The cells as text; None where some bytes are none."""
        try:
            return self._parsed(block, types, handler)
        except pa.ArrowInvalid:
            bad = [number for number, row in enumerate(block.written.splitlines()) if not _is_utf8(row)]
            if not bad:
                raise
            name, why = (
                self._source.name,
                "expected one encoding: name it, as in data.csv: {encoding: latin-1}",
            )
            problems.add(
                f"{name}: bytes",
                range(len(bad)),
                lambda place: f"{name}: row {block.line + bad[place]}: holds bytes that are not UTF-8; {why}",
            )
            return None

    def _broken(self, row: Any, lines: Any) -> str:
        more = (
            ": quote what has the separator in it"
            if row.actual_columns > row.expected_columns
            else ": a comment or a total is told by data.csv.comment, or removed"
        )
        return (
            f"{self._source.name}: row {int(lines[row.number - 1])} has {row.actual_columns} "
            f"field{'s' if row.actual_columns > 1 else ''}; expected {row.expected_columns}, as the first row has; it "
            f"holds {shown(row.text.strip())!r}{more}"
        )


class _Odd(Exception):
    """A block has something that only a closer look can name."""


def _no_problem(kind: str, places: Any, message: Any) -> None:
    raise _Odd


def _is_utf8(row: bytes) -> bool:
    try:
        row.decode()
    except UnicodeDecodeError:
        return False
    return True


def _common(held: Any, found: Any) -> Any:
    """What has been read, of a kind that takes what comes too: whole numbers become floats, and units finer."""
    if held.dtype.kind != found.dtype.kind and {held.dtype.kind, found.dtype.kind} != {"i", "f"}:
        raise DataError(
            f"the times of one file are {held.dtype}, of another {found.dtype}; expected one kind"
        )
    return held.astype(np.promote_types(held.dtype, found.dtype))


def _open_parquet(path: Path) -> Any:
    return paparquet.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER_BYTES)


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return _kind(kind.value_type)
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return (
        "truth"
        if pa.types.is_boolean(kind)
        else "number"
        if _is_number(kind)
        else "text"
        if is_text
        else "other"
    )


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
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if not _is_number(values.type):
        raise DataError(f"{name}: column {column} holds {values.type}; expected numbers")
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    return values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def _texts(values: Any) -> Any:
    """Dictionary-encoded text; truths are called as Python writes them."""
    if pa.types.is_boolean(values.type):
        values = pc.if_else(values, "True", "False")
    return cells.words(values, ())


def _codes(encoded: Any, names: dict[str, int]) -> Any:
    """int32; new words get the next number in `names`."""
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


def _time(name: str, columns: Sequence[str], piece: Any) -> Any:
    if len(columns) > 1:
        raise DataError(
            f"{name}: data.time names two columns, which is for csv files; expected one column of times"
        )
    (column,) = columns
    values = piece.column(column)
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
