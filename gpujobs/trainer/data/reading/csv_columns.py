"""The wanted columns of csv files, block by block."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from gpujobs.trainer.data.arrays import Integers, Times
from gpujobs.trainer.data.reading import cells, date_formats, no_times, times
from gpujobs.trainer.data.reading.cells import NOT_CLOSED, Writing, shown
from gpujobs.trainer.data.reading.dialect import Head
from gpujobs.trainer.data.reading.problems import Aside, Problems
from gpujobs.trainer.data.reading.table_files import Source
from gpujobs.trainer.data.reading.text import Block
from gpujobs.trainer.data.reading.times import TimeFormat
from gpujobs.trainer.data.reading.undecided import OpenColumns, Shown, Undecided
from gpujobs.trainer.data.reading.wanted import BecomesText, Wanted


class Found(NamedTuple):
    """`piece`: None where there are problems. `shown`: of numbers that the file's beginning leaves open."""

    piece: Piece | None
    problems: Problems
    shown: Shown


@dataclass(frozen=True, slots=True)
class Piece:
    """What a block of a csv file holds. `numbers`: float64 by column. `words`: dictionary-encoded."""

    count: int
    numbers: dict[str, Any]
    words: dict[str, Any]
    time: Any


class CsvColumns:
    """The wanted columns of a csv file: converted by pyarrow as it parses, or, where it cannot, from text."""

    def __init__(
        self, source: Source, head: Head, wanted: Wanted, form: TimeFormat | None, undecided: Undecided
    ) -> None:
        """`undecided`: what the blocks before have shown, of this file and others."""
        self._source, self._head, self._wanted, self._form = source, head, wanted, form
        self._key = {name: str(source.names.index(name)) for name in wanted.columns}
        self._truths = {name for name in wanted.numbers if source.kinds[name] == "truth"}
        self._failures = 0
        self._open = self._open_columns(undecided) if head.is_open else None
        self._conversions: dict[frozenset[str], pacsv.ConvertOptions] = {}
        self._text = self._conversion(dict.fromkeys(self._key.values(), pa.string()))

    def _open_columns(self, undecided: Undecided) -> OpenColumns:
        numbers = [name for name in self._wanted.numbers if self._source.kinds[name] in ("number", "mixed")]
        return OpenColumns(self._head, {name: self._key[name] for name in numbers}, undecided)

    def _fast_types(self, whole: Collection[str]) -> dict[str, pa.DataType]:
        """By key. `whole`: the columns that are to be whole numbers."""
        found = {self._key[name]: pa.string() for name in self._wanted.columns}
        if self._head.dialect.writing.is_plain:
            numbers = [
                name for name in self._wanted.numbers if name not in {*self._truths, *self._wanted.words}
            ]
            found |= {self._key[name]: pa.int64() if name in whole else pa.float64() for name in numbers}
        if self._form is not None and self._form.kind == "iso" and len(self._wanted.time) == 1:
            found[self._key[self._wanted.time[0]]] = self._form.arrow
        return found

    def _conversion(self, types: Mapping[str, pa.DataType]) -> pacsv.ConvertOptions:
        writing = self._head.dialect.writing
        return pacsv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            null_values=writing.no_number,
            strings_can_be_null=False,
            decimal_point=writing.decimal,
        )

    def read(self, block: Block) -> Found:
        """Several threads may do so at once, each with a block of its own."""
        if self._failures < 2 and block.opened is None:
            try:
                table = self._fast(block)
                piece = self._converted(table, _no_problem)
                return Found(piece, Problems(), self._shown(block, table, piece))
            except (pa.ArrowInvalid, _Odd):
                self._failures += 1
        return self._from_text(block)

    def _fast(self, block: Block) -> pa.Table:
        """Converted as it is parsed. Columns that turn out to hold more than whole numbers are read again."""
        while True:
            whole = frozenset[str]() if self._open is None else self._open.whole(block)
            if whole not in self._conversions:
                self._conversions[whole] = self._conversion(self._fast_types(whole))
            try:
                return self._parsed(block, self._conversions[whole])
            except pa.ArrowInvalid:
                if self._open is None or not whole:
                    raise
                self._open.narrow(self._parsed(block, self._text), whole)

    def _shown(self, block: Block, table: pa.Table, piece: Piece) -> Shown:
        if self._open is None:
            return Shown()
        return self._open.shown(block, table, piece.numbers, lambda: self._parsed(block, self._text))

    def _parsed(self, block: Block, conversion: pacsv.ConvertOptions, handler: Any = None) -> pa.Table | None:
        dialect = self._head.dialect
        return pacsv.read_csv(
            pa.BufferReader(pa.py_buffer(block.content)),
            pacsv.ReadOptions(
                column_names=dialect.keys(), use_threads=False, block_size=len(block.content) + 1
            ),
            pacsv.ParseOptions(delimiter=dialect.separator, invalid_row_handler=handler),
            conversion,
        )

    def _converted(self, table: pa.Table, wrong: Any) -> Piece:
        """`wrong` is told of each column's cells that cannot be read, and why."""
        writing = self._head.dialect.writing
        numbers = {name: self._numbers(name, table, writing, wrong) for name in self._wanted.numbers}
        words = {
            name: cells.words(_whole(table.column(self._key[name])), writing.missing)
            for name in self._wanted.words
        }
        return Piece(table.num_rows, numbers, words, self._times(table, wrong))

    def _numbers(
        self, name: str, table: pa.Table, writing: Writing, wrong: Any
    ) -> NDArray[np.float64] | None:
        column = table.column(self._key[name])
        if pa.types.is_integer(column.type):
            column = column.cast(pa.float64(), safe=False)
        if pa.types.is_floating(column.type):
            return cells.without_missing(_whole(column).to_numpy(zero_copy_only=False), writing)
        column = _whole(column)
        convert = cells.truths if name in self._truths else cells.numbers
        found, places = convert(column, writing)
        if len(places):
            expected = "yes or no, as the rows before" if name in self._truths else "a number"
            wrong(
                f"column {name}",
                places,
                lambda place: (
                    f"column {name}: holds {shown(column[place].as_py())!r}; expected {expected}: "
                    + cells.advice(column[place].as_py(), writing, name)
                ),
            )
            if name in self._wanted.labels:
                raise BecomesText(name)
        return found

    def _times(self, table: pa.Table, wrong: Any) -> Times | None:
        if self._form is None:
            return None
        columns = [_whole(table.column(self._key[name])) for name in self._wanted.time]
        if pa.types.is_timestamp(columns[0].type):
            if columns[0].null_count:
                raise _Odd
            return columns[0].to_numpy(zero_copy_only=False)
        joined = times.joined(columns)
        found, places = times.parse(joined, self._form)
        if len(places):
            named = f"column{'s' if len(columns) > 1 else ''} {', '.join(self._wanted.time)}"
            wrong(
                named,
                places,
                lambda place: f"{named}: holds " + self._no_time([one[place].as_py() for one in columns]),
            )
        return found

    def _no_time(self, parts: Sequence[str]) -> str:
        """Of what stands in the column, or two columns, of times."""
        cell = " ".join(part.strip() for part in parts).strip()
        empty = [name for name, part in zip(self._wanted.time, parts, strict=True) if not part.strip()]
        is_part = len(parts) > 1 and empty
        why = f": column {empty[0]} is empty" if is_part else self._as_before(cell)
        return f"{shown(cell)!r}; expected a time{why}"

    def _as_before(self, cell: str) -> str:
        advice = cells.advice(cell, self._head.dialect.writing, self._wanted.time[0])
        how = f": {advice}" if "reads it" in advice else ""
        if self._form is None or self._form.kind == "number":
            return f", a number as in the rows before{how}"
        if reason := no_times.why(cell, self._form.formats or no_times.ISO):
            return f"{f' written {self._form}' if self._form.formats else ''}: {reason}"
        if self._form.kind == "iso":
            if how:
                return f", or a number{how}"
            example = "2026-01-31 12:00:00" + ("+01:00" if self._form.has_zone else "")
            if times.is_iso(cell, has_zone=not self._form.has_zone):
                return (
                    f" such as {example}, {'with' if self._form.has_zone else 'without'} a zone as most rows"
                )
            if form := date_formats.proposed(cell):
                return f' such as {example}: data.csv: {{dates: "{form}"}} reads it'
            return f' such as {example}: data.csv: {{dates: "..."}} says how others are written'
        return f" written {self._form}"

    def _from_text(self, block: Block) -> Found:
        problems, broken = Problems(), list[Any]()

        def skip(row: Any) -> str:
            broken.append(row)
            return "skip"

        table = self._utf8(block, skip, problems)
        if table is None:
            return Found(None, problems, Shown())
        lines = block.lines()
        kept = np.delete(lines, [row.number - 1 for row in broken]) if broken else lines
        problems.add(
            f"{self._source.name}: fields",
            range(len(broken)),
            lambda place: self._broken(broken[place], lines),
        )
        name, bad = self._source.name, dict[str, Any]()

        def wrong(kind: str, places: Any, what: Any) -> None:
            bad[kind] = places
            problems.add(
                f"{name}: {kind}", places, lambda place: f"{name}: row {int(kept[place])}: {what(place)}"
            )

        found = self._converted(table, wrong)
        if self._wanted.is_whole:
            problems.aside += self._absent(found, bad, kept)
        self._require_closed(block, problems)
        if problems.count:
            return Found(None, problems, Shown())
        return Found(found, problems, self._shown(block, table, found))

    def _absent(self, found: Piece, bad: Mapping[str, Any], lines: Any) -> Iterator[Aside]:
        """Of each column the cells without a value, or with an infinite one."""
        for column, values in found.numbers.items():
            places = np.setdiff1d(np.flatnonzero(~np.isfinite(values)), bad.get(f"column {column}", ()))
            if len(places):
                yield Aside(
                    f"{self._source.name}: {column}, absent",
                    places,
                    partial(self._what_is_absent, column, values, lines),
                )

    def _what_is_absent(self, column: str, values: Any, lines: Any, place: int) -> str:
        at = f"{self._source.name}: row {int(lines[place])}: column {column}"
        if np.isnan(values[place]):
            return f"{at}: holds no value; expected a number, or say data.missing: drop or fill"
        return f"{at}: holds an infinite value; expected a finite number"

    def _require_closed(self, block: Block, problems: Problems) -> None:
        """Adds a problem where a quote opens that nothing closes, and no cell has been named for it."""
        if block.opened is not None and not problems.count:
            problems.add(
                f"{self._source.name}: quotes",
                [block.opened],
                lambda line: f"{self._source.name}: row {line}: {NOT_CLOSED}",
            )

    def _utf8(self, block: Block, handler: Any, problems: Problems) -> pa.Table:
        """The cells as text; None where some bytes are none."""
        try:
            return self._parsed(block, self._text, handler)
        except pa.ArrowInvalid:
            bad = [
                number for number, row in enumerate(bytes(block.written).splitlines()) if not _is_utf8(row)
            ]
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

    def _broken(self, row: Any, lines: Integers) -> str:
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


def _no_problem(kind: str, places: Integers, message: Any) -> None:
    raise _Odd


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """A copy only where there are several pieces."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _is_utf8(row: bytes) -> bool:
    try:
        row.decode()
    except UnicodeDecodeError:
        return False
    return True
