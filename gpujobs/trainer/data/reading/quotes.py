"""Which bytes of a csv file stand in quotes, where a line's end ends no row. What opens a quote is what pyarrow
takes for one: the first sign of a cell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gpujobs.trainer.data.arrays import Integers

QUOTE = b'"'
ALIKE = np.frombuffer(QUOTE, np.uint8)[0]
LINE_END = np.frombuffer(b"\n", np.uint8)[0]


class Cut(NamedTuple):
    """`end`: of the last row that is whole. `opened`: where a quote is that nothing closes, or None."""

    end: int
    opened: int | None


def cut(text: memoryview, separator: bytes, comment: bytes) -> Cut:
    """Of text that ends with a line's end, or with the file."""
    borders = _borders(text, separator, comment)
    if not len(borders) or borders[-1] <= len(text):
        return Cut(len(text), None)
    opened = int(borders[-2])
    ends = np.flatnonzero(np.frombuffer(text[:opened], np.uint8) == LINE_END) + 1
    outside = ends[~_inside(borders, ends)]
    return Cut(int(outside[-1]) if len(outside) else 0, opened)


def inside(text: memoryview, places: Integers, separator: bytes, comment: bytes) -> Integers:
    """bool, shape (len(places),): whether a quote is open there, at the beginning of a line."""
    return _inside(_borders(text, separator, comment), places)


def _inside(borders: Integers, places: Integers) -> Integers:
    return np.searchsorted(borders, places) % 2 == 1


def _borders(text: memoryview, separator: bytes, comment: bytes) -> Integers:
    """Where quotes begin and end, in turn; the last one that is not closed ends behind the text.

    Where every other quote stands at the beginning of a cell, or behind another quote, they open and close in turn.
    Else, as where inches are meant, cell by cell.
    """
    held = np.frombuffer(text, np.uint8)
    places = np.flatnonzero(held == ALIKE)
    before = held[places[::2][places[::2] > 0] - 1]
    if comment or not np.isin(before, np.frombuffer(_before(separator) + QUOTE, np.uint8)).all():
        return np.array([border for pair in _cells(text, separator, comment) for border in pair], np.int64)
    places[1::2] += 1
    return np.append(places, len(text) + 1) if len(places) % 2 else places


def _before(separator: bytes) -> bytes:
    """What stands before a cell: of files whose fields are separated by blanks, tabs too."""
    return b"\n\r" + separator + (b"\t" if separator == b" " else b"")


def _cells(text: memoryview, separator: bytes, comment: bytes) -> Iterator[tuple[int, int]]:
    left_out = rb"^[ \t]*" + re.escape(comment) + rb"[^\n]*|" if comment else b""
    opens = rb"(?:^|(?<=[" + re.escape(_before(separator)) + rb"]))"
    cell = rb'(?P<cell>"[^"]*+(?:""[^"]*+)*+(?:(?P<closed>")|\Z))'
    for found in re.finditer(rb"(?m)" + left_out + opens + cell, text):
        if found["cell"] is not None:
            yield found.start(), found.end() if found["closed"] else len(text) + 1
