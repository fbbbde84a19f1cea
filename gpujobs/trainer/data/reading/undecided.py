"""Numbers of which the beginnings of csv files leave open how they are written: 1.234 beside 567 is rather a thousand
than one and a bit, wherever in the files the two stand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gpujobs.trainer.data.arrays import Integers
from gpujobs.trainer.data.reading import cells, signs
from gpujobs.trainer.data.reading.dialect import Head
from gpujobs.trainer.data.reading.text import Block

WHOLE = r"^([+-]?\d{1,18})?$"
HUNDREDS = r"^[+-]?[1-9]\d{2}$"


class Cell(NamedTuple):
    """`place`: of its row, in a block."""

    place: int
    value: str


class Where(NamedTuple):
    file: str
    row: int
    value: str


@dataclass
class Shown:
    """What a block holds: by column the first cell such as 1.234, and such as 567; and whether there is a decimal point
    for sure."""

    grouped: dict[str, Cell] = field(default_factory=dict)
    hundreds: dict[str, Cell] = field(default_factory=dict)
    has_point: bool = False


@dataclass
class Undecided:
    """What the blocks of all files have shown so far, those before which others stand after these."""

    grouped: dict[str, Where] = field(default_factory=dict)
    hundreds: dict[str, Where] = field(default_factory=dict)
    is_point: bool = False

    def add(self, file: str, block: Block, shown: Shown) -> None:
        self.is_point |= shown.has_point
        for held, found in ((self.grouped, shown.grouped), (self.hundreds, shown.hundreds)):
            for column, cell in found.items():
                if column not in held:
                    held[column] = Where(file, int(block.lines()[cell.place]), cell.value)

    def errors(self) -> Iterator[str]:
        """Of each column that may have been read wrongly."""
        for column, one in self.grouped.items() if not self.is_point else ():
            other = self.hundreds.get(column)
            if other is not None:
                at = f"row {other.row}" if other.file == one.file else f"{other.file}: row {other.row}"
                yield (
                    f"{one.file}: row {one.row}: column {column}: holds {one.value!r}, which may be a thousand or one "
                    f"and a bit beside {other.value!r} ({at}); {signs.WHICH}"
                )


class OpenColumns:
    """The columns of numbers of a file whose beginning leaves open how they are written.

    As long as they hold whole numbers they are read as such, so that a point is no number: that takes less time than to
    look for it. `all_of`: what has been shown so far. `keys`: of the columns, in the tables of the blocks."""

    def __init__(self, head: Head, keys: Mapping[str, str], all_of: Undecided) -> None:
        self._keys, self._all, self._writing = dict(keys), all_of, head.dialect.writing
        self._whole = frozenset(name for name in keys if _is_whole(head.cells(int(keys[name]))))
        border = re.escape(head.dialect.separator)
        self._plain = rf'(?:^|[\r\n" {border}])[+-]?[1-9]\d\d(?:[\r\n" {border}]|$)'

    def whole(self, block: Block) -> frozenset[str]:
        """Those that have held whole numbers alone. None where some may be hexadecimal: pyarrow reads those too."""
        if self._all.is_point or not self._whole or _has_hexadecimal(bytes(block.content)):
            return frozenset()
        return self._whole

    def narrow(self, text: pa.Table, tried: frozenset[str]) -> None:
        """Without those that hold other numbers in a block, whose cells are given as text."""
        odd = frozenset(name for name in tried if not _is_whole(self._cells(text, name)))
        self._whole -= odd or tried

    def shown(
        self, block: Block, table: pa.Table, numbers: Mapping[str, Any], text: Callable[[], pa.Table]
    ) -> Shown:
        """`table`, `numbers`: what has been read of a block, by pyarrow and as float64. `text`: gives the text of
        its cells."""
        found = Shown()
        if self._all.is_point:
            return found
        kinds = {name: table.column(key).type for name, key in self._keys.items()}
        closer = [name for name, kind in kinds.items() if not pa.types.is_integer(kind)]
        for name in [one for one in kinds if one not in closer and one not in self._all.hundreds]:
            at = _hundreds(numbers[name])
            if len(at):
                found.hundreds[name] = Cell(int(at[0]), str(int(numbers[name][at[0]])))
        if not closer:
            return found
        if all(pa.types.is_floating(kinds[name]) for name in closer):
            if not self._tells(block, numbers, closer):
                return found
            table = text()
        for name in closer:
            self._look(name, self._cells(table, name), found)
        return found

    def _tells(self, block: Block, numbers: Mapping[str, Any], names: Sequence[str]) -> bool:
        """Whether cells of a block may show what those before it have not: told by their values where that can be,
        as text takes as long again."""
        if any(name not in self._all.grouped for name in names):
            return True
        if any(_is_beyond_groups(numbers[name]) for name in names):
            return True
        if not any(len(_hundreds(numbers[name])) for name in names):
            return False
        held = pa.array([bytes(block.content)], pa.binary())
        return bool(pc.match_substring_regex(held, self._plain)[0].as_py())

    def _cells(self, text: pa.Table, name: str) -> pa.Array:
        """Without those that stand for no number."""
        found = cells.bare(text.column(self._keys[name]).combine_chunks())
        is_absent = pc.is_in(found, value_set=pa.array(self._writing.no_number))
        return cells.without_units(pc.if_else(is_absent, "", found), self._writing.units)

    def _look(self, name: str, values: pa.Array, found: Shown) -> None:
        for pattern, into in ((signs.GROUPED, found.grouped), (HUNDREDS, found.hundreds)):
            at = pc.index(pc.match_substring_regex(values, pattern), True).as_py()
            if at >= 0:
                into[name] = Cell(at, values[at].as_py())
        is_point = pc.match_substring_regex(values, signs.NUMBER_WITH["point"].pattern)
        grouped = pc.match_substring_regex(values, signs.GROUPED)
        found.has_point |= bool(pc.any(pc.and_not(is_point, grouped)).as_py())


def _is_whole(values: pa.Array) -> bool:
    """Whether whole numbers are all that there is, or nothing."""
    return bool(pc.all(pc.match_substring_regex(values, WHOLE), min_count=0).as_py())


def _has_hexadecimal(content: bytes) -> bool:
    return any(content.find(sign[1:]) >= 0 and content.find(sign) >= 0 for sign in (b"0x", b"0X"))


def _hundreds(values: NDArray[np.float64]) -> Integers:
    """Where whole numbers of three digits are."""
    size = np.abs(values)
    return np.flatnonzero((size >= 100) & (size <= 999) & (size == np.floor(size)))


def _is_beyond_groups(values: NDArray[np.float64]) -> bool:
    """Whether some are not from 1 to 1000, as all that 1.234 could be."""
    size = np.abs(values)
    return bool(((size < 1) | (size >= 1000)).any())
