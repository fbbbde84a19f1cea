"""What a job asks for of its tables."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wanted:
    """The columns to read: `numbers` as float32, `words` as text, and one that says when, or two. `labels`: those of
    `numbers` that may have turned out to be words. `file`: what the words are called that are the names of files.
    `is_whole`: no number may be missing."""

    numbers: tuple[str, ...]
    words: tuple[str, ...] = ()
    time: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    file: str | None = None
    is_whole: bool = False

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys([*self.numbers, *self.words, *self.time]))


class BecomesText(Exception):
    """A column that begins with numbers has words further down."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column
