"""With Ray and TensorFlow: what only they have. All jobs of a box are twins, and the first was left in peace."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from .box import Box, kill, until
from .case import Case, cancelled, pause, trainer_of
from .damage import DAMAGES
from .points import FAULTS, found

EPOCHS = 2500
"""Some seconds, so that a checkpoint is written on the way (one in two seconds)."""

PROCESSES = {
    "daemon": "gpujobs serve",
    "head": "cluster.head",
    "raylet": "raylet/raylet",
    "GCS": "gcs_server",
    "agent": "ray::AgentActor",
    "launcher": ".launcher --socket",
    "supervisor": "supervisor: job",
    "trainer": "trainer: job",
}
GROUP = "with Ray and TensorFlow"


def cases() -> Iterator[Case]:
    for name in PROCESSES:
        for words, number in (("killed", signal.SIGKILL), ("stopped for 30 s", signal.SIGSTOP)):
            yield Case(GROUP, f"{name} {words}", partial(strike, name=name, number=number), is_small=False)
    for point in found():
        if point.startswith("checkpoint."):
            for words, fault in FAULTS.items():
                run = partial(at_point, point=point, fault=fault)
                yield Case(GROUP, f"{point}, {words}", run, is_small=False, points=(point,))
    for damage in DAMAGES:
        yield Case(GROUP, f"checkpoint {damage.__name__}", partial(damaged, damage=damage), is_small=False)
    yield Case(GROUP, "everything killed", everything, is_small=False)


def undisturbed(box: Box) -> None:
    if EPOCHS not in box.twins:
        from .checker import check

        box.until_state(box.must_submit("twin", EPOCHS), "COMPLETED")
        check(box)


def training(box: Box) -> int:
    """A job that trains, and has a checkpoint."""
    undisturbed(box)
    job = box.must_submit("long", EPOCHS, "--retries", "3")
    box.until_state(job, "RUNNING")
    until(lambda: checkpoints(box, job) or box.state_of(job) != "RUNNING", 60)
    return job


def checkpoints(box: Box, job: int) -> list[Path]:
    directory = box.state / "spool" / "jobs" / str(job) / "work" / "checkpoint"
    return sorted(directory.glob("checkpoint*.npz"))


def strike(box: Box, *, name: str, number: signal.Signals) -> None:
    job = training(box)
    if name == "trainer":
        victims = [trainer_of(box, job)]
    else:  # the case before may have killed it
        victims = until(lambda: box.find(PROCESSES[name]), 90, f"there is a process of the {name}")
    kill(victims, number)
    if number == signal.SIGSTOP:
        pause(30.0)
        kill(victims, signal.SIGCONT)


def at_point(box: Box, *, point: str, fault: str) -> None:
    undisturbed(box)
    if point == "checkpoint.inherit":
        continued(box, f"{point}={fault}")
    else:
        box.arm(f"{point}={fault}")
        box.must_submit("long", EPOCHS, "--retries", "3")
    until(lambda: box.reached(point) or not box.unfinished(), 60)
    if "*" not in fault:
        pause(3.0)


def continued(box: Box, faults: str) -> None:
    """A cancelled job is queued again, as a new one that goes on from its checkpoint."""
    job = training(box)
    cancelled(box, job)
    box.settle()
    box.arm(faults)
    before = set(box.jobs())
    box.cli("requeue", job)
    for new in set(box.jobs()) - before:
        box.acknowledged[new] = {**box.acknowledged[job], "expect": ("COMPLETED",)}


def damaged(box: Box, *, damage: Callable[[Path], None]) -> None:
    job = training(box)
    box.cut_power()
    for path in checkpoints(box, job)[:1]:
        damage(path)
    box.start()


def everything(box: Box) -> None:
    training(box)
    box.cut_power()
    box.start()
