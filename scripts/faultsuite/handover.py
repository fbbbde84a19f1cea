"""Random kills around the moments at which a trainer goes from one job to the next: at a named step, or of a process
just then. A stream of jobs of one kind keeps the hand-overs coming."""

from __future__ import annotations

import random
import time
from collections import Counter

from .box import PATIENCE, Box, Failure, kill
from .case import Case, finish

STEPS = (
    "trainer.ended",
    "resident.stays",
    "supervisor.exit",
    "resident.wait",
    "attempts.exited.commit",
    "store.commit",
    "attempts.launch",
    "attempts.make",
    "resident.ask",
    "resident.claim",
    "supervisor.claim",
    "resident.claimed",
    "resident.answered",
    "resident.told",
    "trainer.next",
    "supervisor.record",
    "attempts.started.commit",
    "resident.end",
    "launcher.fork",
)
"""In the order in which they are come to; each is of the process that reaches it first."""

ROLES = ("gpujobs serve", "cluster.head", ".launcher --socket", "supervisor:", "trainer:")
NEAR = ("resident.stays", "resident.wait", "resident.claimed", "resident.told")
"""A process is killed when one of these has been reached, and a moment after it."""

EPOCHS = (2, 3, 5)
AT_ONCE = 6
REACH_SECONDS = 2.0
CHECK_EVERY = 50


def run(kills: int, seed: int, minutes: float | None) -> int:
    """The exit code. It ends after so many minutes, however many kills are left."""
    end = time.monotonic() + 60 * (minutes or 1e6)
    draws = random.Random(seed)
    box = Box(slots=2)
    killed: Counter[str] = Counter()
    try:
        box.start()
        while killed.total() < kills and time.monotonic() < end:
            _keep_busy(box, draws)
            killed.update(_at_a_step(box, draws) if draws.random() < 0.6 else _of_a_process(box, draws))
            if killed.total() and killed.total() % CHECK_EVERY == 0:
                _prove(box)
        _prove(box)
        _say(box, killed)
    except Failure as failure:
        print(f"{failure}")
        return 1
    finally:
        box.close()
    return 0


def _say(box: Box, killed: Counter[str]) -> None:
    """Raises Failure where no trainer was handed over: then nothing was shown."""
    if not (handed := _handed_over(box)):
        raise Failure("wrong", f"no trainer has taken another job over; {killed.total()} kills")
    print(
        f"{killed.total()} kills: " + ", ".join(f"{count} {what}" for what, count in sorted(killed.items()))
    )
    print(f"{len(box.acknowledged)} jobs acknowledged, each COMPLETED once with its twin's results")
    print(f"lost 0, doubled 0, wrong 0; {handed} attempts were trained in the process of another")


def _handed_over(box: Box) -> int:
    """The processes that have begun more than one attempt."""
    path = box.evidence / "starts"
    pids = Counter(line.split()[3] for line in path.read_text().splitlines()) if path.exists() else Counter()
    return sum(count - 1 for count in pids.values())


def _prove(box: Box) -> None:
    box.settle(PATIENCE + 3 * AT_ONCE)
    finish(Case("", "", lambda _: None), box)


def _keep_busy(box: Box, draws: random.Random) -> None:
    """Some jobs wait for each slot: submitted together, by one command."""
    box.disarm()
    box.ready()
    if len(box.unfinished()) > AT_ONCE:
        return
    box.submit_together([draws.choice(EPOCHS) for _ in range(AT_ONCE)], "--retries", "10")


def _at_a_step(box: Box, draws: random.Random) -> Counter[str]:
    point = draws.choice(STEPS)
    number = draws.choice((1, 1, 1, 2, 3))
    box.arm(f"{point}=kill@{number}")
    is_reached = _until_reached(box, point, number)
    box.keep_up()
    return Counter({f"at {point}": int(is_reached)}) if is_reached else Counter()


def _of_a_process(box: Box, draws: random.Random) -> Counter[str]:
    point, role = draws.choice(NEAR), draws.choice(ROLES)
    box.arm(f"{point}=error:EIO@1000000")  # counted, and nothing else
    if not _until_reached(box, point, 1):
        return Counter()
    time.sleep(draws.choice((0.0, 0.005, 0.02, 0.05)))
    sent = kill(draws.sample(pids, 1) if (pids := box.find(role)) else [])
    box.keep_up()
    return Counter({f"{role.strip('.: ')} near {point}": 1}) if sent else Counter()


def _until_reached(box: Box, point: str, number: int) -> bool:
    deadline = time.monotonic() + REACH_SECONDS
    while box.reached(point) < number and time.monotonic() < deadline:
        box.keep_up()
        time.sleep(0.002)
    return box.reached(point) >= number
