"""Texts measured as terminals show them: in cells, of which a Chinese character has two and an accent none."""

from __future__ import annotations

from collections.abc import Iterator

MARK = "…"


def width(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def padded(text: str, size: int) -> str:
    """Aligned left in `size` cells."""
    return text + " " * (size - width(text))


def cut(text: str, size: int) -> str:
    """At most `size` cells: the end is left out."""
    if width(text) <= size:
        return text
    return _head(text, size - 1) + MARK if size > 0 else ""


def shortened(text: str, size: int) -> str:
    """At most `size` cells: the middle is left out, since names differ at their ends."""
    if width(text) <= size:
        return text
    if size <= 2:
        return cut(text, size)
    tail = (size - 1) // 2
    return _head(text, size - 1 - tail) + MARK + _tail(text, tail)


def wrapped(text: str, size: int, first: str, further: str) -> str:
    """A paragraph. Words are broken only where they have no spaces, as Chinese has none."""
    if text.isascii():
        import textwrap

        return textwrap.fill(text, size, initial_indent=first, subsequent_indent=further,
                             break_long_words=False, break_on_hyphens=False)  # fmt: skip
    lines, line, is_empty = [], first, True
    for word in _words(text, size - width(further)):
        if not is_empty and width(line) + 1 + width(word) > size:
            lines.append(line)
            line, is_empty = further, True
        line += word if is_empty else f" {word}"
        is_empty = False
    return "\n".join([*lines, line])


def _words(text: str, size: int) -> Iterator[str]:
    from rich.cells import chop_cells

    for word in text.split():
        if word.isascii() or width(word) <= size or size < 2:
            yield word
        else:
            yield from chop_cells(word, size)


def _graphemes(text: str) -> list[tuple[str, int]]:
    """What is seen as one character, with its cells."""
    from rich.cells import split_graphemes

    spans, _ = split_graphemes(text)
    return [(text[start:end], size) for start, end, size in spans]


def _head(text: str, size: int) -> str:
    return _taken(_graphemes(text), size)


def _tail(text: str, size: int) -> str:
    kept = ""
    for one, cells in reversed(_graphemes(text)):
        size -= cells
        if size < 0:
            break
        kept = one + kept
    return kept


def _taken(graphemes: list[tuple[str, int]], size: int) -> str:
    kept = ""
    for one, cells in graphemes:
        size -= cells
        if size < 0:
            break
        kept += one
    return kept
