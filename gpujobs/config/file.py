"""gpujobs.toml as a text: its values, where each stands, and every mistake of its writing.

tomllib ends at the first mistake. Here the line that it names is taken out (with a table's heading, the whole
table) and the rest is read again, so that whoever has made three hears of three.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpujobs.errors import Problem
from gpujobs.jobfile.reader import toml_lines

MAX_PROBLEMS = 20
"""Mistakes of writing that are looked for; beyond them it is no TOML at all."""

_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)")


@dataclass(frozen=True, slots=True)
class ConfigText:
    """`values` are those of the lines that could be read."""

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[tuple[str | int, ...], int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def problem(self, key: tuple[str | int, ...], message: str) -> Problem:
        """Of a key, with its line or that of what is around it."""
        line = next((self.lines[key[:n]] for n in range(len(key), 0, -1) if key[:n] in self.lines), None)
        return Problem(str(self.path), line, message)


def read(path: Path) -> ConfigText:
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        return _unreadable(path, f"cannot be read ({error.strerror}); expected a file such as gpujobs.toml")
    except UnicodeDecodeError as error:
        return _unreadable(path, f"is no UTF-8 text ({error.reason}); save it as UTF-8")
    lines, problems = text.splitlines(), list[Problem]()
    while True:
        try:
            values = tomllib.loads("\n".join(lines))
        except tomllib.TOMLDecodeError as error:
            number = _line_of(error, lines)
            if not _follows(number, problems):
                problems.append(Problem(str(path), number, f"not TOML: {_AT_LINE.sub('', str(error))}"))
            if number is None or len(problems) >= MAX_PROBLEMS:
                return ConfigText(path, problems=tuple(problems))
            _take_out(lines, number - 1)
        else:
            return ConfigText(path, values, toml_lines("\n".join(lines)), tuple(problems))


def _unreadable(path: Path, message: str) -> ConfigText:
    return ConfigText(path, problems=(Problem(str(path), None, message),))


def _line_of(error: tomllib.TOMLDecodeError, lines: list[str]) -> int | None:
    """None where the error lies at the end, or on a line that was taken out already."""
    at = _AT_LINE.search(str(error))
    number = int(at[1]) if at else None
    return number if number is not None and number <= len(lines) and lines[number - 1].strip() else None


def _follows(number: int | None, problems: list[Problem]) -> bool:
    """Whether it is but the next line of what was taken out."""
    last = problems[-1].line if problems else None
    return number is not None and last is not None and number == last + 1


def _take_out(lines: list[str], index: int) -> None:
    """Whole tables, since their keys would otherwise count as those of the table before."""
    is_heading = lines[index].lstrip().startswith("[")
    lines[index] = ""
    while is_heading and index + 1 < len(lines) and not lines[index + 1].lstrip().startswith("["):
        index += 1
        lines[index] = ""
