"""A trainer that has completed a job and waits for another: what its supervisor is asked (docs/protocol.md, section 3),
and which jobs it may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gpujobs.jobfile.signature import signature
from gpujobs.protocol.codec import Message, Vocabulary
from gpujobs.protocol.launcher import Forked, Op
from gpujobs.protocol.spec import AttemptSpec


@dataclass(frozen=True, slots=True)
class TakeOver(Op):
    """As `StartAttempt`."""

    tag: ClassVar[str] = "take"
    answer: ClassVar[type[Message]] = Forked
    attempt_dir: str
    notify: str | None


@dataclass(frozen=True, slots=True)
class Leave(Op):
    """It is not needed. Its end is the answer."""

    tag: ClassVar[str] = "leave"
    answer: ClassVar[type[Message]] = Message


ASKED: Vocabulary[Op] = Vocabulary("op", TakeOver, Leave)


def fits(earlier: AttemptSpec, later: AttemptSpec) -> bool:
    """Whether what has trained `earlier` may train `later`: one person's, on one device, and of one traced model."""
    return earlier.may_stay and _place(earlier) == _place(later) and _model(earlier) == _model(later)


def _place(spec: AttemptSpec) -> tuple[object, ...]:
    return (
        spec.state_id,
        spec.user,
        spec.identity,
        spec.backend,
        spec.device,
        spec.require_gpu,
        spec.cpu_threads,
    )


def _model(spec: AttemptSpec) -> str | None:
    """None for a job that trains nothing."""
    return signature(spec.jobfile) if "training" in spec.jobfile else None
