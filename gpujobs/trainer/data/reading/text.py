"""The bytes of a csv file as blocks of whole lines in UTF-8, whatever it is packed with and encoded in."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa

from gpujobs import formats
from gpujobs.trainer.data.arrays import Integers

BLOCK_BYTES = 8 << 20
"""Read and parsed at once, by several threads."""

CODECS = {".gz": "gzip", ".zst": "zstd"}


@dataclass(frozen=True, slots=True)
class Form:
    """How the lines of a file are told apart, and which of them are left out. `skipped`: the lines before the first
    row. `comment`: what a line that is left out begins with. `is_spaced`: any number of blanks separates."""

    encoding: str = "utf-8"
    newline: bytes = b"\n"
    skipped: int = 0
    comment: bytes = b""
    is_spaced: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """`content`: what is parsed. `written`: the same lines as they stand in the file, `count` of them; the first has
    number `line`."""

    content: bytes
    written: bytes
    line: int
    count: int
    form: Form

    def lines(self) -> Integers:
        """The number of the line of each row, int64."""
        rows = self.written.splitlines()
        begin = self.form.comment
        held = [bool(row.strip() if self.form.is_spaced else row) for row in rows]
        if begin:
            held = [
                there and not row.lstrip().startswith(begin) for there, row in zip(held, rows, strict=True)
            ]
        return np.flatnonzero(held) + self.line


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
    """Raises OSError, and UnicodeDecodeError where bytes do not have the encoding."""
    line, skip = form.skipped + 1, form.skipped
    for written in _lines(name, path, form, size or BLOCK_BYTES):
        if skip:
            written, skip = _without(written, skip)
        if written:
            count = ends(written) + (not written.endswith(b"\n"))
            yield Block(_parsed(written, form), written, line, count, form)
            line += count


def _lines(name: str, path: Path, form: Form, size: int) -> Iterator[bytes]:
    """Pieces that end with a line's end, but for the last."""
    decoder = None if form.encoding == "utf-8" else codecs.getincrementaldecoder(form.encoding)()
    rest, is_first = b"", True
    with open_stream(name, path) as stream:
        while piece := stream.read(size):
            if decoder is not None:
                piece = decoder.decode(piece).encode()
            if is_first:
                piece, is_first = piece.removeprefix(codecs.BOM_UTF8), False
            if form.newline == b"\r":
                piece = piece.replace(b"\r", b"\n")
            end = piece.rfind(b"\n") + 1
            if end:
                yield b"".join((rest, memoryview(piece)[:end]))
                rest = piece[end:]
            else:
                rest += piece
    if decoder is not None:
        decoder.decode(b"", True)
    if rest:
        yield rest


def _without(written: bytes, count: int) -> tuple[bytes, int]:
    """The lines after the first ones, and how many of these are still to come."""
    at = 0
    while count and at < len(written):
        end = written.find(b"\n", at)
        at, count = (len(written) if end < 0 else end + 1), count - 1
    return written[at:], count


def _parsed(written: bytes, form: Form) -> bytes:
    content = written
    if form.comment and form.comment in content:
        content = re.sub(rb"(?m)^[ \t]*" + re.escape(form.comment) + rb".*(?:\n|\Z)", b"", content)
    if form.is_spaced:
        content = re.sub(rb"[ \t]+", b" ", content)
        content = re.sub(rb"(?m)^ | (?=\r?$)", b"", content)
    return content


def ends(piece: bytes, sign: bytes = b"\n") -> int:
    """How many lines end in a piece: bytes.count takes five times as long."""
    return int(np.count_nonzero(np.frombuffer(piece, np.uint8) == sign[0]))


def count(name: str, path: Path, form: Form) -> int:
    """At least as many lines as the file has rows."""

    sign = b"\r" if form.newline == b"\r" else b"\n"
    found = 2  # the last line, which may have no end
    with open_stream(name, path) as stream:
        while piece := stream.read(BLOCK_BYTES):
            found += ends(piece, sign)
    return max(1, found - form.skipped)
