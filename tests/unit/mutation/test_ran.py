"""Which tests are run for a fault: those that run its statement, quick ones first."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from mutation.numbering import MODULE_LEVEL, RAN, line_of, numbered
from mutation.operators import mutants
from mutation.ran import KEPT, QUICK, Known, RecordedTest, in_order

MODULE = """
'What it is for.'

from __future__ import annotations

LIMIT = 3


def tried(number: int) -> str:
    'In words.'
    try:
        if number > LIMIT:
            return "much"
        assert number, "none"
        return "some"
    except AssertionError:
        return "nothing"
    finally:
        match number:
            case 0:
                kept.append([
                    number,
                ])
            case _:
                pass


class Counter:
    step = 1

    def add(self) -> int:
        return self.step + 1


kept: list[list[int]] = []
"""
NAME = "gpujobs/counted.py"


def lines_with(*texts: str) -> set[int]:
    lines = enumerate(MODULE.splitlines(), 1)
    found = {number for number, line in lines if any(text in line for text in texts)}
    assert len(found) == len(texts)
    return found


def ran(root: Path, program: str) -> set[int]:
    """The lines of MODULE that a program runs in a process that is forked off and killed."""
    text, lines = numbered(MODULE.encode(), first=2)
    (root / "counted.py").write_text(text)
    (root / "bytes").write_bytes(bytes(2 + len(lines)))
    (root / "_ran.py").write_text(RAN.format(path=str(root / "bytes")))
    forking = f"import os, counted\nif not os.fork():\n    {program}\n    os.kill(os.getpid(), 9)\nos.wait()"
    subprocess.run([sys.executable, "-c", forking], cwd=root, check=True)
    first, second, *noted = (root / "bytes").read_bytes()
    assert not first and not second
    return {line for line, has_run in zip(lines, noted, strict=True) if has_run}


@pytest.mark.parametrize(
    ("program", "others"),
    [
        ("counted.tried(4)", ('"much"', "pass")),
        ("counted.tried(3)", ("assert", '"some"', "pass")),
        ("counted.tried(0)", ("assert", '"nothing"', "kept.append")),
    ],
)
def test_what_a_killed_process_ran_is_known(tmp_path: Path, program: str, others: tuple[str, ...]) -> None:
    assert ran(tmp_path, program) == lines_with("try:", "if number", "match", *others)


def test_methods_too(tmp_path: Path) -> None:
    assert ran(tmp_path, "counted.Counter().add()") == lines_with("return self.step")


@pytest.mark.parametrize(
    ("text", "statement"),
    [
        ("number > LIMIT", "if number > LIMIT"),
        ("number,\n", "kept.append"),
        ("self.step + 1", "return self.step"),
        ("LIMIT = 3", None),
        ("step = 1", None),
    ],
)
def test_a_place_is_of_the_innermost_statement(text: str, statement: str | None) -> None:
    before = MODULE[: MODULE.index(text)]
    line, column = before.count("\n") + 1, len(before.rpartition("\n")[2])
    expected = {MODULE_LEVEL} if statement is None else lines_with(statement)
    assert {line_of(MODULE.encode(), line, column)} == expected


def known(root: Path, text: str = MODULE) -> Known:
    """Two tests of one file, of which one adds and one tries, as recorded when the module was MODULE."""
    for name, content in ((NAME, text), ("tests/test_a.py", "...")):
        (root / name).parent.mkdir()
        (root / name).write_text(content)
    module, file = (hashlib.sha256(one.encode()).hexdigest()[:12] for one in (MODULE, "..."))
    tests = [
        {"name": name, "seconds": 1, "passed": True, "lines": {NAME: [*lines_with(line)]}}
        for name, line in (("tests/test_a.py::adds", "self.step"), ("tests/test_a.py::tries", "if number"))
    ]
    (root / KEPT).mkdir(parents=True)
    record = {"file": "tests/test_a.py", "modules": {NAME: module}, "tests": tests}
    (root / KEPT / f"tests+test_a.{file}.json").write_text(json.dumps(record))
    return Known(root)


def coming(known: Known, change: str) -> list[str]:
    (one,) = (one for one in mutants(NAME, (known.root / NAME).read_bytes()) if one.shown == change)
    return [test.name.partition("::")[2] for test in known.coming_to(one)]


def test_a_fault_is_for_the_tests_that_run_its_statement(tmp_path: Path) -> None:
    assert coming(known(tmp_path), "number > LIMIT -> (number >= LIMIT)") == ["tries"]


def test_a_fault_in_what_an_import_runs_is_for_all_tests_of_the_module(tmp_path: Path) -> None:
    assert coming(known(tmp_path), "3 -> (4)") == ["adds", "tries"]


def test_where_the_module_has_changed_all_its_tests_may_notice(tmp_path: Path) -> None:
    changed = known(tmp_path, MODULE.replace("LIMIT = 3", "\n\nLIMIT = 3"))
    assert coming(changed, "number > LIMIT -> (number >= LIMIT)") == ["adds", "tries"]


def test_of_a_test_file_that_has_changed_nothing_is_known(tmp_path: Path) -> None:
    found = known(tmp_path)
    (tmp_path / "tests/test_a.py").write_text("pass")
    assert found.lacking(["tests/test_a.py"]) == ["tests/test_a.py"]
    assert found.tests == []


def test_files_are_recorded_one_by_one_quick_ones_and_those_that_name_the_module_first(
    tmp_path: Path,
) -> None:
    recorded: list[str] = []
    found = Known(tmp_path, recorded.append)
    for name, text in (
        ("unit/policy/test_a", ""),
        ("unit/policy/test_b", "import limits"),
        ("acceptance/test_gpus", ""),
    ):
        (tmp_path / "tests" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"tests/{name}.py").write_text(text)
    while found.learn("gpujobs/policy/limits.py"):
        pass
    assert recorded == ["tests/unit/policy/test_b.py", "tests/unit/policy/test_a.py"]
    assert found.learn("gpujobs/nvml/reading.py") and recorded[2:] == ["tests/acceptance/test_gpus.py"]


def test_the_quickest_run_first_and_then_file_by_file() -> None:
    quick = [RecordedTest(f"q{number}.py::t", 0.1 * number, True, {}) for number in range(QUICK)]
    slow = [
        RecordedTest(name, seconds, True, {})
        for name, seconds in (("b.py::1", 9), ("a.py::1", 5), ("a.py::2", 30))
    ]
    assert in_order([*slow[:1], *reversed(quick), *slow[1:]]) == [*quick, *slow]
