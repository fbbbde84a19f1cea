"""What the daemon tells the agent of a node, each with the class of its answer (docs/protocol.md, section 2)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from gpujobs.model import Node, StopReason
from gpujobs.protocol.boxes import (
    Alive,
    BringHome,
    Brought,
    Compare,
    Deliver,
    DropData,
    Expel,
    ListKept,
    MeasureDisk,
    Prepare,
    Rekey,
    Renew,
    Survey,
)
from gpujobs.protocol.codec import Count, Message, Number, Vocabulary
from gpujobs.protocol.launcher import Forked, Inspected, Versions
from gpujobs.protocol.records import AttemptKey, ExitRecord, Progress, SupervisorRecord, Wishes
from gpujobs.protocol.spec import AttemptSpec, CheckSpec
from gpujobs.protocol.telling import Instruction, Nothing, Seconds

# Answers


@dataclass(frozen=True, slots=True)
class Probed(Message):
    """The devices of a node as they are now."""

    node: Node


@dataclass(frozen=True, slots=True)
class Found(Message):
    """Whether there was a supervisor to tell. Where there was none, ask what became of the attempt."""

    found: bool


class AttemptStatus(StrEnum):
    RUNNING = "running"
    ENDED = "ended"
    LOST = "lost"
    NEVER_STARTED = "never_started"
    """It has been revoked: it can never start any more."""
    UNKNOWN = "unknown"
    """It could not be looked at, or not be revoked: ask again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Message):
    """What became of an attempt. `exit` is there where it has ended or is lost."""

    attempt: AttemptKey
    status: AttemptStatus
    record: SupervisorRecord | None
    progress: Progress | None
    exit: ExitRecord | None
    damaged: tuple[str, ...]
    """What was found damaged, in words."""
    error: str
    """Why it is UNKNOWN."""


@dataclass(frozen=True, slots=True)
class Reports(Message):
    reports: tuple[Report, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray(Message):
    """An attempt that lives and that no job knows, for people: what is None is damaged."""

    job: str
    attempt: str
    user: str | None
    device: str | None
    supervisor: int | None
    trainer: int | None
    started_at: str | None


@dataclass(frozen=True, slots=True)
class Orphans(Message):
    strays: tuple[Stray, ...]


@dataclass(frozen=True, slots=True)
class Piece(Message):
    """Of a file: what begins at the offset that was asked for. `size` is that of the whole."""

    text: str
    """In base64."""
    size: Count

    @classmethod
    def of(cls, content: bytes, size: int) -> Piece:
        return cls(base64.b64encode(content).decode(), size)

    @property
    def content(self) -> bytes:
        return base64.b64decode(self.text)


@dataclass(frozen=True, slots=True)
class ResultFile(Message):
    name: str
    bytes: Count


@dataclass(frozen=True, slots=True)
class ResultFiles(Message):
    files: tuple[ResultFile, ...]


@dataclass(frozen=True, slots=True)
class CollectedFile(Message):
    name: str
    bytes: Count
    sha256: str


@dataclass(frozen=True, slots=True)
class Collected(Message):
    files: tuple[CollectedFile, ...]


# Instructions


@dataclass(frozen=True, slots=True)
class Probe(Instruction[Probed]):
    tag: ClassVar[str] = "probe"
    answer: ClassVar[type[Message]] = Probed


@dataclass(frozen=True, slots=True)
class Ping(Instruction[Nothing]):
    tag: ClassVar[str] = "ping"
    answer: ClassVar[type[Message]] = Nothing


@dataclass(frozen=True, slots=True)
class Start(Instruction[Forked]):
    """`answer_seconds`: how long the launcher may take. `before`: on another box, an instant of its clock after which
    it must not start any more, however long the word was on its way: the job may be elsewhere by then.
    `resident`: whose trainer waits there and fits; `beside`: others on that device that other starts will take. All
    else that waits there is ended first."""

    tag: ClassVar[str] = "start"
    answer: ClassVar[type[Message]] = Forked
    spec: AttemptSpec
    answer_seconds: Seconds
    before: Alive | None
    resident: AttemptKey | None
    beside: tuple[AttemptKey, ...]
    brought: Brought | None


@dataclass(frozen=True, slots=True)
class Release(Instruction[Nothing]):
    """The trainer that has stayed when this attempt ended is not needed: it ends. Answered when it has."""

    tag: ClassVar[str] = "release"
    answer: ClassVar[type[Message]] = Nothing
    resident: AttemptKey


@dataclass(frozen=True, slots=True)
class Stop(Instruction[Found]):
    tag: ClassVar[str] = "stop"
    answer: ClassVar[type[Message]] = Found
    attempt: AttemptKey
    reason: StopReason
    message: str


@dataclass(frozen=True, slots=True)
class Adjust(Instruction[Found]):
    """To finish, or another time limit."""

    tag: ClassVar[str] = "adjust"
    answer: ClassVar[type[Message]] = Found
    attempt: AttemptKey
    wishes: Wishes


@dataclass(frozen=True, slots=True)
class Reconcile(Instruction[Reports]):
    tag: ClassVar[str] = "reconcile"
    answer: ClassVar[type[Message]] = Reports
    attempts: tuple[AttemptKey, ...]


@dataclass(frozen=True, slots=True)
class FindStrays(Instruction[Orphans]):
    """`known`: the attempts that are somebody's."""

    tag: ClassVar[str] = "strays"
    answer: ClassVar[type[Message]] = Orphans
    known: tuple[AttemptKey, ...]


@dataclass(frozen=True, slots=True)
class ReadLog(Instruction[Piece]):
    tag: ClassVar[str] = "read_log"
    answer: ClassVar[type[Message]] = Piece
    job: Number
    attempt: Number
    offset: Count
    limit: Count


@dataclass(frozen=True, slots=True)
class ListResults(Instruction[ResultFiles]):
    """What a job has left that did not complete, or has written so far."""

    tag: ClassVar[str] = "list_results"
    answer: ClassVar[type[Message]] = ResultFiles
    job: Number
    attempt: Number


@dataclass(frozen=True, slots=True)
class ReadResult(Instruction[Piece]):
    tag: ClassVar[str] = "read_result"
    answer: ClassVar[type[Message]] = Piece
    job: Number
    attempt: Number
    file: str
    offset: Count
    limit: Count


@dataclass(frozen=True, slots=True)
class Collect(Instruction[Collected]):
    """Into `destination`, a new directory of the daemon's."""

    tag: ClassVar[str] = "collect"
    answer: ClassVar[type[Message]] = Collected
    attempt: AttemptKey
    limit_bytes: Count
    destination: str


@dataclass(frozen=True, slots=True)
class Inspect(Instruction[Inspected]):
    tag: ClassVar[str] = "inspect"
    answer: ClassVar[type[Message]] = Inspected
    spec: CheckSpec
    answer_seconds: Seconds


@dataclass(frozen=True, slots=True)
class AskLauncher(Instruction[Versions]):
    tag: ClassVar[str] = "launcher"
    answer: ClassVar[type[Message]] = Versions
    answer_seconds: Seconds


@dataclass(frozen=True, slots=True)
class Forget(Instruction[Nothing]):
    """Removes the job's directory."""

    tag: ClassVar[str] = "forget"
    answer: ClassVar[type[Message]] = Nothing
    job: Number


INSTRUCTIONS: Vocabulary[Instruction[Any]] = Vocabulary(
    "call",
    Probe,
    Ping,
    Start,
    Stop,
    Adjust,
    Reconcile,
    FindStrays,
    ReadLog,
    ListResults,
    ReadResult,
    Collect,
    Inspect,
    AskLauncher,
    Forget,
    Renew,
    Prepare,
    Deliver,
    Survey,
    BringHome,
    Compare,
    MeasureDisk,
    ListKept,
    DropData,
    Expel,
    Rekey,
    Release,
)


def written(instruction: Instruction[Any]) -> Mapping[str, Any]:
    """`{"call", "args"}`."""
    args = INSTRUCTIONS.write(instruction)
    return {"call": args.pop("call"), "args": args}


def instruction_of(value: Mapping[str, Any], *, known_only: bool = False) -> Instruction[Any]:
    """`known_only`: a later version may have written it, so what this one lacks is left out. Raises ShapeError."""
    args = value.get("args")
    whole = {**(args if isinstance(args, Mapping) else {}), "call": value.get("call")}
    return INSTRUCTIONS.parse(whole, known_only=known_only)
