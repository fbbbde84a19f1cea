"""Which faults `scripts/mutants` plants, and which it leaves out."""

from __future__ import annotations

import ast
from fnmatch import fnmatch
from pathlib import Path

import pytest
from mutation.operators import mutants
from mutation.parts import PARTS, STAGES, files_of, modules, part_of

ROOT = Path(__file__).parents[3]


def faulty(source: str) -> set[str]:
    """The programs that a text is made into, as Python prints them."""
    given = source.encode()
    return {ast.unparse(ast.parse(one.apply(given))) for one in mutants("m.py", given)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a = b < c", {"a = b <= c", "a = b >= c"}),
        ("a = b is c", {"a = b is not c"}),
        ("a = b and c", {"a = b or c"}),
        ("a = not b", {"a = b"}),
        ("a = -b", {"a = b"}),
        ("a = b + c", {"a = b - c"}),
        ("a = b if c else d", {"a = d if c else b"}),
        ("a = min(b, c)", {"a = max(b, c)", "a = min(c, b)"}),
        ("a = 7", {"a = 8", "a = 6"}),
        ("a = True", {"a = False"}),
        ("a.b = c", {"pass"}),
        ("a += b", {"a -= b", "pass"}),
        ("os.fsync(a)", {"pass"}),
        ("raise A('b' % c)", {"pass"}),
        ("while a:\n    break", {"while not a:\n    break", "while a:\n    continue"}),
        ("def a():\n    return b", {"def a():\n    return None"}),
        (
            "def a():\n    if b:\n        return",
            {"def a():\n    if not b:\n        return", "def a():\n    if False:\n        return"},
        ),
    ],
)
def test_each_kind_of_fault(source: str, expected: set[str]) -> None:
    assert faulty(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""What it is for: 3 < 4."""',
        "__all__ = [1 + 2]",
        "a: tuple[1 + 2]",
        "def a(b: 1 + 2) -> 3 + 4: ...",
        "@a(1)\nclass B: ...",
        "log.warning('%d', a + 1)",
        "print(a + 1)",
        "a = f'{b + 1}'",
        "a = b + 'c'",
        "zip(*a, strict=True).c",
        "WAIT_SECONDS = 3.0",
        "if TYPE_CHECKING:\n    a = 1",
    ],
)
def test_what_only_a_reader_sees_is_left_alone(source: str) -> None:
    assert faulty(source) in (set(), {"pass"}) and "pass" not in faulty(source)


def test_every_part_has_modules_and_every_module_has_tests_the_quick_ones_first() -> None:
    found = list(modules(ROOT, None))
    assert {part_of(module).name for module in found} == {part.name for part in PARTS}
    for module in found:
        files = files_of(ROOT, module)
        assert files, f"no test belongs to {module}"
        assert files == sorted(files, key=lambda file: STAGES.index(file.split("/")[1]))


def test_every_pattern_of_a_part_stands_for_something() -> None:
    tests = [path.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("test_*.py")]
    named = [path.relative_to(ROOT).as_posix() for path in (ROOT / "gpujobs").rglob("*.py")]
    for part in PARTS:
        for patterns, names in ((part.modules, named), (part.tests, tests)):
            assert [glob for glob in patterns if not any(fnmatch(name, glob) for name in names)] == []
