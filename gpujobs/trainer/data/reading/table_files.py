"""The csv and parquet files of a job, before their rows are read: columns, kinds, how times are written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gpujobs import formats
from gpujobs.trainer.data.reading import dialect, parquet_columns, text, times
from gpujobs.trainer.data.reading.cells import Writing
from gpujobs.trainer.data.reading.date_formats import EitherOrder
from gpujobs.trainer.data.reading.dialect import Head
from gpujobs.trainer.data.reading.times import TimeFormat
from gpujobs.trainer.failures import DataError

NUMBERED_ROWS = 1000
"""So many rows in order are no feature by chance."""

FILE = "file"
"""Stands for a column that has the name of each row's file, where no column has this name."""


@dataclass(frozen=True)
class Source:
    """A file that has been looked at. `name` is the path as the user wrote it: its suffix says the format. `head`: the
    beginning of a csv file. `schema`, `count`: of a parquet file."""

    name: str
    path: Path
    head: Head | None = None
    schema: pa.Schema = None
    count: int = 0

    @cached_property
    def names(self) -> list[str]:
        return list(self.head.dialect.names) if self.head is not None else list(self.schema.names)

    @cached_property
    def kinds(self) -> dict[str, str]:
        """number, truth, mixed, text or other, of each column."""
        if self.head is not None:
            return {name: self.head.kind(number) for number, name in enumerate(self.names)}
        return {column.name: parquet_columns.kind_of(column.type) for column in self.schema}

    def holds_names_only(self, column: str) -> bool:
        return self.head is not None and self.head.holds_names_only(self.names.index(column))

    @cached_property
    def counting_column(self) -> str | None:
        """The first column of a csv file, where it numbers the rows that were looked at from 0 or 1."""
        if self.head is None or not self.names or self.kinds[self.names[0]] != "number":
            return None
        values = self.head.cells(0)[:NUMBERED_ROWS].to_pylist()
        counts = len(values) > 2 and any(
            values == [str(number) for number in range(first, first + len(values))] for first in (0, 1)
        )
        return self.names[0] if counts else None

    def distinct(self, column: str) -> list[str]:
        """The different values of a column of text, of the beginning."""
        if self.head is not None:
            return self.head.distinct(self.names.index(column))
        with naming(self), parquet_columns.opened(self.path) as file:
            piece = next(
                file.iter_batches(parquet_columns.PIECE_ROWS, columns=[column], use_threads=False), None
            )
        return (
            []
            if piece is None
            else [str(one) for one in pc.unique(piece.column(0)).to_pylist() if one is not None]
        )


def look(name: str, path: Path, csv: Mapping[str, Any] = {}) -> Source:
    """`csv`: data.csv of the job file. Raises DataError."""
    with naming(Source(name, path)):
        if formats.is_text(name):
            return Source(name, path, dialect.look(name, path, csv))
        with parquet_columns.opened(path) as file:
            return Source(name, path, None, file.schema_arrow, file.metadata.num_rows)


@contextmanager
def naming(source: Source) -> Iterator[None]:
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


def likely_rows(source: Source) -> int:
    """About how many rows there are."""
    if source.head is None:
        return source.count
    return text.likely_rows(source.name, source.path, source.head.block)


def time_format(source: Source, time: Sequence[str], date_order: str | None = None) -> TimeFormat | None:
    """Of a csv file, in whose column, or two columns, `time` is. `date_order`: what other files have shown, where this
    one is looked at for the first time."""
    if not time or source.head is None:
        return None
    if tuple(time) not in source.head.times:
        source.head.times[tuple(time)] = _time_format(source, source.head, time, date_order)
    return source.head.times[tuple(time)]


def agree_on_dates(sources: Sequence[Source], time: Sequence[str], date_order: str | None) -> str | None:
    """Of days and months in the times of csv files, where one shows an order. One in which it could be either is read
    in that of the others, or of the training file (`date_order`), if it has the same sign. Raises DataError."""
    shown, open_ones = date_order, []
    for source in sources:
        try:
            form = time_format(source, time, date_order)
        except EitherOrder:
            open_ones.append(source)
        else:
            shown = form.date_order if shown is None and form is not None else shown
    for source in open_ones:
        time_format(source, time, shown)
    return shown


def _time_format(source: Source, head: Head, time: Sequence[str], date_order: str | None) -> TimeFormat:
    place = f"{source.name}: column{'s' if len(time) > 1 else ''} {', '.join(time)}"
    columns = [head.table.column(source.names.index(name)).combine_chunks() for name in time]
    joined = times.joined(columns).filter(pc.not_equal(times.joined(columns), ""))
    writing = head.dialect.writing
    held = joined.filter(pc.invert(pc.is_in(joined, value_set=pa.array(writing.missing, pa.string()))))
    # a blank between two columns is none between thousands
    numbers = writing if len(time) == 1 else Writing()
    cells = held[: times.SUFFICIENT].to_pylist()
    look = partial(times.look, place, cells, head.dialect.dates, numbers)
    found = look(date_order=date_order)
    if date_order is None or found.date_order != date_order:
        return found
    try:
        is_told = found != look()
    except EitherOrder:
        is_told = True
    return replace(found, is_told=is_told)
