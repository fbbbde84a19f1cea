"""What the launcher is asked, and what it answers (docs/protocol.md, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from gpujobs.errors import from_wire
from gpujobs.protocol.codec import M, Message, Number, Tagged, Vocabulary, loads, parse
from gpujobs.protocol.spec import CheckSpec, DataFile, Identity


@dataclass(frozen=True, slots=True)
class Op(Tagged):
    answer: ClassVar[type[Message]]


@dataclass(frozen=True, slots=True)
class Forked(Message):
    """The supervisor of an attempt. `is_resident`: it has waited with the trainer of another."""

    pid: Number
    is_resident: bool = False


@dataclass(frozen=True, slots=True)
class StartAttempt(Op):
    """`notify`: the agent's socket for datagrams; None where nobody is to be told."""

    tag: ClassVar[str] = "start"
    answer: ClassVar[type[Message]] = Forked
    attempt_dir: str
    notify: str | None


@dataclass(frozen=True, slots=True)
class Inspected(Message):
    """What a check says, as docs/check.md has it. A child with the user's rights has written it: nothing of it is
    believed, and people are shown it."""

    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class InspectJob(Op):
    tag: ClassVar[str] = "inspect"
    answer: ClassVar[type[Message]] = Inspected
    spec: CheckSpec


@dataclass(frozen=True, slots=True)
class Compared(Message):
    """What is wrong with files, in words, and marks of those that are as they should be. A child with the user's rights
    has written it."""

    problems: tuple[str, ...]
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CompareFiles(Op):
    """Whether files that are used in place are here. `known`: marks of those that were so before."""

    tag: ClassVar[str] = "compare"
    answer: ClassVar[type[Message]] = Compared
    identity: Identity
    files: tuple[DataFile, ...]
    known: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Versions(Message):
    """Of the packages in a launcher, by name."""

    pid: Number
    packages: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PingLauncher(Op):
    tag: ClassVar[str] = "ping"
    answer: ClassVar[type[Message]] = Versions


@dataclass(frozen=True, slots=True)
class Refused(Message):
    """An error as `GpujobsError.to_wire` has it."""

    error: Mapping[str, Any]


OPS: Vocabulary[Op] = Vocabulary("op", StartAttempt, InspectJob, PingLauncher, CompareFiles)


def answer_of(kind: type[M], line: bytes) -> M:
    """Raises ShapeError, or the error that the answer is."""
    value = loads(line)
    if "error" in value:
        raise from_wire(dict(parse(Refused, value, "answer").error))
    return parse(kind, value, "answer")
