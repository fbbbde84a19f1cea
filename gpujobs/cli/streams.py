"""Standard output and errors in any encoding: what it lacks is written as something like it, never an error."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import TextIO, cast

SIMPLE = {
    "…": "~",
    "─": "-",
    "│": "|",
    "└": "+",
    "┤": "+",
    "━": "-",
    "╸": "-",
    "╺": "-",
    "—": "-",
    "–": "-",
    "’": "'",
    "‘": "'",
    "“": '"',
    "”": '"',
    "×": "x",
    "→": ">",
    "≤": "<",
    "≥": ">",
    "⣿": "*",
    "⠶": "o",
    "▓": "#",
    "█": "@",
    "░": ".",
    "┴": "+",
    "▲": "^",
}
"""Of one cell each, so that tables stay aligned."""

ERRORS = "gpujobs"


class AsciiStream(io.TextIOWrapper):
    """Click writes UTF-8 where it is told ASCII; under a name of its own it leaves the stream as it is."""

    @property
    def encoding(self) -> str:  # type: ignore[override]  # it is set by nobody
        return "gpujobs-ascii"


def prepare() -> None:
    """For this process's standard output and errors."""
    codecs.register_error(ERRORS, _simpler)
    sys.stdout = _prepared(sys.stdout)
    sys.stderr = _prepared(sys.stderr)


def _prepared(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    if codecs.lookup(stream.encoding).name == "ascii":
        stream.flush()
        buffered = stream.line_buffering
        return AsciiStream(stream.detach(), "ascii", ERRORS, line_buffering=buffered)
    # A name that is not UTF-8 came in as surrogates; UTF-8 itself lacks nothing else.
    stream.reconfigure(errors=ERRORS)
    return stream


def _simpler(error: UnicodeError) -> tuple[str, int]:
    found = cast(UnicodeEncodeError, error)
    return "".join(map(_like, found.object[found.start : found.end])), found.end


def _like(character: str) -> str:
    """As many cells as the character has."""
    import unicodedata  # most of what is written needs none of it

    if character in SIMPLE:
        return SIMPLE[character]
    if 0x2800 <= ord(character) < 0x2900:  # of a curve in braille
        return "*"
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Mn", "Me"):
        return ""
    plain = unicodedata.normalize("NFKD", character)[0]
    if plain.isascii() and plain.isprintable():
        return plain
    return "??" if unicodedata.east_asian_width(character) in "WF" else "?"


def is_dumb() -> bool:
    """A terminal that knows no escapes."""
    return os.environ.get("TERM", "") in ("dumb", "unknown")


def has_colour(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and not is_dumb()


def is_live(stream: TextIO) -> bool:
    """Whether what was drawn on it can be drawn over."""
    return stream.isatty() and not is_dumb()
