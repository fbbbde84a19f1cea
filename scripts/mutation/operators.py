"""The faults: each is one place of a file and the text that stands there instead.

Left out is what cannot change what the program does for anybody but a reader: docstrings, annotations, decorators,
`__all__`, f-strings and what is said in a log or an error; and paces (constants named `…_SECONDS`, `MAX_…`, `…_BYTES`),
of which another value is as right.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

Fault = tuple[str, ast.expr | ast.stmt, ast.AST | str]
"""The operator's name, a node, and what replaces it."""

BOUNDARY = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
NEGATED = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
}
CHOICES = {"min": "max", "max": "min", "any": "all", "all": "any"}
TEXTS = (ast.JoinedStr, ast.List, ast.Tuple, ast.ListComp)
SAID = re.compile(r"(log|logging|logger|warnings|print|console)\b")
PACE = re.compile(r"MAX_\w*|\w*_(SECONDS|BYTES|CHARACTERS)|_*[A-Z]+_AT_ONCE")
HARMLESS = {
    "strict",
    "slots",
    "frozen",
    "exist_ok",
    "parents",
    "flush",
    "exc_info",
    "indent",
    "ensure_ascii",
    "stacklevel",
}
"""Arguments by name whose value no test of ours should pin down."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """`start` and `end` are offsets in the file's bytes."""

    module: str
    line: int
    operator: str
    start: int
    end: int
    text: str
    before: str

    @property
    def key(self) -> str:
        return f"{self.module}:{self.start}:{self.end}:{self.operator}:{self.text}"

    @property
    def shown(self) -> str:
        return f"{_short(self.before)} -> {_short(self.text)}"

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.text.encode() + source[self.end :]


def mutants(module: str, source: bytes) -> list[Mutant]:
    """All of a file, in order; each is a program that compiles."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def extent(node: ast.expr | ast.stmt) -> tuple[int, int]:
        end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        return starts[node.lineno - 1] + node.col_offset, end

    found: dict[str, Mutant] = {}
    for whole in ast.parse(source).body:
        first, last = extent(whole)
        for operator, place, after in (fault for node in _nodes(whole) for fault in _faults(node)):
            start, end = extent(place)
            text = after if isinstance(after, str) else f"({ast.unparse(ast.fix_missing_locations(after))})"
            one = Mutant(module, place.lineno, operator, start, end, text, source[start:end].decode())
            if one.key not in found and _compiles(source[first:start] + text.encode() + source[end:last]):
                found[one.key] = one
    return sorted(found.values(), key=lambda one: (one.start, one.end, one.operator, one.text))


def _nodes(node: ast.AST) -> Iterator[Any]:
    """Those where a fault makes sense, each before what is in it."""
    if hasattr(node, "lineno"):
        yield node
    for child in _children(node):
        yield from _nodes(child)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield from [*node.args.defaults, *filter(None, node.args.kw_defaults), *node.body]
        case ast.ClassDef():
            yield from node.body
        case ast.AnnAssign():
            yield from [node.value] if node.value is not None and not _is_pace(node.target) else []
        case ast.Assign() if any(_is_pace(target) for target in node.targets):
            pass
        case ast.Raise() | ast.JoinedStr() | ast.Import() | ast.ImportFrom() | ast.Assert():
            pass
        case ast.Expr() if _is_said(node):
            pass
        case ast.keyword() if node.arg in HARMLESS:
            pass
        case ast.If() if ast.unparse(node.test) == "TYPE_CHECKING":
            pass
        case _:
            yield from ast.iter_child_nodes(node)


def _is_pace(target: ast.expr) -> bool:
    return isinstance(target, ast.Name) and (target.id == "__all__" or PACE.fullmatch(target.id) is not None)


def _is_said(node: ast.Expr) -> bool:
    return isinstance(node.value, ast.Constant) or SAID.match(ast.unparse(node.value)) is not None


def _faults(node: ast.AST) -> Iterator[Fault]:
    operators = OPERATORS.get(type(node))
    return iter(()) if operators is None else operators(node)


def _comparison(node: ast.Compare) -> Iterator[Fault]:
    for name, table in (("boundary", BOUNDARY), ("comparison", NEGATED)):
        for place, operator in enumerate(node.ops):
            if other := table.get(type(operator)):
                after = deepcopy(node)
                after.ops[place] = other()
                yield name, node, after


def _condition(node: ast.If | ast.While) -> Iterator[Fault]:
    """Of a guard also that it never holds."""
    if ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if not isinstance(node.test, ast.Compare):
        yield "condition", node.test, ast.UnaryOp(ast.Not(), node.test)
    last = node.body[-1]
    if (
        isinstance(node, ast.If)
        and not node.orelse
        and isinstance(last, ast.Return | ast.Raise | ast.Continue | ast.Break)
    ):
        yield "guard", node.test, ast.Constant(False)


def _branches(node: ast.IfExp) -> Iterator[Fault]:
    yield "branches", node, ast.IfExp(node.test, node.orelse, node.body)


def _boolean(node: ast.BoolOp) -> Iterator[Fault]:
    yield "and/or", node, ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)


def _unary(node: ast.UnaryOp) -> Iterator[Fault]:
    if isinstance(node.op, ast.Not | ast.USub | ast.Invert):
        yield ("not" if isinstance(node.op, ast.Not) else "sign"), node, node.operand


def _arithmetic(node: ast.BinOp) -> Iterator[Fault]:
    sides = (node.left, node.right)
    if any(isinstance(side, TEXTS) or _is_text(side) for side in sides):
        return
    if other := ARITHMETIC.get(type(node.op)):
        yield "arithmetic", node, ast.BinOp(node.left, other(), node.right)


def _augmented(node: ast.AugAssign) -> Iterator[Fault]:
    other = ARITHMETIC.get(type(node.op))
    if other and not isinstance(node.value, TEXTS):
        yield "arithmetic", node, ast.unparse(ast.AugAssign(node.target, other(), node.value))
    yield "assignment", node, "pass"


def _assignment(node: ast.Assign) -> Iterator[Fault]:
    if all(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets):
        yield "assignment", node, "pass"


def _statement(node: ast.Expr) -> Iterator[Fault]:
    value = node.value.value if isinstance(node.value, ast.Await) else node.value
    if isinstance(value, ast.Call) and not _is_said(node) and "super()" not in ast.unparse(value):
        yield "call", node, "pass"


def _call(node: ast.Call) -> Iterator[Fault]:
    if isinstance(node.func, ast.Name) and (other := CHOICES.get(node.func.id)):
        yield "choice", node, ast.Call(ast.Name(other, ast.Load()), node.args, node.keywords)
    first = node.args[:2]
    if len(first) == 2 and all(isinstance(one, ast.Name | ast.Attribute | ast.Subscript) for one in first):
        yield "arguments", node, ast.Call(node.func, [*reversed(first), *node.args[2:]], node.keywords)


def _constant(node: ast.Constant) -> Iterator[Fault]:
    match node.value:
        case bool():
            yield "constant", node, ast.Constant(not node.value)
        case int():
            yield "constant", node, ast.Constant(node.value + 1)
            if node.value > 0:
                yield "constant", node, ast.Constant(node.value - 1)
        case float():
            yield "constant", node, ast.Constant(node.value * 2 if node.value else 1.0)


def _return(node: ast.Return) -> Iterator[Fault]:
    if node.value is not None and not (isinstance(node.value, ast.Constant) and not node.value.value):
        yield "return", node, "return None"


def _raise(node: ast.Raise) -> Iterator[Fault]:
    yield "raise", node, "pass"


def _jump(node: ast.Break | ast.Continue) -> Iterator[Fault]:
    yield "jump", node, "continue" if isinstance(node, ast.Break) else "break"


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)


def _compiles(source: bytes) -> bool:
    try:
        compile(source, "mutant", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}…"


OPERATORS: dict[type[ast.AST], Callable[[Any], Iterator[Fault]]] = {
    ast.Compare: _comparison,
    ast.If: _condition,
    ast.While: _condition,
    ast.IfExp: _branches,
    ast.BoolOp: _boolean,
    ast.UnaryOp: _unary,
    ast.BinOp: _arithmetic,
    ast.AugAssign: _augmented,
    ast.Assign: _assignment,
    ast.Expr: _statement,
    ast.Call: _call,
    ast.Constant: _constant,
    ast.Return: _return,
    ast.Raise: _raise,
    ast.Break: _jump,
    ast.Continue: _jump,
}
