"""Named points at which a fault can be made to happen, for tests of what the program survives.

`reach("attempts.exited.commit")` does nothing, for the price of one look into an empty dictionary, unless
the process was started with points in the environment variable GPUJOBS_FAILPOINTS:

    attempts.exited.commit=error:ENOSPC*1,collect.rename=kill,supervisor.record=stop:30

`kill` sends SIGKILL to the process that reaches the point; `stop:SECONDS` stops it for so long; `pause:SECONDS` has it
wait there for so long; `error:NAME` raises an OSError of that name; `locked` raises the sqlite3.OperationalError of a
store that another program has locked, and `full` that of a full disk. `*N` lets it happen the first N times only, `@N`
the N-th time only.

Each process counts for itself, unless GPUJOBS_FAILPOINTS_DIR names a directory: then all that share it count
together, one byte of the file with the point's name for each time that the point was reached.

The variable is read once, when this module is imported; where it is `@FILE`, that file has the points, and is
looked at each time that a point is reached, so that they can be changed while the process runs. A daemon that
serves a site disarms itself and what it starts (`disarm`), so that nothing of it can be switched on there;
trainers get an environment without it.
Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "GPUJOBS_FAILPOINTS"
COUNTS = "GPUJOBS_FAILPOINTS_DIR"

_SYNTAX = re.compile(
    r"(?P<name>[\w.-]+)=(?P<action>kill|locked|full|(stop|pause):[\d.]+|error:E\w+)((?P<how>[*@])(?P<count>\d+))?"
)


@dataclass(slots=True)
class _Point:
    name: str
    act: Callable[[str], None]
    first: int = 1
    last: float = float("inf")
    reached: int = 0

    def reach(self) -> None:
        self.reached = _count_together(self.name) or self.reached + 1
        if self.first <= self.reached <= self.last:
            self.act(self.name)


class _InFile(dict[str, _Point]):
    """The points that a file has now. One that is gone or makes no sense has none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = ""

    def __contains__(self, name: object) -> bool:
        try:
            text = self._path.read_text()
        except OSError:
            text = ""
        if text != self._text:
            self._text = text
            self.clear()
            with contextlib.suppress(ValueError):
                self.update(_parse_all(text))
        return super().__contains__(name)


_points: dict[str, _Point] = {}
_directory = os.environ.get(COUNTS)


def reach(name: str) -> None:
    """The place `name` has been reached. Does nothing unless a fault was asked for."""
    if name in _points:
        _points[name].reach()


def arm(text: str) -> None:
    """Sets the points that `text` names, and no others. Raises ValueError that says what is wrong with it."""
    global _points
    _points = _InFile(Path(text[1:])) if text.startswith("@") else _parse_all(text)


def armed() -> list[str]:
    """The names of the points that are set in this process."""
    return sorted(_points)


def disarm(environment: MutableMapping[str, str] = os.environ) -> None:
    """Here, and in what is started from here."""
    arm("")
    for name in (VARIABLE, COUNTS):
        environment.pop(name, None)


def inherited(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a process with an environment of its own is given, so that the points are set in it too."""
    return {name: environment[name] for name in (VARIABLE, COUNTS) if name in environment}


def _count_together(name: str) -> int:
    if not _directory:
        return 0
    with Path(_directory, name).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(b".")
        file.flush()
        return file.tell()


def _parse_all(text: str) -> dict[str, _Point]:
    points = [_parse(part.strip()) for part in text.split(",") if part.strip()]
    return {point.name: point for point in points}


def _parse(text: str) -> _Point:
    found = _SYNTAX.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{VARIABLE}: {text!r}; expected NAME=kill, stop:SECONDS, pause:SECONDS, error:ENAME, locked or full,"
            " and *N or @N after it"
        )
    point = _Point(found["name"], _action(found["action"]))
    if found["count"]:
        point.last = int(found["count"])
        point.first = int(found["count"]) if found["how"] == "@" else 1
    return point


def _action(text: str) -> Callable[[str], None]:
    kind, _, argument = text.partition(":")
    if kind == "kill":
        return lambda _: os.kill(os.getpid(), signal.SIGKILL)
    if kind == "stop":
        return lambda _: _stop(float(argument))
    if kind == "pause":
        return lambda _: time.sleep(float(argument))
    if kind in ("locked", "full"):
        message = "database is locked" if kind == "locked" else "database or disk is full"
        return lambda name: _fail_as_sqlite(f"{message} (fail point {name})")
    number = getattr(errno, argument, None)
    if number is None:
        raise ValueError(f"{VARIABLE}: {argument} is no errno; expected EIO, ENOSPC or EROFS, say")
    return lambda name: _fail(name, number)


def _fail(name: str, number: int) -> None:
    raise OSError(number, os.strerror(number), f"fail point {name}")


def _fail_as_sqlite(message: str) -> None:
    raise sqlite3.OperationalError(message)


def _stop(seconds: float) -> None:
    """What continues us belongs to init, so that nobody here waits for it by accident."""
    wake = f"(sleep {seconds}; kill -CONT {os.getpid()}) >/dev/null 2>&1 &"
    subprocess.run(["/bin/sh", "-c", wake], check=True, stdin=subprocess.DEVNULL)
    os.kill(os.getpid(), signal.SIGSTOP)


arm(os.environ.get(VARIABLE, ""))
