"""Reads a trace of submissions: CSV, one job a line; docs/simulate.md describes the columns."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from gpujobs import units
from gpujobs.demand import WHOLE_DEVICE, Demand
from gpujobs.errors import JobFileError, Problem, UsageError
from gpujobs.policy.inputs.text import gib

REQUIRED = ("user", "submit_time", "duration", "memory", "priority")
OPTIONAL = ("time_limit", "preemptible", "group", "node", "gpu_name")
SHOWN_PROBLEMS = 20
LONGEST_SECONDS = 366 * 86400


@dataclass(frozen=True, slots=True)
class Submission:
    """`submit_seconds` count from the trace's beginning, or from 1970 where it has instants."""

    user: str
    submit_seconds: float
    duration_seconds: float
    demand: Demand = WHOLE_DEVICE
    group: str | None = None
    has_instant: bool = field(default=False, compare=False)

    @property
    def memory_bytes(self) -> int | None:
        """Of a GPU that it shares; None: it has a whole one."""
        memory = self.demand.gpu_memory
        return memory if isinstance(memory, int) else None


class Unreadable(ValueError):
    """A field's value; the message says what was expected."""


Check = Callable[[Demand], None]
"""Raises UsageError for what no device could ever have."""


def read_trace(path: Path, largest_bytes: int, check: Check = lambda _: None) -> list[Submission]:
    """The submissions in order of time. `largest_bytes`: the most memory that a job can reserve.

    Raises JobFileError with every bad line.
    """
    problems: list[Problem] = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            found = list(
                _rows(csv.reader(file, strict=True), str(path), _Parser(largest_bytes, check), problems)
            )
    except (OSError, UnicodeDecodeError) as error:
        reason = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise JobFileError([Problem(str(path), None, f"cannot be read ({reason})")]) from error
    if not found and not problems:
        problems.append(Problem(str(path), None, "holds no job; expected a header and a line for each job"))
    if problems:
        hidden = len(problems) - SHOWN_PROBLEMS
        more = [Problem(str(path), None, f"{hidden} more lines are wrong")] if hidden > 0 else []
        raise JobFileError([*problems[:SHOWN_PROBLEMS], *more])
    return sorted(found, key=lambda one: one.submit_seconds)


def times_of(trace: Sequence[Submission]) -> Callable[[str], float]:
    """Reads an instant as the trace counts: raises ValueError. Seconds, and text such as 2d, count from the trace's
    beginning: from its first submission where it has instants, and only then is an instant one."""
    first = trace[0]

    def read(text: str) -> float:
        if "T" in text:
            if not first.has_instant:
                raise ValueError
            return _instant(text)
        try:
            seconds = float(text)
        except ValueError:
            seconds = units.seconds(text)
        return _bounded(seconds, 0.0, LONGEST_SECONDS * 100) + (
            first.submit_seconds if first.has_instant else 0.0
        )

    return read


def _rows(reader: Any, path: str, parser: _Parser, problems: list[Problem]) -> Iterator[Submission]:
    """Good lines as submissions; bad ones go to `problems`."""
    try:
        for cells in reader:
            try:
                found = parser.parse(cells)
            except Unreadable as error:
                problems.append(Problem(path, reader.line_num, str(error)))
                if parser.header is None:
                    return
            else:
                if found is not None:
                    yield found
    except csv.Error as error:
        problems.append(Problem(path, reader.line_num, f"not CSV: {error}"))


class _Parser:
    """Remembers the header, and whether the lines so far had instants."""

    def __init__(self, largest_bytes: int, check: Check) -> None:
        self.header: list[str] | None = None
        self._check = check
        self._largest_bytes = largest_bytes
        self._has_instants: bool | None = None

    def parse(self, cells: list[str]) -> Submission | None:
        """None for the header and for an empty line. Raises Unreadable."""
        if not any(cell.strip() for cell in cells):
            return None
        if self.header is None:
            self.header = _header(cells)
            return None
        found = _submission(self.header, cells, self._largest_bytes)
        is_instant = found.has_instant
        if self._has_instants not in (None, is_instant):
            raise Unreadable("submit_time counts otherwise than in the lines before: seconds or instants")
        self._has_instants = is_instant
        try:
            self._check(found.demand)
        except UsageError as error:
            raise Unreadable(error.message) from None
        return found


def _header(cells: list[str]) -> list[str]:
    names = [cell.strip().removeprefix("\ufeff") for cell in cells]
    missing = [name for name in REQUIRED if name not in names]
    unknown = [name for name in names if name not in (*REQUIRED, *OPTIONAL)]
    twice = sorted({name for name in names if names.count(name) > 1})
    expected = f"expected a header with {','.join(REQUIRED)} and, where wanted, {','.join(OPTIONAL)}"
    for what, which in (("lacks", missing), ("has the unknown", unknown), ("repeats", twice)):
        if which:
            raise Unreadable(f"the header {what} {', '.join(map(repr, which))}; {expected}")
    return names


def _submission(header: list[str], cells: list[str], largest_bytes: int) -> Submission:
    if len(cells) != len(header):
        raise Unreadable(f"has {len(cells)} fields; expected {len(header)}, as the header has")
    row = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
    memory = _read(row, "memory", _memory, "a size such as 3GiB, or nothing for a whole GPU")
    if memory is not None and memory > largest_bytes:
        raise Unreadable(f"memory is {gib(memory)}; a GPU here has {gib(largest_bytes)} to share")
    return Submission(
        user=_read(row, "user", _name, "a name of 1 to 100 printable characters"),
        submit_seconds=_read(
            row, "submit_time", _instant, "seconds, or an instant such as 2026-01-31T14:00Z"
        ),
        duration_seconds=_read(row, "duration", _seconds, "seconds above 0, or text such as 90m"),
        demand=Demand(
            gpu_memory=memory,
            priority=_read(row, "priority", _integer, "an integer"),
            time_limit_seconds=_read(row, "time_limit", _limit, "seconds above 0, or text such as 90m"),
            preemptible=_read(row, "preemptible", _truth, "true or false"),
            node=_nodes(row.get("node", "")),
            gpu_name=row.get("gpu_name") or None,
        ),
        group=row.get("group") or None,
        has_instant="T" in row["submit_time"],
    )


def _read(row: Mapping[str, str], name: str, parse: Callable[[str], Any], expected: str) -> Any:
    text = row.get(name, "")
    try:
        return parse(text)
    except ValueError:
        raise Unreadable(f"{name} is {text!r}; expected {expected}") from None


def _name(text: str) -> str:
    if not text or len(text) > 100 or not text.isprintable():
        raise ValueError
    return text


def _nodes(text: str) -> str | tuple[str, ...] | None:
    """One, or several with `|` between them."""
    names = [name for name in map(str.strip, text.split("|")) if name]
    return None if not names else names[0] if len(names) == 1 else tuple(names)


def _instant(text: str) -> float:
    if "T" not in text:
        return _bounded(float(text), 0.0, 1e11)
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError
    return at.timestamp()


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = units.seconds(text)
    return _bounded(seconds, 1e-3, LONGEST_SECONDS)


def _limit(text: str) -> float | None:
    return _seconds(text) if text else None


def _memory(text: str) -> int | None:
    if not text:
        return None
    return int(_bounded(units.size_bytes(text), 1, 1 << 60))


def _integer(text: str) -> int:
    return int(_bounded(int(text or "0"), -1_000_000, 1_000_000))


def _truth(text: str) -> bool:
    if text.lower() not in ("", "false", "true"):
        raise ValueError
    return text.lower() == "true"


def _bounded(value: float, least: float, most: float) -> float:
    if not least <= value <= most:  # which a NaN is not either
        raise ValueError
    return value
