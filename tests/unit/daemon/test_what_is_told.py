"""What the daemon's small parts tell the policy, the trainers and the accounts."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gpujobs.config.settings import Settings
from gpujobs.config.site import Access
from gpujobs.daemon.access.connections import REQUESTS_AT_ONCE, RequestLimiter
from gpujobs.daemon.access.identity import peer_of
from gpujobs.daemon.access.policy import AccessPolicy
from gpujobs.daemon.build import build
from gpujobs.daemon.daemon import Daemon
from gpujobs.daemon.devices.foreign_charges import ForeignCharge
from gpujobs.daemon.devices.usage import UsageCache
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.jobs.specs import identity
from gpujobs.daemon.snapshot_builder import expected_end
from gpujobs.daemon.writer import StoreWriter
from gpujobs.demand import Demand
from gpujobs.errors import NotPermittedError
from gpujobs.model import Caller, Device, DeviceKind, Job, Node, NodeStatus, Process, Share, utc_now
from gpujobs.policy import Snapshot, occupancies
from gpujobs.store.store import Store
from gpujobs.store.usage import EndedUsage
from tests.unit.daemon.views import view_of
from tests.unit.store.jobs import A, new_job

GIB = 1 << 30
GPU = Device("n", DeviceKind.GPU, 0, "GPU-0", "fake", 80 * GIB, 0)
FOREVER = 1e12
"""A half-life in seconds, in which nothing fades."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store.db")
    yield opened
    opened.close()


def running(store: Store, gpu_memory_bytes: int | None = None, pid: int = 99) -> Job:
    (job,) = store.submit(A, f"key {pid}", [new_job()])
    store.start_attempt(job.id, GPU, gpu_memory_bytes)
    return store.mark_running(job.id, 1, pid, utc_now())


def test_a_personal_daemon_does_not_serve_root_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NotPermittedError, match="personal daemon"):
        AccessPolicy(False, Access()).admit(Caller(uid=0, gid=0, pid=1, user="root"))


@pytest.mark.parametrize(
    ("is_site", "by_default", "expected"),
    [(True, True, Share.LAB), (True, False, Share.PRIVATE), (False, True, Share.PRIVATE)],
)
def test_jobs_are_shared_where_the_site_says_so(is_site: bool, by_default: bool, expected: Share) -> None:
    group = grp.getgrgid(os.getgid()).gr_name
    rules = Access(share_group=group, share_by_default=by_default)
    assert AccessPolicy(is_site, rules).default_share is expected


def test_what_stops_or_is_cancelled_is_no_victim_any_more(store: Store) -> None:
    jobs = [running(store, pid=pid) for pid in (1, 2, 3)]
    cache = JobCache([])
    for job in jobs:
        cache.put(job)
    cache.put(store.request_cancel(jobs[1].id, "a", "cancelled"))
    cache.stopping.add(jobs[0].id)
    told = {one.job: one.stopping for one in view_of(store, cache).allocations()}
    assert told == {jobs[0].id: True, jobs[1].id: True, jobs[2].id: False}


@pytest.mark.parametrize(
    ("eta", "seconds"), [(1e9, 100.0), (None, 100.0), (-1.0, 100.0), ("soon", 100.0), (50.0, 50.0)]
)
def test_a_job_ends_with_its_time_limit_whatever_its_trainer_says(
    store: Store, eta: object, seconds: float
) -> None:
    job = replace(running(store), demand=Demand(time_limit_seconds=100.0))
    end = expected_end(job, {"eta_seconds": eta})
    assert end is not None and abs((end - utc_now()).total_seconds() - seconds) < 10


def test_an_attempt_on_a_quarter_of_a_device_costs_a_quarter() -> None:
    begin = utc_now()
    use = EndedUsage("a", begin, begin + timedelta(seconds=400), 20 * GIB, 80 * GIB)
    usage = UsageCache([use, replace(use, user="b", gpu_memory_bytes=None)], {}, FOREVER)
    assert {user: usage.gpu_seconds for user, usage in usage.usage.items()} == pytest.approx(
        {"a": 100, "b": 400}
    )


def test_who_computes_beside_the_queue_is_charged_for_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten seconds, on two devices of three."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    usage = UsageCache([], {}, FOREVER)
    charge = ForeignCharge(usage, store.usage, StoreWriter(store, JobCache([])), FOREVER)
    busy = (Process(4711, "bob", GIB, "python"), Process(4712, "bob", GIB, "python"))
    devices = [replace(GPU, index=i, uuid=f"GPU-{i}", processes=busy if i else ()) for i in range(3)]
    now[0] += 10
    charge.observe(occupancies(Snapshot(utc_now(), (), [Node("n", NodeStatus.OK, "", tuple(devices))])))
    charge.save()
    assert usage.usage["bob"].gpu_seconds == pytest.approx(20.0)
    assert store.usage.foreign()["bob"].gpu_seconds == pytest.approx(20.0)


def test_few_requests_of_one_user_are_worked_on_at_once_and_others_do_not_wait() -> None:
    async def scenario() -> tuple[int, bool]:
        turns, inside, done = RequestLimiter(), 0, asyncio.Event()

        async def work() -> web.StreamResponse:
            nonlocal inside
            inside += 1
            await done.wait()
            return web.Response()

        tasks = [asyncio.create_task(turns.take(1000, work)) for _ in range(3 * REQUESTS_AT_ONCE)]
        for _ in range(100):
            await asyncio.sleep(0)
        of_one = inside
        tasks.append(asyncio.create_task(turns.take(1001, work)))
        for _ in range(100):
            await asyncio.sleep(0)
        other_came = inside == of_one + 1
        done.set()
        await asyncio.gather(*tasks)
        return of_one, other_came

    assert asyncio.run(scenario()) == (REQUESTS_AT_ONCE, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a process other groups")
def test_the_groups_of_a_caller_are_those_of_the_process(tmp_path: Path) -> None:
    """Not those that the name has: a process keeps what it was started with."""
    connect = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.recv(1)"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        with subprocess.Popen(
            [sys.executable, "-c", connect, tmp_path / "s"], extra_groups=[4242, 4343]
        ) as process:
            connection, _ = listener.accept()
            with connection:
                caller = peer_of(connection)
            assert (set(caller.groups), caller.uid, caller.pid) == ({4242, 4343}, os.geteuid(), process.pid)


def test_who_has_left_a_group_does_not_run_with_it() -> None:
    own = pwd.getpwuid(os.getuid())
    assert identity(own.pw_uid, 54321).gid == own.pw_gid
    groups = identity(own.pw_uid, own.pw_gid).groups
    assert tuple(sorted(os.getgrouplist(own.pw_name, own.pw_gid))) == groups and 54321 not in groups


def test_a_packed_job_that_outgrows_what_it_has_reserved_is_stopped(tmp_path: Path) -> None:
    """Two of 30 GiB each on 80, of which one has 60: it is stopped, and gets a larger part next time."""

    async def scenario() -> tuple[set[int], Any, list[str]]:
        daemon = build(Settings("personal", tmp_path, tmp_path / "socket"))
        for pid in (98, 99):
            daemon.cache.put(running(daemon.store, 30 * GIB, pid))
        used = (Process(98, "a", 30 * GIB, "trainer"), Process(99, "a", 60 * GIB, "trainer"))
        device = replace(GPU, memory_used_bytes=79 * GIB, processes=used)
        daemon.nodes.readings.tell([Node("n", NodeStatus.OK, "", (device,))])
        found = set(daemon.cache.stopping), daemon.store.job(2).demand.gpu_memory
        kinds = [event.kind for event in daemon.store.events(2)]
        await Daemon(daemon).close()
        return *found, kinds

    stopping, reserved, kinds = asyncio.run(scenario())
    assert stopping == {2}
    assert reserved is not None and reserved > 60 * GIB and "reservation" in kinds
