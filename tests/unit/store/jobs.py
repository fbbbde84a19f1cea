"""Jobs as the tests of the store put them in."""

from __future__ import annotations

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
        priority=0,
        held=held,
        retries=1,
        requested_gpu=None,
        time_limit_seconds=None,
        group=None,
        after=after,
        data=(DataReference("d.npz", "0" * 64, 10),),
    )


def complete(store: Store, job: int, step: Finish = DONE) -> Job:
    attempt = store.start_attempt(job, DEVICE).attempt
    store.mark_running(job, attempt, 99, utc_now())
    store.mark_completing(job, attempt, {"state": step.state, "exit": {"code": 0, "signal": None}})
    return store.finish(job, step, "/r")
