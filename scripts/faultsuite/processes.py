"""Each kind of process killed, and stopped for 30 s, while a job is in each of its states."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial

from .box import Box, kill, until
from .case import Case, cancelled, completing, long_job, pause, starting, trainer_of

STOPPED_SECONDS = 30.0


def daemon(box: Box, job: int) -> list[int]:
    assert box.daemon is not None
    return [box.daemon.pid]


def head(box: Box, job: int) -> list[int]:
    return box.find("cluster.head")


def launcher(box: Box, job: int) -> list[int]:
    return box.find(".launcher --socket")


def supervisor(box: Box, job: int) -> list[int]:
    trainers = [trainer_of(box, job)] if box.state_of(job) == "RUNNING" else []
    return [pid for pid in box.find(f"supervisor: job {job}.") if pid not in trainers]


def trainer(box: Box, job: int) -> list[int]:
    return [trainer_of(box, job)]


def everything(box: Box, job: int) -> list[int]:
    return list(box.processes())


@contextlib.contextmanager
def pending(box: Box) -> Iterator[int]:
    job = box.must_submit("plain", 5, "--hold")
    yield job
    box.ready()
    until(lambda: box.cli("release", job).returncode == 0, 30, "a held job is released")


@contextlib.contextmanager
def running(box: Box) -> Iterator[int]:
    yield long_job(box)


@contextlib.contextmanager
def cancelling(box: Box) -> Iterator[int]:
    job = long_job(box)
    asking = threading.Thread(target=lambda: cancelled(box, job))
    asking.start()
    yield job
    asking.join()


STATES: dict[str, Callable[[Box], contextlib.AbstractContextManager[int]]] = {
    "PENDING": pending,
    "STARTING": starting,
    "RUNNING": running,
    "COMPLETING": completing,
    "being cancelled": cancelling,
}
VICTIMS: tuple[tuple[Callable[[Box, int], list[int]], tuple[str, ...]], ...] = (
    (daemon, tuple(STATES)),
    (head, tuple(STATES)),
    (launcher, tuple(STATES)),
    (everything, tuple(STATES)),
    (supervisor, ("STARTING", "RUNNING", "being cancelled")),
    (trainer, ("RUNNING", "being cancelled")),
)


def cases() -> Iterator[Case]:
    for victim, states in VICTIMS:
        for state in states:
            for words, number in (("killed", signal.SIGKILL), ("stopped for 30 s", signal.SIGSTOP)):
                name = f"{victim.__name__} {words}, job {state}"
                run = partial(strike, victim=victim, state=state, number=number)
                yield Case(words, name, run, is_slow=number == signal.SIGSTOP)


def strike(box: Box, *, victim: Callable[[Box, int], list[int]], state: str, number: signal.Signals) -> None:
    with STATES[state](box) as job:
        victims = victim(box, job)
        kill(victims, number)
        if number == signal.SIGSTOP:
            pause(STOPPED_SECONDS)
            kill(victims, signal.SIGCONT)
        box.keep_up()
        if state == "COMPLETING":
            box.ready()
