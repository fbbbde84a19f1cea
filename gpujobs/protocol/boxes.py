"""What the daemon tells a box that has joined, beyond what every agent is told: its lease, the data that comes to it,
what it keeps, and what goes home from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from gpujobs.protocol.codec import Count, Message, Number
from gpujobs.protocol.launcher import Compared
from gpujobs.protocol.records import AttemptKey
from gpujobs.protocol.spec import DataFile, Identity
from gpujobs.protocol.telling import Instruction, Nothing, Seconds

# Answers


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


@dataclass(frozen=True, slots=True)
class Expel(Instruction[Nothing]):
    """Of the head alone: the box was shut out, so its agent's word counts no more."""

    tag: ClassVar[str] = "expel"
    answer: ClassVar[type[Message]] = Nothing
    name: str


@dataclass(frozen=True, slots=True)
class Rekeyed(Message):
    """Which boxes have what they need to go on."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rekey(Instruction[Rekeyed]):
    """Of the head alone: makes another authority and another secret, and gives the boxes that are there theirs. They
    count when Ray has been started anew."""

    tag: ClassVar[str] = "rekey"
    answer: ClassVar[type[Message]] = Rekeyed


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
