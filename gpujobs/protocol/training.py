"""What a trainer tells its supervisor, and is told by it: lines of JSON on a socket pair.

A trainer reads what users wrote, and a crafted file may have taken it over. What it says goes into the store and to
other people's terminals: its shape is checked, its size limited, and what makes no sense is passed over.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, ClassVar

from gpujobs.protocol.codec import ShapeError, Tagged, Vocabulary, loads, write
from gpujobs.protocol.records import Progress

MAX_LINE_BYTES = 65536
MAX_METRICS = 200
MAX_NAME_LENGTH = 200
MAX_TEXT_LENGTH = 2000
MAX_WARNINGS = 20
"""Of one attempt: each becomes a row of the store."""


# From the trainer


@dataclass(frozen=True, slots=True)
class Began(Tagged):
    tag: ClassVar[str] = "started"


@dataclass(frozen=True, slots=True)
class Finishing(Tagged):
    """It ends before its last epoch."""

    tag: ClassVar[str] = "finishing"


@dataclass(frozen=True, slots=True)
class Trained(Tagged):
    """So far."""

    tag: ClassVar[str] = "progress"
    progress: Progress


@dataclass(frozen=True, slots=True)
class Failed(Tagged):
    tag: ClassVar[str] = "failed"
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Noticed(Tagged):
    """For the job's history."""

    tag: ClassVar[str] = "warning"
    message: str


@dataclass(frozen=True, slots=True)
class Ended(Tagged):
    """All is written, and it waits for the spec of another job in place of exiting."""

    tag: ClassVar[str] = "ended"


Said = Began | Finishing | Trained | Failed | Noticed | Ended


def line_of(message: Said) -> bytes:
    """The one writer."""
    return json.dumps({"event": message.tag, **write(message)}).encode() + b"\n"


def said(line: bytes) -> Said | None:
    """The one parser; None for what makes no sense."""
    try:
        value = loads(line)
    except ShapeError:
        return None
    match value.get("event"):
        case Began.tag:
            return Began()
        case Finishing.tag:
            return Finishing()
        case Ended.tag:
            return Ended()
        case Trained.tag:
            return _trained(value.get("progress"))
        case Failed.tag:
            return Failed(_text(value.get("reason", "")), _text(value.get("message", "")))
        case Noticed.tag:
            message = value.get("message")
            return Noticed(_text(message)) if isinstance(message, str) else None
    return None


def _trained(progress: Any) -> Trained | None:
    if not isinstance(progress, dict):
        return None
    named = [(name, value) for name, value in progress.items() if name.isprintable()]
    return Trained({name[:MAX_NAME_LENGTH]: _number(value) for name, value in named[:MAX_METRICS]})


def _number(value: Any) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) and abs(value) < 1 << 62 else None


def _text(value: Any) -> str:
    """Without what no UTF-8 can hold, such as a lone surrogate."""
    return str(value)[:MAX_TEXT_LENGTH].encode(errors="replace").decode()


# To the trainer


@dataclass(frozen=True, slots=True)
class Deadline(Tagged):
    """Of the monotonic clock, which all processes share; None takes it away."""

    tag: ClassVar[str] = "deadline"
    at: float | None


@dataclass(frozen=True, slots=True)
class FinishSoon(Tagged):
    """With the epoch under way."""

    tag: ClassVar[str] = "finish"


@dataclass(frozen=True, slots=True)
class StopNow(Tagged):
    """Goes before the signal, and says why."""

    tag: ClassVar[str] = "stop"
    reason: str


@dataclass(frozen=True, slots=True)
class Next(Tagged):
    """Another job: a descriptor of its spec comes with the line."""

    tag: ClassVar[str] = "next"


Order = Deadline | FinishSoon | StopNow | Next

ORDERS: Vocabulary[Any] = Vocabulary("order", Deadline, FinishSoon, StopNow, Next)


def orders_of(lines: bytes) -> list[Order]:
    """Raises ShapeError: its supervisor is of the trainer's own version."""
    return [ORDERS.parse(line) for line in lines.splitlines()]


def written(order: Order) -> bytes:
    return bytes(ORDERS.encode(order)) + b"\n"
