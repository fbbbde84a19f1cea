"""Texts of other people, as they may be shown."""

from __future__ import annotations

UNSEEN = {ord("\n"): " ", 0x200C: None, 0x200D: None}
"""A line break, and what joins or parts characters: of joined ones each terminal has another width."""


def printable(text: object) -> str:
    """Other people's names and messages, without what could steer the reader's terminal; `-` for a name that
    the site hides."""
    if text is None:
        return "-"
    text = str(text).translate(UNSEEN)
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def one_line(text: str) -> str:
    """The same, whatever blanks and line breaks are in it."""
    return printable(" ".join(text.split()))
