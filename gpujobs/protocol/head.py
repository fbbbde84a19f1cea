"""The lines between the daemon and the cluster's head: requests and answers, and what happens, unasked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpujobs.errors import GpujobsError, from_wire
from gpujobs.protocol import codec, events
from gpujobs.protocol.codec import Count, Message
from gpujobs.protocol.events import AttemptEvent, DoorReported, HeadFailed, NodeReported
from gpujobs.protocol.instructions import instruction_of, written
from gpujobs.protocol.telling import Instruction


@dataclass(frozen=True, slots=True)
class Request:
    """`id` is the daemon's, and comes back with the answer."""

    id: int
    node: str
    instruction: Instruction[Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """`result` is JSON, to be read as the answer of what was asked."""

    id: int
    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    id: int
    error: GpujobsError


Line = Answer | Refusal | NodeReported | DoorReported | HeadFailed | AttemptEvent


@dataclass(frozen=True, slots=True)
class _Request(Message):
    id: Count
    node: str
    call: str
    args: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Answer(Message):
    id: Count
    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Refusal(Message):
    id: Count
    error: Mapping[str, Any]


def write_request(request: Request) -> dict[str, Any]:
    return {"id": request.id, "node": request.node, **written(request.instruction)}


def request_of(value: Mapping[str, Any]) -> Request:
    """Raises ShapeError."""
    given = codec.parse(_Request, value, "request")
    return Request(given.id, given.node, instruction_of({"call": given.call, "args": given.args}))


def write_line(line: Line) -> dict[str, Any]:
    match line:
        case Answer():
            return {"id": line.id, "result": line.result}
        case Refusal():
            return {"id": line.id, "error": line.error.to_wire()}
        case NodeReported() | DoorReported() | HeadFailed():
            return {"event": line.tag, **codec.write(line)}
        case AttemptEvent():
            return events.write_attempt_event(line)


_ANSWER = {"id", "result"}


def line_of(value: Mapping[str, Any]) -> Line:
    """Raises ShapeError."""
    rest = {key: item for key, item in value.items() if key != "event"}
    match value.get("event"):
        case "attempt":
            return events.attempt_event_of(rest)
        case NodeReported.tag:
            return codec.parse(NodeReported, rest)
        case DoorReported.tag:
            return codec.parse(DoorReported, rest)
        case HeadFailed.tag:
            return codec.parse(HeadFailed, rest)
    if value.keys() == _ANSWER and type(value["id"]) is int and isinstance(value["result"], Mapping):
        return Answer(
            value["id"], value["result"]
        )  # of which there are many, and which are read when they are used
    if "error" in value:
        refused = codec.parse(_Refusal, value, "answer")
        return Refusal(refused.id, from_wire(dict(refused.error)))
    answer = codec.parse(_Answer, value, "answer")
    return Answer(answer.id, answer.result)
