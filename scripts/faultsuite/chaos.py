"""Random kills over a stream of short jobs; every result is compared with that of an undisturbed twin."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

from .box import PATIENCE, Box, Failure, kill
from .case import Case, finish

ROLES = (
    "gpujobs serve",
    "cluster.head",
    ".launcher --socket",
    "raylet/raylet",
    "gcs_server",
    "ray::AgentActor",
    "job",
)
EPOCHS = (40, 60, 80, 120)

RETRIES = "10"
"""As many as a site allows without a setting of its own."""


def run(minutes: float, jobs: int, seed: int, *, is_small: bool) -> int:
    """The exit code. The same seed draws the same kills; when they fall is the machine's affair."""
    box = Box(is_small=is_small, slots=2)
    try:
        box.start()
        if not is_small:
            _twins(box)
        killed = _storm(box, minutes * 60, jobs, random.Random(seed))
        accepted = len(box.acknowledged)
        box.settle(PATIENCE + 3 * accepted)
        finish(Case("", "", lambda _: None), box)
    except Failure as failure:
        print(f"{failure}")
        return 1
    finally:
        box.close()
    print(f"{accepted} jobs acknowledged, each COMPLETED with its twin's results; lost 0, doubled 0, wrong 0")
    print("killed: " + ", ".join(f"{count} {role}" for role, count in sorted(killed.items())))
    return 0


def _twins(box: Box) -> None:
    from .checker import check

    for epochs in EPOCHS:
        box.until_state(box.must_submit("twin", epochs), "COMPLETED")
    check(box)


def _storm(box: Box, seconds: float, jobs: int, draws: random.Random) -> Counter[str]:
    """Kills for so long, while the jobs come evenly."""
    end = time.monotonic() + seconds
    errors: list[Failure] = []
    killed: Counter[str] = Counter()

    def submit() -> None:
        try:
            began = time.monotonic()
            for number in range(jobs):
                time.sleep(max(0.0, began + seconds * number / jobs - time.monotonic()))
                while not box.submit("plain", EPOCHS[number % len(EPOCHS)], "--retries", RETRIES):
                    if box.is_refused:
                        raise Failure("wrong", f"a job is refused: {box.refusal}")
                    time.sleep(0.2)  # it was not acknowledged: submitted again
        except Failure as failure:
            errors.append(failure)

    submitting = threading.Thread(target=submit)
    submitting.start()
    while time.monotonic() < end and not errors:
        time.sleep(draws.uniform(0.3, 3.0))
        box.keep_up()
        role = draws.choice(ROLES)
        pids = box.find(role)
        if pids:
            killed[role] += bool(kill([draws.choice(pids)]))
    while submitting.is_alive():
        box.keep_up()
        submitting.join(0.1)
    if errors:
        raise errors[0]
    return killed
