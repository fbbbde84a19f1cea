"""What is wrong with the rows of a table: the first of each kind, and how many more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gpujobs.trainer.data.arrays import Integers
from gpujobs.trainer.failures import DataError

MOST_OF_KIND = 5
"""Cells of one column that cannot be read are shown; the rest is counted."""


class Aside(NamedTuple):
    """As `Problems.add` takes it."""

    kind: str
    places: Sequence[int] | Integers
    message: Callable[[int], str]


@dataclass
class Problems:
    """The first of each kind, such as those of a column, and how many there are."""

    shown: dict[str, list[str]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    aside: list[Aside] = field(default_factory=list)
    """What is said where there are others: alone it is found, and said, once all has been read."""

    @property
    def count(self) -> int:
        return sum(self.counts.values())

    def add(self, kind: str, places: Sequence[int] | Integers, message: Callable[[int], str]) -> None:
        """`message` is asked for the text of those that are shown."""
        if not len(places):
            return
        texts = self.shown.setdefault(kind, [])
        texts += [message(int(place)) for place in places[: max(0, MOST_OF_KIND - len(texts))]]
        self.counts[kind] = self.counts.get(kind, 0) + len(places)

    def merge(self, others: Problems) -> None:
        """With those of rows further down."""
        for kind, texts in others.shown.items():
            shown = self.shown.setdefault(kind, [])
            shown += texts[: max(0, MOST_OF_KIND - len(shown))]
            self.counts[kind] = self.counts.get(kind, 0) + others.counts[kind]
        self.aside += others.aside

    def error(self) -> DataError:
        for one in self.aside:
            self.add(*one)
        self.aside.clear()
        texts = []
        for kind, first in self.shown.items():
            more = self.counts[kind] - len(first)
            texts += [*first[:-1], first[-1] + (f" ({more:,} more such rows)" if more else "")]
        return DataError(*texts)
