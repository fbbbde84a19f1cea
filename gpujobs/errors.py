"""The errors of gpujobs. Each carries a message for a person; `cli/` turns them into exit codes.

GpujobsError                     1
├── JobFileError                 2   an invalid job file: one or many Problems
├── UsageError                   2   an id, option or value that makes no sense
│   ├── NotFoundError            2   an id, a name or a path of what does not exist
│   └── ConfigError              2   an invalid gpujobs.toml: one or many Problems
├── DaemonUnreachableError       3   no daemon answers on the socket
├── MachineError                 4   the machine lacks something
│   ├── DriverError              4   NVML is there and fails
│   ├── StoreError               4   the store cannot be opened or written
│   └── LaunchError              4   a trainer could not be started
│       ├── LauncherError        4   since the launcher, or the node, failed: no job is to blame
│       └── UnfitError           4   since the node has no such user: others of theirs would fare no better
├── NotPermittedError            5
└── ProtocolError                1   an answer that makes no sense
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


def in_words(error: OSError) -> str:
    """Without the number that Python puts first, and the file before what is wrong with it."""
    place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    return f"{place}{error.strerror}" if error.strerror else str(error) or type(error).__name__


class GpujobsError(Exception):
    """Base of all errors that a person is meant to read."""

    code = "error"
    exit_code = 1

    @property
    def message(self) -> str:
        return str(self)

    def to_wire(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a job file, or in gpujobs.toml. `line` counts from 1, None where there is no line."""

    file: str
    line: int | None
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.message}"


class JobFileError(GpujobsError):
    code = "invalid_job_file"
    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def to_wire(self) -> dict[str, Any]:
        return {**super().to_wire(), "problems": [asdict(problem) for problem in self.problems]}


class UsageError(GpujobsError):
    code = "usage"
    exit_code = 2


class NotFoundError(UsageError):
    """On the wire a usage error too, which says by `exists` that it is this one."""

    def to_wire(self) -> dict[str, Any]:
        return {**super().to_wire(), "exists": False}


class ConfigError(UsageError):
    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class DaemonUnreachableError(GpujobsError):
    code = "daemon_unreachable"
    exit_code = 3


class MachineError(GpujobsError):
    code = "machine"
    exit_code = 4


class DriverError(MachineError):
    code = "driver"


class StoreError(MachineError):
    code = "store"


class LaunchError(MachineError):
    code = "launch"


class LauncherError(LaunchError):
    code = "launcher"


class UnfitError(LaunchError):
    code = "unfit"


class NotThereError(UnfitError):
    """What a job uses in place is not on a node."""


class NotPermittedError(GpujobsError):
    code = "not_permitted"
    exit_code = 5


class ProtocolError(GpujobsError):
    code = "protocol"
    exit_code = 3


class Interrupted(KeyboardInterrupt):
    """Ctrl-C while jobs were handed over; `jobs` are those that were queued, None where that is not known."""

    def __init__(self, jobs: list[dict[str, Any]] | None) -> None:
        super().__init__()
        self.jobs = jobs


_BY_CODE: dict[str, type[GpujobsError]] = {
    kind.code: kind
    for kind in (
        GpujobsError,
        UsageError,
        DaemonUnreachableError,
        MachineError,
        DriverError,
        StoreError,
        LaunchError,
        LauncherError,
        UnfitError,
        NotPermittedError,
        ProtocolError,
    )
}


def from_wire(body: dict[str, Any]) -> GpujobsError:
    """The error that `to_wire` described; an unknown code gives the base class."""
    if body.get("code") == JobFileError.code:
        return JobFileError([Problem(**problem) for problem in body.get("problems", [])])
    if body.get("exists") is False:
        return NotFoundError(str(body.get("message", "")))
    return _BY_CODE.get(str(body.get("code")), GpujobsError)(str(body.get("message", "")))
