"""How a csv file is written: what the job file says, and the rest found by looking at its beginning.

Nothing is guessed that could be read in two ways: that is asked for.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from gpujobs import formats
from gpujobs.trainer.data.reading import cells, separators, signs
from gpujobs.trainer.data.reading.cells import FALSE, PLAIN, TRUE, Writing, shown
from gpujobs.trainer.data.reading.separators import SAMPLE_LINES, SEPARATORS
from gpujobs.trainer.data.reading.text import Block, Form, block, open_stream
from gpujobs.trainer.data.reading.times import TimeFormat
from gpujobs.trainer.failures import DataError

HEAD_BYTES = 1 << 20
"""The beginning of a file, by which it is told how it is written."""

NAMED = {"\t": "tab", " ": "blank"}
BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
DATE_LIKE = re.compile(r"\d{1,4}([-/.])\d{1,2}(\1\d{1,4})?([T ].*)?|\d{1,2}:\d{2}(:\d{2})?(\.\d+)?")
UNNAMED = re.compile(r"(Unnamed: \d+|__index_level_\d+__|)$")
"""What pandas calls the column of an index, or leaves without a name."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """`names`: of all columns, in order. `first_line`: of the file that has values. `said`: what is not as usual."""

    form: Form
    separator: str
    writing: Writing
    names: tuple[str, ...]
    has_header: bool
    dates: tuple[str, ...] = ()
    said: tuple[str, ...] = ()

    def keys(self) -> list[str]:
        """Names for pyarrow, each once."""
        return [str(number) for number in range(len(self.names))]


@dataclass
class Head:
    """The beginning of a csv file, and how it is written. `said` grows as it is found."""

    name: str
    dialect: Dialect
    block: Block
    times: dict[tuple[str, ...], TimeFormat] = field(default_factory=dict)
    """By the columns that hold them."""

    decimals: str = ""
    """The decimal signs that it shows: one, none, or both."""

    is_open: bool = False
    """Whether neither it, nor a file beside it, nor the job file says what 1.234 is."""

    one_or_two: str = ""
    """A row such as 1,5 where all are so, none has names, and nothing says that these are two columns."""

    _columns: dict[int, pa.Array] = field(default_factory=dict)

    @cached_property
    def table(self) -> pa.Table:
        """All columns as text; rows with another number of fields are left out here, and named when they are read."""
        return parsed(self.block, self.dialect, skip_broken=True)

    def cells(self, number: int) -> pa.Array:
        """An array of text: the values of a column, without those that stand for none."""
        if number not in self._columns:
            text = cells.bare(self.table.column(number).combine_chunks())
            absent = pc.is_in(text, value_set=pa.array(self.dialect.writing.no_number))
            self._columns[number] = text.filter(pc.invert(absent))
        return self._columns[number]

    def columns(self) -> list[pa.Array]:
        """As `cells` has them, in order."""
        return [self.cells(number) for number in range(len(self.dialect.names))]

    def kind(self, number: int) -> str:
        """number, truth (yes and no), mixed (more numbers than else) or text."""
        values = self.cells(number)
        wrong = len(cells.numbers(values, self.dialect.writing).wrong)
        if wrong == 0:
            return "number"
        if set(pc.unique(values).to_pylist()) <= {*TRUE, *FALSE}:
            return "truth"
        if all(DATE_LIKE.fullmatch(one) for one in values[:SAMPLE_LINES].to_pylist()):
            return "text"
        alike = pc.sum(pc.match_substring_regex(values, cells.DECORATED)).as_py() or 0
        return "mixed" if 2 * wrong < len(values) or 2 * alike > len(values) else "text"

    def holds_names_only(self, number: int) -> bool:
        """Whether all that stands in a column would stand for no number, such as NA and null: names, perhaps."""
        if len(self.cells(number)):
            return False
        return bool(pc.any(pc.not_equal(pc.utf8_trim_whitespace(self.table.column(number)), "")).as_py())

    def distinct(self, number: int) -> list[str]:
        return list(pc.unique(self.cells(number)).to_pylist())


def parsed(block: Block, dialect: Dialect, *, skip_broken: bool = False) -> pa.Table:
    """A table of text."""
    handler = (lambda row: "skip") if skip_broken else None
    return pacsv.read_csv(
        pa.BufferReader(block.content),
        pacsv.ReadOptions(column_names=dialect.keys(), use_threads=False, block_size=len(block.content) + 1),
        pacsv.ParseOptions(delimiter=dialect.separator, invalid_row_handler=handler),
        pacsv.ConvertOptions(
            column_types=dict.fromkeys(dialect.keys(), pa.string()),
            strings_can_be_null=False,
            check_utf8=True,
        ),
    )


def look(name: str, path: Path, given: Mapping[str, Any]) -> Head:
    """`given`: data.csv of the job file. Raises DataError and OSError."""
    raw, is_all = _beginning(name, path)
    encoding = _encoding(raw, given.get("encoding"))
    text = _decoded(name, raw, encoding, is_all)
    newline = b"\r" if "\n" not in text and "\r" in text else b"\n"
    lines = re.split(r"\r\n|\n|\r", text)
    said = [f"encoding {encoding}"] if encoding != "utf-8" else []
    comment = _comment(name, lines, given)
    said += (
        [f"lines that begin with {comment} are left out"] if comment and given.get("comment") is None else []
    )
    first = _first_line(name, lines, given)
    held = [
        number
        for number, line in enumerate(lines[first:], first)
        if line.strip() and not (comment and line.lstrip().startswith(comment))
    ]
    kept = [lines[number] for number in held]
    if not kept:
        raise DataError(f"{name}: has no rows; expected a row of column names, and rows of values below it")
    separator = given.get("separator") or separators.found(name, kept, given)
    is_spaced = separator == "whitespace"
    separator = " " if is_spaced else separator
    said = ([f"separator {'whitespace' if is_spaced else NAMED.get(separator, separator)}"]
            if separator != "," else []) + said  # fmt: skip
    rows = _fields(kept[:SAMPLE_LINES], separator, is_spaced=is_spaced)
    if given.get("header") != "none" and not given.get("names"):
        _refuse_lines_above(name, rows, held)
    has_header = _has_header(name, rows, given, held[0] + 1)
    names = _names(name, rows, given, has_header=has_header)
    at = held[0] + (1 if has_header else 0)
    form = Form(encoding, newline, at, (comment or "").encode(), is_spaced, separator.encode())
    unit_line = _unit_line(lines, form, rows[1:] if has_header else rows, given)
    if unit_line:
        said.append(f"line {unit_line} has units and is left out")
        form = replace(form, skipped=unit_line)
    written = "\n".join(lines[form.skipped :]).encode() + b"\n"
    dialect = Dialect(form, separator, Writing(
        given.get("decimal") or ".", given.get("thousands"), tuple(given.get("missing") or ()),
        tuple(given.get("units") or ())), names, has_header, tuple(given.get("dates") or ()))  # fmt: skip
    head = Head(name, dialect, block(written, form))
    if not has_header:
        head.one_or_two = separators.may_be_decimals(rows, separator, given)
    writing, head.decimals = signs.writing_of(head.columns, dialect.writing, given)
    if writing.decimal == "," and given.get("decimal") is None:
        said.insert(min(len(said), 1), "decimal comma")
    if writing.thousands and given.get("thousands") is None:
        said.append(f'thousands "{writing.thousands}"')
    if not has_header and given.get("header") is None:
        said.append("no column names")
    head.dialect = replace(dialect, writing=writing, said=tuple(said))
    return head


def _beginning(name: str, path: Path) -> tuple[bytes, bool]:
    """The first bytes, and whether they are all."""
    content = b""
    with open_stream(name, path) as stream:
        while len(content) <= HEAD_BYTES and (piece := stream.read(HEAD_BYTES + 1 - len(content))):
            content += piece
    return content[:HEAD_BYTES], len(content) <= HEAD_BYTES


def _encoding(raw: bytes, given: str | None) -> str:
    if given is not None:
        return given
    for mark, encoding in BOMS:
        if raw.startswith(mark):
            return encoding
    if raw and b"\0" in raw[:4096]:
        return "utf-16-le" if raw[1:2] == b"\0" else "utf-16-be"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(raw)
    except UnicodeDecodeError:
        high = {byte for byte in raw if 0x80 <= byte < 0xA0}
        return "cp1252" if high else "latin-1"
    return "utf-8"


def _decoded(name: str, raw: bytes, encoding: str, is_all: bool) -> str:
    """Whole lines."""
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(raw, is_all).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(
            f"{name}: row {line} has the byte {raw[error.start]:#04x}, which is no {encoding}; expected text in "
            f"{encoding}: name its encoding, as in data.csv: {{encoding: latin-1}}"
        ) from None
    if "\0" in text:
        raise DataError(f"{name}: {formats.nul_in_row(text.count(chr(10), 0, text.index(chr(0))) + 1)}")
    end = max(text.rfind("\n"), text.rfind("\r")) + 1
    return text if is_all or not end else text[:end]


def _comment(name: str, lines: Sequence[str], given: Mapping[str, Any]) -> str | None:
    """The sign of the lines before the column names."""
    if given.get("comment") is not None:
        return str(given["comment"]) or None
    if given.get("skip") is not None:
        return None
    top = next((line for line in lines if line.strip()), "")
    if not top.lstrip().startswith("#"):
        return None
    number = next(
        (i for i, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")), None
    )
    if number is not None and _names_behind(lines[number - 1], lines[number]):
        names = re.split(r"[,;\t|]", lines[number - 1].lstrip("# \t"))
        some = ", ".join(one.strip() for one in names[:20])
        raise DataError(
            f"{name}: row {number} seems to have the column names behind #, {shown(lines[number - 1])!r}; say so: "
            f'data.csv: {{comment: "#", header: none, names: [{some}]}}'
        )
    return "#"


def _names_behind(above: str, below: str) -> bool:
    """Whether a comment has as many fields as the row of numbers below it."""
    for sign in SEPARATORS:
        fields = below.split(sign)
        if (
            len(fields) > 1
            and len(above.split(sign)) == len(fields)
            and all(_is_value(one) for one in fields)
        ):
            return True
    return False


def _first_line(name: str, lines: Sequence[str], given: Mapping[str, Any]) -> int:
    """The number of lines before the first row, which has the names or values."""
    if given.get("skip") is None and re.fullmatch(r"sep=.", lines[0]):  # Excel's own
        return 1
    skip = given.get("skip") or 0
    if skip >= len(lines):
        raise DataError(f"{name}: has {len(lines)} lines, and data.csv.skip is {skip}; expected fewer")
    return int(skip)


def _fields(lines: Sequence[str], separator: str, *, is_spaced: bool) -> list[list[str]]:
    if is_spaced:
        return [re.sub(r"[ \t]+", " ", line).strip().split(" ") for line in lines]
    return list(csv.reader(lines, delimiter=separator))


def _is_value(text: str) -> bool:
    one = text.strip()
    return bool(PLAIN.fullmatch(one.replace(",", ".")) or DATE_LIKE.fullmatch(one))


def _has_header(name: str, rows: Sequence[Sequence[str]], given: Mapping[str, Any], line: int) -> bool:
    """`line`: the number of the first row's. Raises DataError where it has values."""
    if given.get("header") is not None:
        return bool(given["header"] == "first")
    first = [one.strip() for one in rows[0]]
    if first == [str(number) for number in range(len(first))] and len(rows) > 1:  # as pandas names columns
        return True
    below = [{row[i].strip() for row in rows[1:] if i < len(row)} for i in range(len(first))]
    values = [_is_value(one) for one in first]
    is_row = any(values) and all(
        is_value or not one or one in seen for is_value, one, seen in zip(values, first, below, strict=True)
    )
    if not is_row or len(rows) == 1:
        return True
    if given.get("names"):
        return False
    some = ", ".join(shown(one) for one in first[:5]) + (", ..." if len(first) > 5 else "")
    numbers = ", ".join(map(str, range(min(len(first), 3)))) + (", ..." if len(first) > 3 else "")
    raise DataError(
        f"{name}: row {line} holds {some}, which are values; expected the names of the columns there: say data.csv: "
        f"{{header: none}}, which calls them {numbers}, or data.csv: {{header: none, names: [...]}} with "
        f"{len(first)} names (or data.csv: {{header: first}} if these are names)"
    )


def _width(rows: Sequence[Sequence[str]]) -> int:
    return Counter(len(row) for row in rows[1:] or rows).most_common(1)[0][0]


def _refuse_lines_above(name: str, rows: Sequence[Sequence[str]], above: Sequence[int]) -> None:
    """Raises DataError where the names of the columns come later. `above`: how many lines stand above each row."""
    width, first = _width(rows), [one.strip() for one in rows[0]]
    later = next((number for number, row in enumerate(rows) if len(row) == width), 0)
    if len(first) + 1 == width and all(row[-1] == "" for row in rows[1:] if len(row) == width):
        return
    if (
        width > 1
        and later
        and len(_without_last(first, width)) != width
        and not any(map(_is_value, rows[later]))
    ):
        raise DataError(
            f"{name}: its first row is {shown(' '.join(first))!r}, and the names of the columns seem to be "
            f"{', '.join(rows[later][:5])}: say data.csv: {{skip: {above[later]}}}"
        )


def _without_last(header: Sequence[str], width: int) -> Sequence[str]:
    """The separator that ends its line names nothing."""
    return header[:-1] if header[-1] == "" and len(header) == width + 1 else header


def _names(
    name: str, rows: Sequence[Sequence[str]], given: Mapping[str, Any], *, has_header: bool
) -> tuple[str, ...]:
    """Raises DataError where there are not as many as columns."""
    width = _width(rows)
    if given.get("names"):
        names = tuple(given["names"])
        if len(names) != width:
            raise DataError(
                f"{name}: has {width} columns, and data.csv.names {len(names)} names; expected as many"
            )
        return names
    if not has_header:
        return tuple(map(str, range(width)))
    header = tuple(_without_last([one.strip() for one in rows[0]], width))
    if len(header) + 1 == width and all(row[-1] == "" for row in rows[1:] if len(row) == width):
        header = (*header, "")
    if len(header) + 1 == width and len(rows) > 2:
        raise DataError(
            f"{name}: its first row has {len(header)} names, and the rows below it {width} fields; expected as many: "
            "say data.csv: {header: first, names: [...]} with a name for each, the first one too"
            + (
                ', or {separator: ";", decimal: ","} where the comma is the decimal sign'
                if width == 2
                else ""
            )
        )
    return header


def _unit_line(
    lines: Sequence[str], form: Form, rows: Sequence[Sequence[str]], given: Mapping[str, Any]
) -> int | None:
    """The number of the line below the names that has units: text where all of the others have numbers."""
    if len(rows) < 3 or given.get("header") == "none" or not form.skipped or given.get("skip") is not None:
        return None
    first, rest = rows[0], rows[1:]
    if any(_is_value(one) or one.strip() in (*TRUE, *FALSE, *cells.NO_NUMBER[1:]) for one in first):
        return None
    known = (*cells.NO_NUMBER, *(given.get("missing") or ()))
    columns = [[row[i].strip() for row in rest if i < len(row)] for i in range(len(first))]
    is_above = [
        bool(one.strip()) and any(_is_value(cell) for cell in column)
        and all(_is_value(cell) or cell in known for cell in column)
        for one, column in zip(first, columns, strict=True)
    ]  # fmt: skip
    texts = [one for one, above in zip(first, is_above, strict=True) if not above and one.strip()]
    if not any(is_above) or any(
        one in column for one, column in zip(first, columns, strict=True) if one.strip()
    ):
        return None
    if texts and not all(re.fullmatch(r"[\[(].*[\])]|-", one.strip()) for one in texts):
        return None
    units = [one.strip() for one, above in zip(first, is_above, strict=True) if above]
    if not all(_is_unit(one) or one == "-" for one in units) or not any(map(_is_unit, units)):
        return None
    return next((i + 1 for i in range(form.skipped, len(lines)) if lines[i].strip()), None)


def _is_unit(text: str) -> bool:
    return len(text) <= 20 and bool(re.search(r"[A-Za-z°%€$£\[(]", text)) and text not in ("-", "?", "x")
