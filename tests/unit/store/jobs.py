"""Jobs as the tests of the store put them in."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from gpujobs.demand import Demand, Dependencies
from gpujobs.lifecycle import Finish
from gpujobs.model import Caller, Device, DeviceKind, Job, Reason, State, utc_now
from gpujobs.store.records import DataReference, NewJob
from gpujobs.store.store import Store

A = Caller(uid=1000, gid=1000, pid=1, user="a")


B = Caller(uid=1001, gid=1001, pid=2, user="b")


DEVICE = Device("n", DeviceKind.CPU, 0, "CPU-n-0", "cpu")


DONE = Finish(State.COMPLETED, Reason.NONE, "")


def new_job(name: str = "j", *, after: tuple[int, ...] = (), held: bool = False) -> NewJob:
    return NewJob(
        name=name,
        path="j.yaml",
        source="name: j",
        resolved={"name": name},
        demand=Demand(awaits=Dependencies(after)),
        held=held,
        retries=1,
        group=None,
        data=(DataReference("d.npz", "0" * 64, 10),),
    )


def complete(store: Store, job: int, step: Finish = DONE, results: str = "/r") -> Job:
    attempt = store.start_attempt(job, DEVICE).attempt
    store.mark_running(job, attempt, 99, utc_now())
    store.mark_completing(job, attempt, {"state": step.state, "exit": {"code": 0, "signal": None}})
    return store.finish(job, step, results)


def having(job: NewJob, **values: Any) -> NewJob:
    """The job with these values, whether they are its own, its demand's, or those of what it waits for."""
    named = {
        kind: {f.name: values.pop(f.name) for f in fields(kind) if f.name in values}
        for kind in (Dependencies, Demand)
    }
    awaits = replace(job.demand.awaits, **named[Dependencies])
    return replace(job, demand=replace(job.demand, awaits=awaits, **named[Demand]), **values)
