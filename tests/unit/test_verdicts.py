"""What is made of a trainer's end, when a supervisor does what is due, and what it and a trainer say to each other."""

from __future__ import annotations

import os
import re
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpujobs.model import Reason, State, StopReason
from gpujobs.protocol import codec
from gpujobs.protocol.codec import ShapeError
from gpujobs.protocol.training import Deadline, Failed, FinishSoon, Next, StopNow, orders_of, written
from gpujobs.supervise.timers import Timers
from gpujobs.supervise.verdict import Ending, classify


def status(code: int = 0, killed_by: int = 0) -> int:
    """waitpid's, of a process that has ended so."""
    pid = os.fork()
    if pid == 0:
        if killed_by:
            signal.signal(killed_by, signal.SIG_DFL) if killed_by != signal.SIGKILL else None
            os.kill(os.getpid(), killed_by)
        os._exit(code)
    return os.waitpid(pid, 0)[1]


DONE = Ending(status(), has_results=True)
KILLED = replace(DONE, status=status(killed_by=signal.SIGKILL))


@pytest.mark.parametrize(
    ("ending", "state", "reason", "message"),
    [
        (DONE, "COMPLETED", "", ""),
        (replace(DONE, stop_reason=StopReason.CANCEL), "COMPLETED", "", ""),
        (replace(DONE, gone="/spool/1"), "COMPLETED", "", ""),
        (replace(DONE, has_results=False), "FAILED", "TrainingError",
         "the trainer exited with code 0 before its results were written"),
        (replace(DONE, status=status(3)), "FAILED", "NonZeroExit", "the trainer exited with code 3"),
        (replace(KILLED, has_results=False), "FAILED", "Signal", "killed by SIGKILL (signal 9)"),
        (replace(DONE, status=status(killed_by=signal.SIGRTMIN + 1)), "FAILED", "Signal",
         f"killed by real-time signal {signal.SIGRTMIN + 1} (signal {signal.SIGRTMIN + 1})"),
        (replace(KILLED, oom_killed=True), "OUT_OF_MEMORY", "HostOutOfMemory",
         "killed by the kernel, which ran out of memory"),
        (replace(DONE, status=status(killed_by=signal.SIGTERM), oom_killed=True), "FAILED", "Signal",
         "killed by SIGTERM (signal 15)"),
        (replace(DONE, status=status(killed_by=signal.SIGHUP)), "FAILED", "Signal", "killed by SIGHUP (signal 1)"),
        (replace(KILLED, gone="/spool/1", stop_reason=StopReason.SHUTDOWN), "FAILED", "FilesRemoved",
         "/spool/1 was removed while it ran"),
        (replace(KILLED, stop_reason=StopReason.CANCEL, oom_killed=True), "CANCELLED", "CancelledByUser", "cancelled"),
        (replace(KILLED, stop_reason=StopReason.CANCEL, stop_message="by a"), "CANCELLED", "CancelledByUser", "by a"),
        (replace(KILLED, stop_reason=StopReason.TIME_LIMIT, time_limit_seconds=90.0), "TIMEOUT", "TimeLimit",
         "reached its time limit of 90 seconds"),
        (replace(KILLED, error=Failed("NaNLoss", "loss became nan")), "FAILED", "NaNLoss", "loss became nan"),
        (replace(KILLED, error=Failed("DeviceOutOfMemory", "x")), "OUT_OF_MEMORY", "DeviceOutOfMemory", "x"),
        (replace(KILLED, error=Failed("HostOutOfMemory", "x")), "OUT_OF_MEMORY", "HostOutOfMemory", "x"),
        (replace(KILLED, error=Failed("DeviceMismatch", "x")), "FAILED", "DeviceMismatch", "x"),
        (replace(KILLED, error=Failed("DataError", "x")), "FAILED", "DataError", "x"),
        (replace(KILLED, error=Failed("NodeLost", "x")), "FAILED", "TrainingError", "x"),
        (replace(KILLED, error=Failed("CancelledByUser", "x")), "FAILED", "TrainingError", "x"),
        (replace(KILLED, error=Failed("no reason", "x")), "FAILED", "TrainingError", "x"),
    ],
)  # fmt: skip
def test_how_a_trainer_has_ended(ending: Ending, state: str, reason: str, message: str) -> None:
    """Of several causes the first that explains the others; a trainer may give no reason that is not its own."""
    verdict = classify(ending)
    assert (verdict.state, verdict.reason, verdict.message) == (State(state), Reason(reason), message)
    assert verdict.stopped_for is None


def test_reasons_that_a_trainer_gives_are_believed() -> None:
    """Whatever its sources name: another one would be told as a TrainingError."""
    sources = (Path(__file__).parents[2] / "gpujobs/trainer").rglob("*.py")
    given = {name for path in sources for name in re.findall(r"\bReason\.([A-Z_]+)", path.read_text())}
    assert len(given) > 5
    for name in given:
        reason = Reason[name]
        assert classify(replace(KILLED, error=Failed(reason, "x"))).reason is reason


@pytest.mark.parametrize(
    "reason", [reason for reason in StopReason if reason not in ("cancel", "time_limit")]
)
def test_what_was_stopped_for_others_goes_back_to_the_queue(reason: StopReason) -> None:
    verdict = classify(replace(KILLED, stop_reason=reason, stop_message="why", error=Failed("NaNLoss", "x")))
    assert (verdict.stopped_for, verdict.message, verdict.reason) == (reason, "why", Reason.NONE)


def test_timers_do_each_thing_once_when_it_is_due_and_not_before() -> None:
    timers, done = Timers(), list[str]()
    assert timers.seconds_left() is None
    timers.after(0.0, "now", lambda: done.append("now"))
    timers.after(60.0, "later", lambda: done.append("later"))
    timers.after(0.0, "later", lambda: done.append("in its place"))
    assert timers.seconds_left() == 0.0
    timers.do_what_is_due()
    timers.do_what_is_due()
    assert done == ["now"]
    left = timers.seconds_left()
    assert left is not None and 50 < left <= 60
    timers.drop("later")
    assert timers.seconds_left() is None


def test_what_is_throttled_is_done_at_once_and_then_after_a_pause() -> None:
    timers, done = Timers(), list[float]()
    for _ in range(3):
        timers.throttled("x", 0.05, lambda: done.append(time.monotonic()))
        timers.do_what_is_due()
    assert len(done) == 1
    while len(done) < 2:
        time.sleep(timers.seconds_left() or 0)
        timers.do_what_is_due()
    assert done[1] - done[0] >= 0.05
    timers.throttled("x", 60, lambda: done.append(0))
    timers.clear()
    timers.do_what_is_due()
    assert len(done) == 2 and timers.seconds_left() is None


ORDERS: list[Any] = [Deadline(12.5), Deadline(None), FinishSoon(), StopNow(StopReason.CANCEL), Next()]


def test_orders_arrive_as_they_were_given_several_at_once() -> None:
    assert orders_of(b"".join(map(written, ORDERS))) == ORDERS
    assert orders_of(b"") == []
    with pytest.raises(ShapeError):
        orders_of(b'{"order": "dance"}\n')


def test_the_status_of_an_end_has_a_code_or_a_signal() -> None:
    from gpujobs.supervise.attempt_records import exit_status

    ends = [
        codec.write(exit_status(one)) for one in (status(), status(3), status(killed_by=signal.SIGTERM), None)
    ]
    assert [(end["code"], end["signal"]) for end in ends] == [(0, None), (3, None), (None, 15), (None, None)]
