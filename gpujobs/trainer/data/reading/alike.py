"""Names of classes and series that are written in several ways, which is rarely meant."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from gpujobs.trainer.data.notices import listed, say
from gpujobs.trainer.data.reading.cells import FALSE, TRUE
from gpujobs.trainer.failures import DataError

DECIMAL = re.compile(r"[+-]?\d+\.\d+")

CASES = 3
"""How often each word of TRUE and FALSE stands there: True, true, TRUE."""


def say_alike(path: str, column: str, words: Sequence[str], what: str = "classes") -> None:
    """Names that differ by case, blanks, how their accents are encoded, or how a number is written only are classes (or
    series) of their own, which is rarely meant."""
    seen: dict[str, str] = {}
    for word in words:
        plain = " ".join(unicodedata.normalize("NFKC", word).casefold().split())
        if DECIMAL.fullmatch(plain):
            plain = plain.rstrip("0").rstrip(".")
        other = seen.setdefault(plain, word)
        if other != word:
            shown = (repr, ascii)[unicodedata.normalize("NFC", word) == unicodedata.normalize("NFC", other)]
            say(
                [
                    f"{path}: column {column}: {shown(other)} and {shown(word)} are two {what}, as they are written."
                ]
            )


def require_one_writing(path: str, column: str, words: Sequence[str]) -> None:
    """Raises DataError where yes and no are written in two ways, as words here and as numbers there, or as True and as
    yes: these would be classes of their own."""
    ways: dict[int, list[str]] = {}
    for word in words:
        if (way := _way(word)) is None:
            return
        ways.setdefault(way, []).append(word)
    whole = [way for way in ways.values() if len({_is_true(word) for word in way}) == 2]
    if len(ways) < 2 or not whole or any(word.isalpha() and len(word) == 1 for word in words):
        return  # a letter alone is rather a name
    first, *others = sorted(ways.values(), key=lambda way: (way not in whole, "0" in way or "1" in way))
    beside = [word for way in others for word in way]
    raise DataError(
        f"{path}: column {column}: holds {listed(first, len(first))} beside {listed(beside, len(beside))}, "
        f"which would be {len(words)} classes; expected yes and no to be written alike in all rows and files (or, "
        "where these are classes of their own, their names in data.classes)"
    )


def _way(word: str) -> int | None:
    """Which of the ways to write yes and no this is of: 1 and 0, True and False, yes and no, ... None: of none."""
    if word in ("0", "1"):
        return -1
    for words in (TRUE, FALSE):
        if word in words:
            return words.index(word) // CASES
    return None


def _is_true(word: str) -> bool:
    return word == "1" or word in TRUE
