"""What was told last, kept for the next picture: of ten thousand jobs few have changed, and many look."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from gpujobs.model import Job
from gpujobs.store.reader import Reader
from gpujobs.view.now import Row

KEPT = 20_000
"""Rows, after which all are made again."""

ENDED_SHOWN = 20
"""Of the jobs that have ended, on a page that shows the box as it is."""


class Shown:
    """A row is made again when what it is made of is another; what ended lately is read when the store has changed."""

    def __init__(self) -> None:
        self._rows: dict[Hashable, tuple[tuple[object, ...], Row]] = {}
        self._lately: list[Job] = []
        self._read_at = -1

    def lately(self, store: Reader) -> list[Job]:
        if self._read_at != store.changes:
            self._lately, self._read_at = store.ended(limit=ENDED_SHOWN), store.changes
        return self._lately

    def row(self, key: Hashable, made_of: tuple[object, ...], make: Callable[[], Row]) -> Row:
        kept = self._rows.get(key)
        if kept is not None and kept[0] == made_of:
            return kept[1]
        if len(self._rows) >= KEPT:
            self._rows.clear()
        row = make()
        self._rows[key] = made_of, row
        return row
