"""What the box has done in the last week. It is made up: by the store's own steps, with other times."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random

from gpujobs.demand import Demand
from gpujobs.lifecycle import Finish
from gpujobs.measured.sums import Sums, written
from gpujobs.model import Caller, Device, DeviceKind, Reason, State, iso, utc_now
from gpujobs.store.records import NewJob
from gpujobs.store.store import Store
from tests.acceptance.people import Person
from tests.fake_nvml import uuid

DAYS = 7
GPUS = 4
KINDS = ("load-forecast", "ecg", "wind", "prices", "gestures", "tokens")
ENDS = (
    *[Finish(State.COMPLETED, Reason.NONE, "")] * 8,
    Finish(State.FAILED, Reason.SIGNAL, "the trainer was killed by signal 11"),
    Finish(State.CANCELLED, Reason.CANCELLED_BY_USER, "cancelled by its owner"),
)


@dataclass(frozen=True, slots=True)
class Run:
    """Hours ago."""

    gpu: int
    queued: float
    begin: float
    end: float


def write(database: Path, people: Sequence[Person], node: str) -> None:
    """Always the same, as long ago."""
    store, chance = Store(database), Random(0)
    try:
        for number, run in enumerate(sorted(runs(chance), key=lambda run: -run.queued)):
            add(store, chance, number, run, chance.choice(people), node)
        seen = "INSERT INTO device_events (device, at, kind, actor, message) VALUES (?, ?, ?, ?, ?)"
        for hours, kind, actor, said in (
            (5.5, "stranger", "gpujobs", "pid 4711 of dora on GPU 2"),
            (3.0, "drained", "root", "fan replaced on Friday"),
        ):
            device = 2 if kind == "stranger" else 3
            store._connection.execute(seen, (uuid(device), ago(hours), kind, actor, said))
    finally:
        store.close()


def runs(chance: Random) -> list[Run]:
    found = []
    for gpu in range(GPUS):
        hours = 24.0 * DAYS
        while hours > 1:
            begin = hours - chance.uniform(0.1, 3.5)
            end = begin - chance.uniform(0.4, 7.0)
            if end < (0.4 if gpu < 3 else 3.1):
                break
            found.append(Run(gpu, begin + chance.uniform(0, 2.5), begin, end))
            hours = end
    return found


def add(store: Store, chance: Random, number: int, run: Run, person: Person, node: str) -> None:
    device = Device(node, DeviceKind.GPU, run.gpu, uuid(run.gpu), "NVIDIA H100 80GB HBM3", 80 << 30)
    name = f"{chance.choice(KINDS)}-{number}"
    wanted = Demand(gpu_memory=chance.choice([None, None, 24 << 30]), time_limit_seconds=8 * 3600.0)
    new = NewJob(name, f"{name}.yaml", f"name: {name}\n", {"name": name}, wanted, False, 0, None, ())
    caller = Caller(person.uid, person.gid, os.getpid(), person.name)
    (job,) = store.submit(caller, name, [new])
    step = chance.choice(ENDS)
    attempt = store.start_attempt(job.id, device, wanted.gpu_memory).attempt  # type: ignore[arg-type]
    store.mark_running(job.id, attempt, 4000 + number, utc_now())
    store.mark_completing(job.id, attempt, {"state": step.state, "exit": {"code": 0, "signal": None}})
    store.finish(job.id, step, None)
    execute = store._connection.execute
    execute(
        "UPDATE attempts SET started_at = ?, running_at = ?, ended_at = ? WHERE job = ?",
        (ago(run.begin), ago(run.begin), ago(run.end), job.id),
    )
    measure(store, job.id, attempt, run, wanted.gpu_memory or 80 << 30)
    execute(
        "UPDATE jobs SET submitted_at = ?, started_at = ?, ended_at = ? WHERE id = ?",
        (ago(run.queued), ago(run.begin), ago(run.end), job.id),
    )


def measure(store: Store, job: int, attempt: int, run: Run, reserved: int) -> None:
    """What its device might have told, for `report` and the page of usage."""
    chance, seconds = Random(job), 3600 * (run.begin - run.end)
    load, watts = chance.uniform(0.25, 0.97), chance.uniform(180, 620)
    use = Sums(
        samples=int(seconds / 2),
        seconds=seconds,
        load_seconds=seconds,
        busy_seconds=load * seconds,
        memory_peak_bytes=int(reserved * chance.uniform(0.1, 0.9)),
        power_seconds=seconds,
        power_joules=watts * seconds,
    )
    store.usage.set_device_use(job, attempt, written(use))
    store.usage.set_peak(job, attempt, use.memory_peak_bytes or 0)


def ago(hours: float) -> str | None:
    return iso(utc_now() - timedelta(hours=hours))
