"""What happens: told by supervisors to the agent, by the agent and the head to the daemon.

Supervisors of an earlier version may tell it too: their exit records are read as `records` has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from gpujobs.model import NodeStatus
from gpujobs.protocol import records
from gpujobs.protocol.codec import Count, Instant, Number, Tagged, Vocabulary, loads
from gpujobs.protocol.records import ExitRecord, Progress


@dataclass(frozen=True, slots=True)
class AttemptEvent(Tagged):
    """Of the attempt with this random id."""

    job: Number
    attempt: Number
    nonce: str


@dataclass(frozen=True, slots=True)
class Started(AttemptEvent):
    """The trainer has said its first word."""

    tag: ClassVar[str] = "started"
    pid: Number
    at: Instant


@dataclass(frozen=True, slots=True)
class Progressed(AttemptEvent):
    tag: ClassVar[str] = "progress"
    progress: Progress


@dataclass(frozen=True, slots=True)
class Logged(AttemptEvent):
    """The log has grown."""

    tag: ClassVar[str] = "log"
    size: Count


@dataclass(frozen=True, slots=True)
class Warned(AttemptEvent):
    tag: ClassVar[str] = "warning"
    message: str


@dataclass(frozen=True, slots=True)
class Exited(AttemptEvent):
    """`stays`: its trainer waits for another job."""

    tag: ClassVar[str] = "exited"
    exit: ExitRecord
    stays: bool


@dataclass(frozen=True, slots=True)
class Unclear(AttemptEvent):
    """Something has become of it that cannot be told now: the daemon is to ask."""

    tag: ClassVar[str] = "ask"


ATTEMPT_EVENTS: Vocabulary[AttemptEvent] = Vocabulary(
    "what", Started, Progressed, Logged, Warned, Exited, Unclear
)


@dataclass(frozen=True, slots=True)
class NodeReported(Tagged):
    """Whether a node can be used."""

    tag: ClassVar[str] = "node"
    name: str
    status: NodeStatus
    message: str


@dataclass(frozen=True, slots=True)
class DoorReported(Tagged):
    """Why other boxes cannot join at present; empty when they can again."""

    tag: ClassVar[str] = "door"
    message: str


@dataclass(frozen=True, slots=True)
class HeadFailed(Tagged):
    """Why the head cannot start."""

    tag: ClassVar[str] = "failed"
    message: str


def attempt_event_of(value: bytes | Mapping[str, Any]) -> AttemptEvent:
    """Raises ShapeError."""
    given = {key: item for key, item in _mapping(value).items() if key != "event"}
    ended = given.get("exit")
    if isinstance(ended, Mapping):
        given = {"stays": False, **given, "exit": records.exit_fields(ended)}
    return ATTEMPT_EVENTS.parse({"nonce": "", **given})


def write_attempt_event(event: AttemptEvent) -> dict[str, Any]:
    return {"event": "attempt", **ATTEMPT_EVENTS.write(event)}


def _mapping(value: bytes | Mapping[str, Any]) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else loads(value)
