"""A daemon whose boxes are simulated, which measures itself: `many_nodes` starts it as a process of its own.

All of the daemon is as it is at work (store, cache, nodes, poller, dispatcher, policy, the link's JSON) but for its
socket; in the place of Ray's head there is `simulated_head`."""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.support import simulated_head
from gpujobs.cluster import link
from gpujobs.config.settings import resolve
from gpujobs.daemon import dispatch
from gpujobs.daemon.build import Parts, build
from gpujobs.daemon.daemon import Daemon
from gpujobs.daemon.main import prepare_state
from gpujobs.daemon.modes import Mode
from gpujobs.demand import Demand
from gpujobs.jobfile import load
from gpujobs.model import Caller, State
from gpujobs.paths import StatePaths
from gpujobs.policy import Decision, Snapshot, decide
from gpujobs.protocol.instructions import Forget
from gpujobs.store.records import NewJob

TEXT = "data: {train: d.npz}\nmodel: {layers: [Flatten, Dense: {units: 2}]}\ntraining: {loss: mse}\n"
USERS = 50
BATCH = 2000
SETTLING_SECONDS = 5.0
"""In which a job's start is looked after more often."""

GIB = 1 << 30


class Timed:
    """`decide`, which takes note of how long it took."""

    def __init__(self, decide: Callable[[Snapshot], Decision]) -> None:
        self._decide = decide
        self.taken: list[tuple[float, int]] = []
        """(milliseconds, starts) of each decision."""

    def __call__(self, snapshot: Snapshot) -> Decision:
        began = time.perf_counter()
        found = self._decide(snapshot)
        self.taken.append((1000 * (time.perf_counter() - began), len(found.starts)))
        return found


def demands(nodes: int) -> Iterator[Demand]:
    """Of all kinds: any device, certain ones, nodes, names, shared ones, with limits and without."""
    chance = random.Random(0)
    names = [f"box{number:03}" for number in range(1, nodes)]
    racks = [tuple(names[first : first + 4]) for first in range(0, len(names), 4)]
    while True:
        asked = Demand(
            priority=chance.choice((0, 0, 0, -1)),
            gpu_memory=chance.choice((None, None, 8 * GIB, 20 * GIB)),
            time_limit_seconds=chance.choice((None, 3600.0, 86_400.0)),
        )
        match chance.randrange(20):
            case 0:
                asked = replace(asked, requested_gpu=chance.randrange(8))
            case 1 | 2:
                asked = replace(asked, node=chance.choice(names))
            case 3:
                asked = replace(asked, node=chance.choice(racks))
            case 4 | 5:
                asked = replace(asked, gpu_name=chance.choice(("H100", "*A100*")))
        yield asked


def fill(parts: Parts, waiting: int, nodes: int) -> None:
    resolved = load("job.yaml", TEXT).resolved
    source, asked = iter(range(waiting)), demands(nodes)
    for user in range(USERS):
        caller = Caller(os.getuid(), os.getgid(), 1, f"user{user}")
        left = waiting // USERS
        while left > 0:
            count = min(BATCH, left)
            new = [_new(f"job-{next(source)}", resolved, next(asked)) for _ in range(count)]
            for job in parts.store.submit(caller, f"{user}-{left}", new):
                parts.cache.put(job)
            left -= count


def _new(name: str, resolved: dict[str, Any], demand: Demand) -> NewJob:
    return NewJob(name, "job.yaml", TEXT, resolved, demand, False, 1, None, ())


async def measured(parts: Parts, nodes: int, ends: int, seconds: float) -> dict[str, Any]:
    """`ends`: of jobs, one after the other. `seconds`: of a queue in which nothing happens but looking at devices."""
    timed = Timed(decide)
    vars(dispatch)["decide"] = timed
    await Daemon(parts).start()
    gpus = nodes * simulated_head.GPUS
    await _until(lambda: len(parts.nodes.devices) == gpus, "all boxes are there")
    await _until(lambda: _is_full(parts), "all devices are in use")
    first, timed.taken[:] = list(timed.taken), []
    for number in range(ends):
        await _end_one(parts, number)
        parts.dispatcher.wake()
        await asyncio.sleep(0.5)
    events, timed.taken[:] = [one for one in timed.taken if one[1]], []
    await asyncio.sleep(min(SETTLING_SECONDS, seconds))
    timed.taken.clear()
    began, used = time.monotonic(), time.process_time()
    await asyncio.sleep(seconds)
    share = (time.process_time() - used) / (time.monotonic() - began)
    counts = time.perf_counter()
    parts.cache.waits_by_reason()
    counts = 1000 * (time.perf_counter() - counts)
    return {
        "first": first,
        "events": events,
        "looks": timed.taken,
        "share": share,
        "counts_ms": counts,
        "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "running": len(parts.cache.active()),
        "waiting": len(parts.cache.queue),
    }


def _is_full(parts: Parts) -> bool:
    """Every device has a job, and each job's first word has come."""
    active = parts.cache.active()
    used = {(job.current.node, job.current.device_uuid) for job in active if job.current is not None}
    return len(used) == len(parts.nodes.devices) and all(job.state is State.RUNNING for job in active)


async def _end_one(parts: Parts, number: int) -> None:
    """A job that has a device for itself has ended there: the device is free."""
    whole = [
        job
        for job in parts.cache.active()
        if job.id not in parts.cache.released and job.current and job.current.gpu_memory_bytes is None
    ]
    job = whole[(number * 37) % len(whole)]
    assert job.current is not None
    await parts.link.call(job.current.node, Forget(job.id))
    parts.cache.release(job.id, job.attempt)


async def _until(what: Callable[[], bool], said: str, seconds: float = 150.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise TimeoutError(f"{said}: not within {seconds:g} s")
        await asyncio.sleep(0.1)


def main(state: str, nodes: int, waiting: int, ends: int, seconds: float) -> None:
    settings = resolve({"state_dir": state}, environ={})
    prepare_state(StatePaths(settings.state_dir), Mode.PERSONAL)
    os.environ[simulated_head.NODES] = str(nodes)
    vars(link)["PYTHON"] = (sys.executable, str(Path(simulated_head.__file__)))
    parts = build(settings)
    parts.link.launchers.use = lambda backend: None  # type: ignore[method-assign]
    fill(parts, waiting, nodes)

    async def work() -> dict[str, Any]:
        try:
            return await measured(parts, nodes, ends, seconds)
        finally:
            await Daemon(parts).close()

    print(json.dumps(asyncio.run(work())))


if __name__ == "__main__":
    nodes, waiting, ends = map(int, sys.argv[2:5])
    main(sys.argv[1], nodes, waiting, ends, float(sys.argv[5]))
