"""From what is known of a trainer's end to the state and the reason of the attempt."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from gpujobs.model import Reason, State, StopReason
from gpujobs.protocol.training import Failed


@dataclass(frozen=True, slots=True)
class Ending:
    """`status` is waitpid's; `stop_reason` and `stop_message` are those of stop.json, if it was asked to end."""

    status: int
    has_results: bool
    error: Failed | None = None
    stop_reason: StopReason | None = None
    stop_message: str = ""
    time_limit_seconds: float | None = None
    oom_killed: bool = False
    gone: str | None = None
    """The attempt's directory, where it was removed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    state: State
    reason: Reason
    message: str
    stopped_for: StopReason | None = None


def classify(ending: Ending) -> Verdict:
    code = os.waitstatus_to_exitcode(ending.status)
    if code == 0 and ending.has_results:
        return Verdict(State.COMPLETED, Reason.NONE, "")
    if ending.gone is not None:
        return _failed(Reason.FILES_REMOVED, f"{ending.gone} was removed while it ran")
    if ending.stop_reason is not None:
        return _stopped(ending)
    if ending.error is not None:
        return _failed(_reason(ending.error), ending.error.message)
    if code == -signal.SIGKILL and ending.oom_killed:
        return _failed(Reason.HOST_OUT_OF_MEMORY, "killed by the kernel, which ran out of memory")
    if code < 0:
        return _failed(Reason.SIGNAL, f"killed by {signal_name(-code)} (signal {-code})")
    if code == 0:
        return _failed(
            Reason.TRAINING_ERROR, "the trainer exited with code 0 before its results were written"
        )
    return _failed(Reason.NON_ZERO_EXIT, f"the trainer exited with code {code}")


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"real-time signal {number}"


def _stopped(ending: Ending) -> Verdict:
    if ending.stop_reason is StopReason.TIME_LIMIT:
        return _failed(Reason.TIME_LIMIT, f"reached its time limit of {ending.time_limit_seconds:g} seconds")
    if ending.stop_reason is not None and ending.stop_reason.requeues:
        return Verdict(State.CANCELLED, Reason.NONE, ending.stop_message, ending.stop_reason)
    return _failed(Reason.CANCELLED_BY_USER, ending.stop_message or "cancelled")


def _failed(reason: Reason, message: str) -> Verdict:
    return Verdict(reason.final_state or State.FAILED, reason, message)


TRAINER_REASONS = frozenset(
    {
        Reason.TRAINING_ERROR,
        Reason.DATA_ERROR,
        Reason.NAN_LOSS,
        Reason.DEVICE_MISMATCH,
        Reason.HOST_OUT_OF_MEMORY,
        Reason.DEVICE_OUT_OF_MEMORY,
    }
)


def _reason(error: Failed) -> Reason:
    """The trainer runs what a user wrote: only reasons that a trainer may give are believed."""
    try:
        reason = Reason(error.reason)
    except ValueError:
        return Reason.TRAINING_ERROR
    return reason if reason in TRAINER_REASONS else Reason.TRAINING_ERROR
