"""A daemon whose Ray is not started, on a node with real supervisors: what their files say is what it knows."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpujobs.config.settings import resolve
from gpujobs.daemon.build import Parts, build
from gpujobs.daemon.main import prepare_state
from gpujobs.daemon.modes import Mode
from gpujobs.model import Device, DeviceKind, Job, State, utc_now
from gpujobs.node import attempts
from gpujobs.paths import AttemptPaths, StatePaths
from gpujobs.protocol.spec import AttemptSpec
from tests.forked import Started
from tests.integration.trainer import supervising
from tests.specs import attempt_spec
from tests.unit.store.jobs import A, new_job

DEAD = {"pid": 2**22 - 1, "start_ticks": 1}
"""No process has this pid and has begun with the machine."""


def new_daemon(state: Path) -> Parts:
    settings = resolve({"state_dir": str(state)}, environ={})
    prepare_state(StatePaths(settings.state_dir), Mode.PERSONAL)
    return build(settings)


def begin(daemon: Parts, state: State = State.RUNNING) -> Job:
    """A job with an attempt under way, as the store has it, and the files that its start has made."""
    (job,) = daemon.store.submit(
        A, f"key-{time.monotonic_ns()}", [replace(new_job(), resolved={"model": {}, "training": {}})]
    )
    device = Device(daemon.node_name, DeviceKind.CPU, 0, "CPU-n-0", "cpu")
    job = daemon.store.start_attempt(job.id, device)
    assert job.current is not None
    attempts.make(daemon.paths.job(job.id), spec_of(daemon, job))
    if state is State.RUNNING:
        job = daemon.store.mark_running(job.id, 1, 99, utc_now())
    daemon.cache.put(job)
    return job


def spec_of(daemon: Parts, job: Job) -> AttemptSpec:
    assert job.current is not None
    return attempt_spec(
        job=job.id,
        attempt=job.attempt,
        nonce=job.current.nonce,
        state_id=daemon.state_id,
        grace_seconds=2.0,
        job_dir=daemon.paths.job(job.id).root,
    )


def files_of(daemon: Parts, job: Job) -> AttemptPaths:
    return daemon.paths.job(job.id).attempt(job.attempt)


def leave_as_killed(daemon: Parts, job: Job, **record: Any) -> AttemptPaths:
    """All that the supervisor of an attempt, and it alone, writes until it is killed."""
    assert job.current is not None
    paths = files_of(daemon, job)
    paths.lock.touch()
    paths.claim.write_text("supervisor")
    paths.log.write_text("Epoch 1/9\n")
    paths.progress.write_text(json.dumps({"epoch": 1, "loss": 0.5}))
    found = {
        "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "nonce": job.current.nonce,
        "state_id": daemon.state_id,
        "supervisor": DEAD,
        "trainer": DEAD,
        "cgroup": None,
        "started_at": "2026-01-01T00:00:00Z",
    }
    paths.record.write_text(json.dumps({**found, **record}))
    return paths


def supervise(daemon: Parts, job: Job, body: str = "time.sleep(60)", **environment: str) -> Started:
    """A real supervisor over a trainer that runs `body`. Returns when it has written its record, or has ended."""
    paths = files_of(daemon, job)
    process = supervising.start(supervising.program(body), paths.root, **environment)
    deadline = time.monotonic() + 30
    while not paths.record.exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


async def until(what: Callable[[], Any], seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)
    return found


async def settled(daemon: Parts, job: int, *states: State, seconds: float = 30.0) -> Job:
    """The job, once the daemon has brought it into one of these states."""
    await until(lambda: daemon.store.job(job).state in states, seconds)
    return daemon.store.job(job)
