"""Which tests run which lines, and how long they take: recorded once for each file of tests, kept outside of git."""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from mutation.copies import PLACE, Copy
from mutation.numbering import MODULE_LEVEL, RAN, line_of, numbered
from mutation.operators import Mutant
from mutation.parts import files_of, modules

KEPT = PLACE / "ran"
RECORD_SECONDS = 900.0
QUICK = 12
"""So many tests, the quickest, run first whichever file they are of; the others file by file, which sets up less."""


@dataclass(frozen=True, slots=True)
class RecordedTest:
    """`seconds`: with what it shares with others, as for a run of this one alone. `lines`: by module."""

    name: str
    seconds: float
    passed: bool
    lines: dict[str, frozenset[int]]

    @property
    def file(self) -> str:
        return self.name.partition("::")[0]


class Known:
    """What was recorded of the tests as they are now. `record` records a file of tests."""

    def __init__(self, root: Path, record: Callable[[str], object] = lambda file: None) -> None:
        self.root = root
        self._record = record
        self._tried: set[str] = set()
        self._lock = threading.Lock()

    @cached_property
    def tests(self) -> list[RecordedTest]:
        return [test for path in sorted((self.root / KEPT).glob("*.json")) for test in self._read(path)]

    def learn(self, module: str) -> bool:
        """Records the next file of a module's tests of which nothing is known: of the quickest kind first, and of these
        what names the module. False where there is none."""
        with self._lock:
            lacking = [file for file in self.lacking(files_of(self.root, module)) if file not in self._tried]
            if not lacking:
                return False
            name, kind = Path(module).stem, lacking[0].split("/")[1]
            file = next(
                (one for one in lacking if one.split("/")[1] == kind and self._names(one, name)), lacking[0]
            )
            self._tried.add(file)
            self._record(file)
            self.__dict__.pop("tests", None)
            return True

    def _names(self, file: str, module: str) -> bool:
        return re.search(rf"\b{module}\b", (self.root / file).read_text()) is not None

    def lacking(self, files: Sequence[str]) -> list[str]:
        """Those of which nothing is known as they are now."""
        return [file for file in files if not _place(self.root, file).exists()]

    def coming_to(self, mutant: Mutant) -> list[RecordedTest]:
        """The tests that run the statement with the fault; all that run anything of the module, where the statement
        runs when it is imported, or the file was another when tests were recorded."""
        source = (self.root / mutant.module).read_bytes()
        start = source.rfind(b"\n", 0, mutant.start) + 1
        line = line_of(source, mutant.line, mutant.start - start)
        there = [test for test in self.tests if test.lines.get(mutant.module)]
        is_as_it_was = all(self._texts[test.file].get(mutant.module) == _digest(source) for test in there)
        if line == MODULE_LEVEL or not is_as_it_was:
            return there
        return [test for test in there if line in test.lines[mutant.module]]

    @cached_property
    def _texts(self) -> dict[str, dict[str, str]]:
        """By test file: what the modules were when it was recorded."""
        return {}

    def _read(self, path: Path) -> Iterator[RecordedTest]:
        found: dict[str, Any] = json.loads(path.read_text())
        file = found["file"]
        if not (self.root / file).is_file() or path != _place(self.root, file):
            return  # of a file that has changed
        self._texts[file] = found["modules"]
        for test in found["tests"]:
            lines = {module: frozenset(numbers) for module, numbers in test["lines"].items()}
            yield RecordedTest(test["name"], test["seconds"], test["passed"], lines)


def in_order(tests: Sequence[RecordedTest]) -> list[RecordedTest]:
    by_seconds = sorted(tests, key=lambda test: (test.seconds, test.name))
    quick, others = by_seconds[:QUICK], by_seconds[QUICK:]
    files: dict[str, list[RecordedTest]] = defaultdict(list)
    for test in others:
        files[test.file].append(test)
    whole = sorted(files.values(), key=lambda of_file: sum(test.seconds for test in of_file))
    return [*quick, *(test for of_file in whole for test in of_file)]


class Recorder:
    """A copy of the tree in which each statement of the parts' modules notes that it ran."""

    def __init__(self, root: Path, through: Sequence[str] = ()) -> None:
        self._root = root
        self.copy = Copy(root, "numbered", through)
        self._statements: list[tuple[str, int]] = []
        self._modules: dict[str, str] = {}
        for module in modules(root, None):
            source = (root / module).read_bytes()
            text, lines = numbered(source, len(self._statements))
            self._statements += [(module, line) for line in lines]
            (self.copy.directory / module).write_text(text)
            self._modules[module] = _digest(source)
        self._bytes = self.copy.directory / "bytes"
        self._bytes.write_bytes(bytes(len(self._statements)))
        self._bytes.chmod(0o666)  # trainers of other users note too
        (self.copy.site / "_ran.py").write_text(RAN.format(path=str(self._bytes)))

    def record(self, file: str) -> str:
        """Returns what pytest said last."""
        output = self.copy.directory / "recorded.json"
        output.unlink(missing_ok=True)
        self.copy.run(["-p", "mutation.recording", file], RECORD_SECONDS, RECORDED=str(output))
        said = (self.copy.said.read_text(errors="replace").strip().splitlines() or ["nothing"])[-1]
        if not output.exists():
            raise RuntimeError(f"{file} was not recorded; pytest said last: {said}")
        recorded = json.loads(output.read_text())
        tests = [{**test, "lines": self._by_module(test["lines"])} for test in recorded]
        place = _place(self._root, file)
        place.parent.mkdir(parents=True, exist_ok=True)
        for older in place.parent.glob(f"{_stem(file)}.*.json"):
            older.unlink()
        place.write_text(json.dumps({"file": file, "modules": self._modules, "tests": tests}))
        return said

    def _by_module(self, numbers: Sequence[int]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        for number in numbers:
            module, line = self._statements[number]
            found[module].append(line)
        return found


def _place(root: Path, file: str) -> Path:
    return root / KEPT / f"{_stem(file)}.{_digest((root / file).read_bytes())}.json"


def _stem(file: str) -> str:
    return file.removesuffix(".py").replace("/", "+")


def _digest(source: bytes) -> str:
    return sha256(source).hexdigest()[:12]
