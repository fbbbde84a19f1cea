"""Bytes of a log as lines that may be shown."""

from __future__ import annotations

import codecs
from collections import deque

from gpujobs.printing import printable

KEPT_LINES = 2000
LINE_CHARACTERS = 2000


class Lines:
    """The last lines; of one that a progress bar writes over, what it says last."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._kept: deque[str] = deque(maxlen=KEPT_LINES)
        self._begun = ""

    def add(self, piece: bytes) -> None:
        *whole, begun = (self._begun + self._decoder.decode(piece)).split("\n")
        self._kept.extend(map(_shown, whole[-KEPT_LINES:]))
        self._begun = begun[-4 * LINE_CHARACTERS :]

    def last(self, count: int) -> list[str]:
        """The line that is being written is the last one."""
        found = [*self._kept, *([_shown(self._begun)] if self._begun else [])]
        return found[-count:] if count > 0 else []


def _shown(line: str) -> str:
    return printable(line.rstrip("\r").rpartition("\r")[2].expandtabs(8)[:LINE_CHARACTERS])
