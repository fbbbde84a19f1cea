"""The bytes of a csv file as blocks of whole rows in UTF-8, whatever it is packed with and encoded in."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from gpujobs import formats
from gpujobs.trainer.data.arrays import Integers
from gpujobs.trainer.data.reading import quotes
from gpujobs.trainer.failures import DataError

BLOCK_BYTES = 2 << 20
"""Read at once, and parsed by one thread: so much stays in the cache of a core."""

LONGEST_ROW = 16 << 20
"""A row with lines in quotes that takes more is one whose quote is not closed."""

COUNTED_BYTES = 1 << 17

CODECS = {".gz": "gzip", ".zst": "zstd"}

Written: TypeAlias = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Form:
    """How the lines of a file are told apart, and which of them are left out. `skipped`: the lines before the first
    row. `comment`: what a line that is left out begins with. `is_spaced`: any number of blanks separates."""

    encoding: str = "utf-8"
    newline: bytes = b"\n"
    skipped: int = 0
    comment: bytes = b""
    is_spaced: bool = False
    separator: bytes = b","


@dataclass(frozen=True, slots=True)
class Block:
    """`content`: what is parsed. `written`: the same lines as they stand in the file, `count` of them; the first has
    number `line`. `opened`: the number of the line with a quote that nothing closes."""

    content: Written
    written: Written
    line: int
    count: int
    form: Form
    opened: int | None = None

    @property
    def is_blank(self) -> bool:
        return not bytes(self.content[:COUNTED_BYTES]).strip() and not bytes(self.content).strip()

    def lines(self) -> Integers:
        """The number of the line in which each row begins, int64. A carriage return alone may stand in a cell: where it
        ends a row, none ends a line."""
        rows = bytes(self.written).splitlines(keepends=True)
        begin, spaced = self.form.comment, self.form.is_spaced
        held = np.array([bool(row.strip() if spaced else row.strip(b"\r\n")) for row in rows], bool)
        if begin:
            held &= [not row.lstrip().startswith(begin) for row in rows]
        if quotes.QUOTE in bytes(self.written):
            starts = np.cumsum([0, *map(len, rows[:-1])])
            held &= ~quotes.inside(memoryview(self.written), starts, self.form.separator, begin)
        numbers = np.cumsum([0, *(row.endswith(b"\n") for row in rows[:-1])])
        return numbers[: len(rows)][held] + self.line


def open_stream(name: str, path: Path) -> IO[bytes]:
    """Raises OSError, also where it is packed in another way than its name says."""
    packed = formats.form(name)[1]
    if not packed:
        return path.open("rb", buffering=0)
    stream: IO[bytes] = pa.CompressedInputStream(pa.OSFile(str(path)), CODECS[packed])
    return stream


def block(written: bytes, form: Form) -> Block:
    """The first one, of text that has been read already."""
    return Block(_parsed(written, form), written, form.skipped + 1, ends(written), form)


def blocks(name: str, path: Path, form: Form, size: int | None = None) -> Iterator[Block]:
    """None follows one with a quote that nothing closes. Raises OSError, DataError where there is a NUL byte, and
    UnicodeDecodeError where bytes do not have the encoding."""
    line = form.skipped + 1
    for written, opened, nul in _rows(name, path, form, size or BLOCK_BYTES):
        if nul is not None:
            raise DataError(f"{name}: {formats.nul_in_row(line + ends(written[:nul]))}")
        count = ends(written) + (written[-1] != quotes.LINE_END)
        at = None if opened is None else line + ends(written[:opened])
        yield Block(_parsed(written, form), written, line, count, form, at)
        line += count


class _Rows(NamedTuple):
    """`opened`: where a quote is that nothing closes. `nul`: where the first NUL byte is."""

    written: memoryview
    opened: int | None
    nul: int | None


def _rows(name: str, path: Path, form: Form, size: int) -> Iterator[_Rows]:
    """Pieces that end with a row, none of them empty."""
    rest, skip, is_first, opened = memoryview(b""), form.skipped, True, None
    with open_stream(name, path) as stream:
        read = _reader(stream, form)
        while opened is None:
            held, is_last = read(rest, max(size, len(rest)))
            if is_first and held.startswith(codecs.BOM_UTF8):
                del held[:3]
            is_first = False
            skip = _skip(held, skip, is_last=is_last)
            end, opened = _end(held, form, is_last=is_last)
            text = memoryview(held)
            if end:
                nul = held.find(b"\0", 0, end)
                yield _Rows(text[:end], opened, None if nul < 0 else nul)
            if is_last:
                return
            rest = text[end:]


def _reader(stream: IO[bytes], form: Form) -> Callable[[memoryview, int], tuple[bytearray, bool]]:
    """Gives text in UTF-8: what is left of that before, what so many bytes more say, and whether these are the last."""
    if form.encoding == "utf-8" and form.newline == b"\n":
        return lambda rest, size: _filled(stream, rest, size)
    decoder = None if form.encoding == "utf-8" else codecs.getincrementaldecoder(form.encoding)()

    def read(rest: memoryview, size: int) -> tuple[bytearray, bool]:
        piece, is_last = _filled(stream, memoryview(b""), size)
        if decoder is not None:
            piece = bytearray(decoder.decode(piece, is_last).encode())
        if form.newline == b"\r":
            piece = piece.replace(b"\r", b"\n")
        return bytearray(rest) + piece, is_last

    return read


def _filled(stream: IO[bytes], rest: memoryview, size: int) -> tuple[bytearray, bool]:
    """Read in place, behind the rest: nothing is copied but that."""
    held, end = bytearray(len(rest) + size), len(rest)
    held[:end] = rest
    with memoryview(held) as into:
        while end < len(held) and (count := stream.readinto(into[end:])):  # type: ignore[attr-defined]
            end += count
    is_last = end < len(held)
    del held[end:]
    return held, is_last


def _skip(held: bytearray, count: int, *, is_last: bool) -> int:
    """Without the first lines, of which so many are still to come."""
    at = 0
    while count and (end := held.find(b"\n", at)) >= 0:
        at, count = end + 1, count - 1
    del held[: len(held) if count and is_last else at]
    return count


def _end(held: bytearray, form: Form, *, is_last: bool) -> quotes.Cut:
    """The end of the rows that are whole: where a row goes on in what is still to be read, it is left for then."""
    end = len(held) if is_last else held.rfind(b"\n") + 1
    if held.find(quotes.QUOTE, 0, end) < 0:
        return quotes.Cut(end, None)
    whole, opened = quotes.cut(memoryview(held)[:end], form.separator, form.comment)
    if opened is None or is_last:
        return quotes.Cut(end, opened)
    if whole or len(held) < LONGEST_ROW:
        return quotes.Cut(whole, None)
    return quotes.Cut(end, opened)


def _parsed(written: Written, form: Form) -> Written:
    content = written
    if form.comment and form.comment in bytes(content):
        content = re.sub(rb"(?m)^[ \t]*" + re.escape(form.comment) + rb".*(?:\n|\Z)", b"", content)
    if form.is_spaced:
        content = re.sub(rb"[ \t]+", b" ", content)
        content = re.sub(rb"(?m)^ | (?=\r?$)", b"", content)
    return content


def ends(piece: Written) -> int:
    """How many lines end in a piece: bytes.count takes three times as long, a comparison of more at once than a core
    keeps near twice."""
    held = np.frombuffer(piece, np.uint8)
    return sum(
        int(np.count_nonzero(held[at : at + COUNTED_BYTES] == quotes.LINE_END))
        for at in range(0, len(held), COUNTED_BYTES)
    )


def likely_rows(name: str, path: Path, head: Block) -> int:
    """By the size of the file and what the rows at its beginning take; of what is packed, so many as these."""
    many = 2 if head.form.encoding.startswith("utf-16") else 1
    rows = (
        head.count
        if formats.form(name)[1]
        else path.stat().st_size * head.count // (many * len(head.written))
    )
    return rows + rows // 32 + 2
