"""What a case is: something that fails while jobs are under way. The proof after it is the same for all."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .box import Box, Failure, until


@dataclass(frozen=True)
class Case:
    """`is_fresh`: needs a box of its own, since it leaves more behind than a fault. `points`: those that it must have
    reached, or else it has shown nothing."""

    group: str
    name: str
    run: Callable[[Box], None]
    is_fresh: bool = False
    is_small: bool = True
    points: tuple[str, ...] = ()
    is_slow: bool = False

    @property
    def title(self) -> str:
        return f"{self.group}: {self.name}"


def long_job(box: Box, *options: str, seconds: float = 1.5, **more: Any) -> int:
    """A job that runs when this returns, and for about so long."""
    job = box.must_submit("long", int(seconds * 80), *options, **more)
    box.until_state(job, "RUNNING")
    return job


def trainer_of(box: Box, job: int) -> int:
    """The pid of the newest trainer of a job, as it has noted it; with Keras, as its supervisor has."""

    def found() -> int:
        if not box.is_small:
            attempt = box.jobs()[job]["attempt"]
            record = box.state / f"spool/jobs/{job}/attempt-{attempt}/record.json"
            return int(json.loads(record.read_text())["trainer"]["pid"]) if record.exists() else 0
        path = box.evidence / "starts"
        lines = path.read_text().splitlines() if path.exists() else []
        pids = [int(line.split()[3]) for line in lines if line.split()[0] == str(job)]
        return pids[-1] if pids else 0

    return int(until(found, 30, f"job {job} has a trainer"))


def cancelled(box: Box, job: int) -> None:
    """Asks for it. Where that was not acknowledged, either end is right."""
    done = box.cli("cancel", job)
    ends = ("CANCELLED", "COMPLETED")
    box.acknowledged[job]["expect"] = ends
    if done.returncode == 0 and box.state_of(job) == "":
        box.keep_up()


@contextlib.contextmanager
def starting(box: Box, seconds: float = 3) -> Iterator[int]:
    """A job that is STARTING for so long: its supervisor is stopped."""
    box.arm(f"supervisor.claim=stop:{seconds}*1")
    job = box.must_submit()
    box.until_state(job, "STARTING")
    until(lambda: box.reached("supervisor.claim"), 20, "a supervisor claims")
    yield job
    box.disarm()


@contextlib.contextmanager
def completing(box: Box, **more: Any) -> Iterator[int]:
    """A job whose results cannot be collected for as long as the block lasts."""
    box.arm("collect.begin=error:EIO")
    job = box.must_submit(**more)
    box.until_state(job, "COMPLETING")
    until(lambda: box.reached("collect.begin"), 20, "a collection is tried")
    yield job
    box.disarm()


def finish(case: Case, box: Box) -> None:
    """After a fault is over: whatever was under way ends, and a new job completes."""
    from .checker import check

    box.disarm()
    box.keep_up()
    box.ready()
    box.must_submit("after", 3)
    box.settle()
    check(box)
    for point in case.points:
        if not box.reached(point):
            raise NotReachedError(point)


class NotReachedError(Exception):
    """The case says nothing: its point was not come to."""


def pause(seconds: float) -> None:
    """For as long as a fault lasts."""
    time.sleep(seconds)


__all__ = ["Box", "Case", "Failure", "NotReachedError"]
