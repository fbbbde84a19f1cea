"""What the daemon tells the agent of a node, each with the class of its answer (docs/protocol.md, section 2)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Generic, TypeVar, cast

from annotated_types import Ge

from gpujobs.model import Node, StopReason
from gpujobs.protocol.codec import Count, Message, Number, Tagged, Vocabulary, parse
from gpujobs.protocol.launcher import Compared, Forked, Inspected, Versions
from gpujobs.protocol.records import AttemptKey, ExitRecord, Progress, SupervisorRecord, Wishes
from gpujobs.protocol.spec import AttemptSpec, CheckSpec, DataFile, Identity

A = TypeVar("A", bound=Message)

Seconds = Annotated[float, Ge(0)]


# Answers


@dataclass(frozen=True, slots=True)
class Nothing(Message):
    """Answering is all."""


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


@dataclass(frozen=True, slots=True)
class Alive(Message):
    """`at`: seconds since the boot `boot_id` of the node."""

    boot_id: str
    at: Seconds


@dataclass(frozen=True, slots=True)
class Blob(Message):
    """A data file that a user has uploaded."""

    uid: Count
    sha256: str
    bytes: Count


@dataclass(frozen=True, slots=True)
class Lacking(Message):
    blobs: tuple[Blob, ...]


@dataclass(frozen=True, slots=True)
class Room(Message):
    """Of the disk with the state directory."""

    free_bytes: Count
    total_bytes: Count


@dataclass(frozen=True, slots=True)
class KeptJob(Message):
    """A directory of a job on a box that has joined. `since`: when it last changed, in seconds since 1970."""

    job: Number
    bytes: Count
    since: float
    is_live: bool
    uid: Count


@dataclass(frozen=True, slots=True)
class KeptData(Message):
    blob: Blob
    read_at: float
    """When it came, or an attempt that reads it was last started; in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Kept(Message):
    jobs: tuple[KeptJob, ...]
    data: tuple[KeptData, ...]


@dataclass(frozen=True, slots=True)
class Dropped(Message):
    blobs: tuple[Blob, ...]


@dataclass(frozen=True, slots=True)
class TreeFile(Message):
    """A file of a checkpoint, of a model, or of what an attempt has left."""

    name: str
    sha256: str
    bytes: Count


@dataclass(frozen=True, slots=True)
class Surveyed(Message):
    """What an attempt has left. `refused`: what of it cannot be taken, in words."""

    files: tuple[TreeFile, ...]
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Brought(Message):
    """What came to another box for an attempt besides its data, and lies there under its hash: the model that it
    applies, and the checkpoint that takes the place of the one there; None leaves that as it is."""

    model: tuple[TreeFile, ...]
    checkpoint: tuple[TreeFile, ...] | None


@dataclass(frozen=True, slots=True)
class Arrived(Message):
    """How much of a file is on the node now."""

    bytes: Count


# Instructions


@dataclass(frozen=True, slots=True)
class Instruction(Tagged, Generic[A]):
    """A is the class of its answer, which `answer` names again for when the program runs."""

    answer: ClassVar[type[Message]]

    def read(self, answer: Mapping[str, Any]) -> A:
        """Raises ShapeError."""
        return cast(A, parse(self.answer, answer, f"answer to {self.tag}"))

    def own(self, answer: Message) -> A:
        """Of an agent in the same process."""
        assert isinstance(answer, self.answer)
        return cast(A, answer)


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
class Renew(Instruction[Alive]):
    """Attempts there may go on until then, in seconds since the boot `boot_id` of the node; None grants nothing yet."""

    tag: ClassVar[str] = "renew"
    answer: ClassVar[type[Message]] = Alive
    boot_id: str
    until: Seconds | None


@dataclass(frozen=True, slots=True)
class Prepare(Instruction[Lacking]):
    """Whether a user's jobs can run there, and which of these it has not yet. `keep_bytes`: of that user's data, what
    attempts there do not read makes way beyond so much."""

    tag: ClassVar[str] = "prepare"
    answer: ClassVar[type[Message]] = Lacking
    user: str
    uid: Count
    blobs: tuple[Blob, ...]
    keep_bytes: Count


@dataclass(frozen=True, slots=True)
class Deliver(Instruction[Nothing]):
    """Brings a file of the daemon's box to the node: of the head, which makes pieces of it. `name` is that of a file of
    `owner`'s, or of the daemon's, below `directory`."""

    tag: ClassVar[str] = "deliver"
    answer: ClassVar[type[Message]] = Nothing
    blob: Blob
    directory: str
    name: str
    owner: Count


@dataclass(frozen=True, slots=True)
class Compare(Instruction[Compared]):
    """Whether data that is used in place is there, at the same paths with the same hashes, as far as the job's user may
    read it."""

    tag: ClassVar[str] = "compare"
    answer: ClassVar[type[Message]] = Compared
    user: str
    identity: Identity
    files: tuple[DataFile, ...]


@dataclass(frozen=True, slots=True)
class MeasureDisk(Instruction[Room]):
    tag: ClassVar[str] = "measure_disk"
    answer: ClassVar[type[Message]] = Room


@dataclass(frozen=True, slots=True)
class ListKept(Instruction[Kept]):
    """What a box that has joined keeps."""

    tag: ClassVar[str] = "list_kept"
    answer: ClassVar[type[Message]] = Kept


@dataclass(frozen=True, slots=True)
class DropData(Instruction[Dropped]):
    """Removes of these what no attempt there reads."""

    tag: ClassVar[str] = "drop_data"
    answer: ClassVar[type[Message]] = Dropped
    blobs: tuple[Blob, ...]


class Leavings(StrEnum):
    CHECKPOINT = "checkpoint"
    RESULTS = "results"
    """And the log."""
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Survey(Instruction[Surveyed]):
    """What an attempt has left there: its checkpoint, what it has written of results, its log."""

    tag: ClassVar[str] = "survey"
    answer: ClassVar[type[Message]] = Surveyed
    attempt: AttemptKey
    limit_bytes: Count
    wanted: Leavings


@dataclass(frozen=True, slots=True)
class BringHome(Instruction[Surveyed]):
    """What an attempt has left, into `destination`, by its hash: of the head, which takes it in pieces. What is there
    already does not come again."""

    tag: ClassVar[str] = "bring_home"
    answer: ClassVar[type[Message]] = Surveyed
    survey: Survey
    destination: str


@dataclass(frozen=True, slots=True)
class Take(Message):
    """A piece of a file that was surveyed, which the agent answers to the head with its bytes."""

    attempt: AttemptKey
    name: str
    offset: Count
    limit: Count


@dataclass(frozen=True, slots=True)
class PassOn(Message):
    """A piece of data that another box needs too, which the agent answers with its bytes."""

    blob: Blob
    offset: Count
    limit: Count


@dataclass(frozen=True, slots=True)
class Put(Instruction[Arrived]):
    """A piece comes beside it, from the head to the agent; without an offset it only asks how much is there."""

    tag: ClassVar[str] = "put"
    answer: ClassVar[type[Message]] = Arrived
    blob: Blob
    offset: Count | None


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
