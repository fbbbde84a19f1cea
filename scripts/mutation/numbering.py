"""A text of a module in which each statement of a function notes that it ran, and what was noted.

Own code where coverage.py exists: what runs in forked trainers that are killed, in daemons, and as another user is to
be known for each test, so that a note is one byte of a file that all these processes map (`_ran.py` of their
environment).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

HEADER = "from _ran import ran as __ran__"
MODULE_LEVEL = 0
"""In place of a line: what runs when the module is imported, which no test can be known by."""

RAN = """
import mmap
with open({path!r}, "r+b") as file:
    ran = mmap.mmap(file.fileno(), 0)
"""


def numbered(source: bytes, first: int) -> tuple[str, list[int]]:
    """The text, and the line of each statement, whose number is its place plus `first`."""
    tree = ast.parse(source)
    lines: list[int] = []
    for body in list(_bodies(tree)):
        noting: list[ast.stmt] = []
        for place, one in enumerate(body):
            if place or not _is_docstring(one):
                noting += ast.parse(f"__ran__[{first + len(lines)}] = 1").body
                lines.append(one.lineno)
            noting.append(one)
        body[:] = noting
    tree.body.insert(_after_future(tree.body), ast.parse(HEADER).body[0])
    return ast.unparse(ast.fix_missing_locations(tree)), lines


def line_of(source: bytes, line: int, column: int) -> int:
    """The first line of the innermost statement of a function there; `MODULE_LEVEL` where it is in none."""
    found = MODULE_LEVEL
    for body in _bodies(ast.parse(source)):
        for one in body:
            if _begin(one) <= (line, column) < (one.end_lineno or 0, one.end_col_offset or 0):
                found = max(found, one.lineno)
    return found


def _begin(one: ast.stmt) -> tuple[int, int]:
    return (one.lineno, one.col_offset)


def _bodies(node: ast.AST, is_inside: bool = False) -> Iterator[list[ast.stmt]]:
    """The lists of statements that run when a function is called."""
    is_inside = is_inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    if is_inside and not isinstance(node, ast.ClassDef):
        for name in ("body", "orelse", "finalbody"):
            if isinstance(body := getattr(node, name, None), list) and body:
                yield body
    for child in ast.iter_child_nodes(node):
        yield from _bodies(child, is_inside)


def _is_docstring(one: ast.stmt) -> bool:
    return isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)


def _after_future(body: list[ast.stmt]) -> int:
    places = [
        n for n, one in enumerate(body) if isinstance(one, ast.ImportFrom) and one.module == "__future__"
    ]
    return places[-1] + 1 if places else int(bool(body) and _is_docstring(body[0]))
