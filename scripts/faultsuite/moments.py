"""Each process killed, and each link cut, at each moment of a job on another box: a table of what came of it."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch

from .box import FINAL, PATIENCE, Failure, kill, until
from .cuts import end, until_known
from .site import LEASE_SECONDS, Site, site

FAR = "far"
"""Jobs whose names begin so run on box2."""

HELD_SECONDS = 3.0

STEADY_SECONDS = 3.0
"""What was killed is not missed at once."""


@contextlib.contextmanager
def start_under_way(made: Site) -> Iterator[int]:
    yield from held(made, "supervisor.claim", 120)


@contextlib.contextmanager
def running(made: Site) -> Iterator[int]:
    job = submitted(made, 400)
    made.until_state(job, "RUNNING")
    yield job


@contextlib.contextmanager
def ending(made: Site) -> Iterator[int]:
    yield from held(made, "supervisor.exit", 40)


@contextlib.contextmanager
def collecting(made: Site) -> Iterator[int]:
    yield from held(made, "collect.write", 40)


def held(made: Site, point: str, epochs: int) -> Iterator[int]:
    """Whoever comes to the point is stopped there for some seconds."""
    made.arm(f"{point}=stop:{HELD_SECONDS}*1")
    job = submitted(made, epochs)
    until(lambda: made.reached(point), PATIENCE, f"{point} is reached by job {job}: {made.jobs().get(job)}")
    try:
        yield job
    finally:
        made.disarm()


def submitted(made: Site, epochs: int) -> int:
    return made.must_submit(FAR, epochs, "--retries", "5")


MOMENTS = {
    "start under way": start_under_way,
    "running": running,
    "ending": ending,
    "collecting": collecting,
}


def of(box: int, role: str) -> Callable[[Site], None]:
    def strike(made: Site) -> None:
        pids = made.role(made.spaces[box - 1], role)
        if not pids:
            raise LookupError
        kill(pids)

    return strike


def box_off(box: int) -> Callable[[Site], None]:
    def strike(made: Site) -> None:
        made.cut_power_of(made.spaces[box - 1])
        time.sleep(1.0)
        made.power_back(made.spaces[box - 1])

    return strike


def link_cut(seconds: float) -> Callable[[Site], None]:
    def strike(made: Site) -> None:
        made.spaces[1].cut()
        time.sleep(seconds)
        made.spaces[1].heal()

    return strike


STRIKES: dict[str, Callable[[Site], None]] = {
    "raylet of the node": of(2, "raylet"),
    "agent": of(2, "agent"),
    "launcher": of(2, "launcher"),
    "supervisor": of(2, "supervisor"),
    "trainer": of(2, "trainer"),
    "`node join`": of(2, "node join"),
    "the node's box": box_off(2),
    "raylet of the head": of(1, "raylet"),
    "GCS": of(1, "GCS"),
    "head": of(1, "head"),
    "daemon": of(1, "daemon"),
    "the head's box": box_off(1),
    "link, 3 s": link_cut(3.0),
    "link, beyond the lease": link_cut(LEASE_SECONDS + 8.0),
}


@dataclass(frozen=True)
class Found:
    what: str
    moment: str
    said: str
    is_bad: bool


def run(pattern: str, minutes: float | None) -> int:
    """Those whose `process: moment` has the pattern in it. The exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the boxes are to be gone, however it ends
    chosen = [
        (what, moment)
        for what in STRIKES
        for moment in MOMENTS
        if fnmatch(f"{what}: {moment}", f"*{pattern}*")
    ]
    if not chosen:
        raise SystemExit(
            f"no `process: moment` has {pattern!r} in it, as `{next(iter(STRIKES))}: running` has"
        )
    found: list[Found] = []
    last = time.monotonic() + (minutes or 1e6) * 60
    with site(is_small=True) as made:
        for what, moment in chosen:
            if time.monotonic() < last:
                found.append(tried(made, what, STRIKES[what], moment, MOMENTS[moment]))
                print(f"{what}: {moment}: {found[-1].said}", flush=True)
        try:
            end(made)
        except Failure as failure:
            found.append(Found("all", "at the end", str(failure), True))
            print(failure, made.story())
    print(table(found))
    return int(any(one.is_bad for one in found))


def tried(
    made: Site,
    what: str,
    strike: Callable[[Site], None],
    moment: str,
    state: Callable[[Site], contextlib.AbstractContextManager[int]],
) -> Found:
    try:
        until_known(made, PATIENCE)
        with state(made) as job:
            try:
                strike(made)
            except LookupError:
                return Found(what, moment, "-", False)
            taken, _ = until_known(made, PATIENCE, STEADY_SECONDS)
        ended = made.until_state(job, *FINAL)
        attempts = made.jobs()[job]["attempt"]
        if ended != "COMPLETED":
            raise Failure("lost", f"job {job} ended {ended}: {made.jobs()[job]['message']}")
    except Failure as failure:
        return Found(what, moment, str(failure), True)
    return Found(what, moment, f"{taken:.1f} s, attempt {attempts}", False)


def table(found: list[Found]) -> str:
    """In each cell: seconds until all was known again, and with which attempt the job completed."""
    cells = {(one.what, one.moment): one for one in found}
    lines = [("killed, or cut", *MOMENTS), ("---", *["---"] * len(MOMENTS))]
    for what in dict.fromkeys(one.what for one in found if one.what in STRIKES):
        here = [cells.get((what, moment)) for moment in MOMENTS]
        lines.append((what, *("" if one is None else one.said for one in here)))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
