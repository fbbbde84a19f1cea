"""A store as years of a busy box leave it: many jobs that wait, many that have ended, of many users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpujobs.demand import Demand, Dependencies
from gpujobs.lifecycle import Finish
from gpujobs.model import Caller, Device, DeviceKind, Reason, State, utc_now
from gpujobs.store.records import NewJob
from gpujobs.store.store import Store

USERS = 50
FIRST_UID = 70_000
"""Of nobody on this machine."""

CALL = 100
"""Jobs of one submission, and of one transaction."""

FINAL = (
    *[Finish(State.COMPLETED, Reason.NONE, "")] * 7,
    Finish(State.FAILED, Reason.SIGNAL, "the trainer was killed by signal 9"),
    Finish(State.CANCELLED, Reason.CANCELLED_BY_USER, "cancelled by its owner"),
    Finish(State.TIMEOUT, Reason.NONE, "after 4 h, as its time limit says"),
)
RECORD = {"exit": {"code": 0, "signal": None}, "progress": {"epoch": 20, "epochs": 20, "loss": 0.0123}}


@dataclass(frozen=True, slots=True)
class Crowd:
    waiting: int
    ended: int
    first_user: Caller | None = None
    """Whose every fiftieth job is; the others are of nobody on this machine."""

    def caller(self, number: int) -> Caller:
        place = number // CALL % USERS
        if place == 0 and self.first_user is not None:
            return self.first_user
        return Caller(FIRST_UID + place, FIRST_UID + place, 0, f"user{place:02}")


def fill(path: Path, crowd: Crowd) -> None:
    """By the store's own transactions, of which a hundred jobs share one."""
    store = Store(path)
    try:
        for numbers in calls(0, crowd.ended):
            with store.together():
                ended(store, crowd.caller(numbers[0]), numbers)
        for numbers in calls(crowd.ended, crowd.ended + crowd.waiting):
            store.submit(crowd.caller(numbers[0] - crowd.ended), str(numbers[0]), list(map(new_job, numbers)))
    finally:
        store.close()


def calls(first: int, end: int) -> Iterator[range]:
    return (range(start, min(start + CALL, end)) for start in range(first, end, CALL))


def ended(store: Store, caller: Caller, numbers: Sequence[int]) -> None:
    jobs = store.submit(caller, str(numbers[0]), [new_job(number) for number in numbers])
    for job, device, step in zip(jobs, devices(), finishes(), strict=False):
        attempt = store.start_attempt(job.id, device).attempt
        store.mark_running(job.id, attempt, 99, utc_now())
        store.mark_completing(job.id, attempt, {**RECORD, "state": step.state})
        store.finish(job.id, step, f"/var/lib/gpujobs/results/{job.id}")


def new_job(number: int) -> NewJob:
    """Each tenth of the waiting ones is held, each tenth has a time limit or another class."""
    name = f"forecast-of-load-{number}"
    demand = Demand(
        priority=-1 if number % 10 == 3 else 0,
        gpu_memory=(8 << 30) if number % 10 == 5 else None,
        time_limit_seconds=14400.0 if number % 2 else None,
        awaits=Dependencies(),
    )
    return NewJob(
        name, "job.yaml", f"name: {name}", {"name": name}, demand, number % 10 == 7, 1, None, ()
    )  # fmt: skip


def devices() -> Iterator[Device]:
    boxes = [
        Device("box", DeviceKind.GPU, n, f"GPU-{n}", "NVIDIA H100 80GB HBM3", 80 << 30) for n in range(8)
    ]
    while True:
        yield from boxes


def finishes() -> Iterator[Finish]:
    while True:
        yield from FINAL
