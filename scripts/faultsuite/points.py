"""Each fail point of the program, found in its source, with each fault there, at each moment that leads to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from .box import ROOT, TOLD, Box, Failure, kill, until
from .case import Case, cancelled, long_job, pause

Arm = Callable[[], None]

FAULTS = {
    "killed": "kill*1",
    "stopped": "stop:30*1",
    "error once": "error:EIO*1",
    "error until cleared": "error:ENOSPC",
}
STORE_FAULTS = {**FAULTS, "error once": "locked*1", "error until cleared": "full"}

DURABLE = ("spec.json", "record.json", "exit.json", "stop.json", "claim", ".attempt")
ELSEWHERE = ("restore.", "trainer.batch", "deliver.", "homecoming.")
"""Points of commands that no daemon runs beside, one that is there to slow a training down, and those on the way
between several boxes (tests/integration/test_pieces_between_boxes.py)."""

COMMITS = range(1, 13)
"""So many commits does a job have on its way; the process is killed at each."""


def fresh(box: Box, arm: Arm) -> None:
    arm()
    box.submit()


def cancel(box: Box, arm: Arm) -> None:
    job = long_job(box, seconds=6)
    arm()
    cancelled(box, job)


def told(box: Box, arm: Arm) -> None:
    arm()
    box.submit(TOLD)


def crash(box: Box, arm: Arm) -> None:
    arm()
    box.submit("crash", 8)


def restart(box: Box, arm: Arm) -> None:
    """The daemon finds an attempt again."""
    long_job(box)
    box.kill_daemon()
    arm()
    box.start(wait=False)


def headless(box: Box, arm: Arm) -> None:
    long_job(box)
    arm()
    kill(box.find("cluster.head"))


def launcherless(box: Box, arm: Arm) -> None:
    long_job(box)
    arm()
    kill(box.find(".launcher --socket"))


def unreachable(box: Box, arm: Arm) -> None:
    long_job(box)
    arm()
    box.socket.unlink(missing_ok=True)
    pause(1.0)


def backup(box: Box, arm: Arm) -> None:
    long_job(box)
    arm()
    box.cli("backup", box.root / f"backup-{box.numbers}")


def handed(box: Box, arm: Arm) -> None:
    """More jobs of one kind than there are slots: trainers take one after the other."""
    arm()
    box.submit_together([5] * (box.slots + 4))


SCENARIOS: tuple[tuple[str, tuple[Callable[[Box, Arm], None], ...]], ...] = (
    (r"attempts\.(launch|make|started)", (fresh, crash)),
    (r"attempts\.(finish|exited)", (fresh, cancel, crash, restart)),
    (r"attempts\.requeue", (crash,)),
    (r"collect\.", (fresh, crash, restart)),
    (r"durable\.stop", (cancel,)),
    (r"durable\.", (fresh, crash)),
    (r"node\.admit", (restart, headless)),
    (r"spawn\.head", (restart, headless)),
    (r"spawn\.launcher", (restart, launcherless)),
    (r"spawn\.|launcher\.|supervisor\.(claim|record)", (fresh, crash)),
    (r"supervisor\.exit", (fresh, cancel, crash)),
    (r"store\.commit", (fresh, cancel, crash, restart)),
    (r"resident\.|trainer\.", (handed,)),
    (r"door\.", (restart, unreachable)),
    (r"backup\.", (backup,)),
    (r"news\.", (told,)),
    (r"", (fresh,)),
)

ENDS_ANYHOW = re.compile(
    r"(spawn\.trainer|trainer\.forked|trainer\.next|supervisor\.claim|launcher\.fork)/error"
)
"""Errors in a supervisor, or in a trainer that has just been forked, of which the job itself may be told: it may fail,
with the reason."""

ABSENT_OF_SMALL = re.compile(r"checkpoint\.")
"""Points in the trainer itself: see real.py."""


def found(tree: Path = ROOT) -> list[str]:
    """The names of all points, sorted."""
    names: set[str] = set()
    for path in (tree / "gpujobs").rglob("*.py"):
        names |= set(re.findall(r"\breach\(\"([\w.-]+)\"\)", path.read_text()))
    return sorted(names | {f"durable.{name}" for name in DURABLE})


def cases() -> Iterator[Case]:
    for point in found():
        if ABSENT_OF_SMALL.match(point) or point.startswith(ELSEWHERE):
            continue
        faults = STORE_FAULTS if point.endswith(".commit") else FAULTS
        scenarios = next(scenarios for pattern, scenarios in SCENARIOS if re.match(pattern, point))
        for scenario in scenarios:
            for words, fault in faults.items():
                name = f"{point}, {words}, {scenario.__name__}"
                run = partial(at_point, point=point, fault=fault, scenario=scenario)
                group = f"{point.partition('.')[0]} points"
                yield Case(group, name, run, points=(point,), is_slow="stop:" in fault)
    if "store.commit" in found():
        for number in COMMITS:
            run = partial(at_point, point="store.commit", fault=f"kill@{number}", scenario=fresh)
            yield Case("store points", f"store.commit, killed at the commit number {number}", run)


def at_point(box: Box, *, point: str, fault: str, scenario: Callable[[Box, Arm], None]) -> None:
    jobs = set(box.acknowledged)
    scenario(box, lambda: box.arm(f"{point}={fault}"))
    if ENDS_ANYHOW.match(f"{point}/{fault}"):
        for job in set(box.acknowledged) - jobs:
            box.acknowledged[job]["expect"] = (*box.acknowledged[job]["expect"], "FAILED")
    try:
        until(lambda: (box.keep_up(), box.reached(point))[1], 20)
    except Failure:
        return  # said by who looks at the points that were reached
    if "*" not in fault and "@" not in fault:
        pause(1.5)
        box.disarm()
    if fault.startswith("stop"):
        until(
            lambda: (box.keep_up(), not box.unfinished())[1], 75, f"{box.unfinished()}, after a stop of 30 s"
        )
