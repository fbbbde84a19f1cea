"""Steps in the life of an attempt that a restart, a request or an end may fall between."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gpujobs.cluster.collecting import write_chunks
from gpujobs.daemon.build import Parts
from gpujobs.daemon.handlers import log
from gpujobs.daemon.jobs.service import cancelled_by
from gpujobs.daemon.keys import CALLER
from gpujobs.daemon.live import broadcast
from gpujobs.daemon.server import make_application
from gpujobs.lifecycle import Finish, Requeue
from gpujobs.linux.process import boot_id, identify
from gpujobs.model import Caller, Job, Reason, State
from gpujobs.node.attempts import send_signal
from gpujobs.protocol.instructions import AttemptStatus, Collect, Start
from gpujobs.protocol.launcher import Forked
from gpujobs.protocol.records import ProcessId
from gpujobs.results.catalogue import open_file
from tests.integration.events import DONE, FAILED, run
from tests.integration.node import begin, files_of, leave_as_killed, new_daemon, settled, supervise, until
from tests.specs import event_of as event
from tests.unit.store.jobs import A, new_job


def recovered(daemon: Parts, job: int, *states: State) -> Job:
    async def work() -> Job:
        await daemon.attempts.recover(daemon.node_name)
        return await settled(daemon, job, *states)

    found: Job = run(daemon, work)
    return found


def test_a_job_whose_daemon_was_killed_while_it_ended_comes_to_its_end(daemon: Parts) -> None:
    job = begin(daemon)
    daemon.store.mark_completing(job.id, 1, FAILED)
    again = new_daemon(daemon.paths.root)
    assert recovered(again, job.id, State.FAILED).reason is Reason.TRAINING_ERROR
    again.store.close()


def collected(daemon: Parts, job: Job, mark: str | None) -> Path:
    """Results in the place of the job's, as a rename has put them there just before a kill."""
    directory = daemon.paths.result(job.id)
    directory.mkdir()
    (directory / "metrics.json").write_text("{}")
    if mark is not None:
        daemon.paths.result_mark(directory).write_text(mark)
    return directory


def test_results_that_were_renamed_before_a_kill_are_the_jobs(daemon: Parts) -> None:
    job = begin(daemon)
    assert job.current is not None
    directory = collected(daemon, job, job.current.nonce)

    async def work() -> Job:
        daemon.attempts.on_event(event(job, "exited", exit=DONE))
        return await settled(daemon, job.id, State.COMPLETED)

    assert run(daemon, work).results == str(directory)
    assert not daemon.paths.job(job.id).root.exists()


@pytest.mark.parametrize("mark", [None, "", "f" * 32])
def test_results_of_another_attempt_are_not_the_jobs_and_are_kept(daemon: Parts, mark: str | None) -> None:
    job = begin(daemon)
    directory = collected(daemon, job, mark)

    async def work() -> None:
        daemon.attempts.on_event(event(job, "exited", exit=DONE))
        for _ in range(500):
            if directory.with_name("1.other").is_dir():
                break
            await asyncio.sleep(0.01)

    run(daemon, work)
    assert directory.with_name("1.other").is_dir() and not directory.exists()
    assert daemon.store.job(job.id).state is State.COMPLETING


def test_a_job_that_was_cancelled_while_nobody_could_be_asked_is_stopped_later(daemon: Parts) -> None:
    job = begin(daemon)
    supervisor = supervise(daemon, job)
    daemon.cache.put(daemon.store.request_cancel(job.id, "a", "cancelled by a"))

    async def work() -> None:
        await daemon.attempts.recover(daemon.node_name)
        await asyncio.to_thread(supervisor.wait, 20)
        daemon.attempts._inquiries.begin(daemon.cache.jobs[job.id])
        await settled(daemon, job.id, State.CANCELLED)

    run(daemon, work)


def test_a_job_that_is_cancelled_while_it_is_launched_is_stopped(
    daemon: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stop found no supervisor yet; the start is answered after it."""
    job = begin(daemon, State.STARTING)
    real, supervisors = daemon.link.call, []

    async def call(node: str, instruction: Any) -> Any:
        if not isinstance(instruction, Start):
            return await real(node, instruction)
        daemon.cache.put(daemon.store.request_cancel(job.id, "a", "cancelled by a"))
        supervisors.append(await asyncio.to_thread(supervise, daemon, job))
        return Forked(supervisors[0].pid)

    async def work() -> Job:
        daemon.attempts.launch(job)
        await until(lambda: supervisors)
        await asyncio.to_thread(supervisors[0].wait, 20)
        daemon.attempts._inquiries.begin(daemon.cache.jobs[job.id])
        return await settled(daemon, job.id, State.CANCELLED)

    monkeypatch.setattr(daemon.link, "call", call)
    assert run(daemon, work).message == "cancelled by a"


def test_the_name_of_collected_results_is_on_the_disk_before_the_job_has_completed(
    daemon: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = begin(daemon)
    real_call, real_fsync, real_finish = daemon.link.call, os.fsync, daemon.store.finish
    done: list[str] = []

    async def call(node: str, instruction: Any) -> Any:
        if not isinstance(instruction, Collect):
            return await real_call(node, instruction)
        Path(instruction.destination).mkdir()
        return None

    def sync(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink() == daemon.paths.results:
            done.append("synced, with it" if daemon.paths.result(job.id).is_dir() else "synced")
        real_fsync(descriptor)

    def finish(*arguments: Any) -> Job:
        done.append("completed")
        return real_finish(*arguments)

    async def work() -> None:
        daemon.attempts.on_event(event(job, "exited", exit=DONE))
        await settled(daemon, job.id, State.COMPLETED)

    monkeypatch.setattr(daemon.link, "call", call)
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(daemon.store, "finish", finish)
    run(daemon, work)
    assert done[-2:] == ["synced, with it", "completed"]


def test_results_are_collected_once_however_often_the_end_is_heard_of(
    daemon: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an event, by a report and by whoever is in a hurry."""
    job = begin(daemon)
    begun: list[int] = []

    async def work() -> None:
        may_end = asyncio.Event()

        async def collect(one: Job, node: str) -> Path:
            begun.append(one.id)
            await may_end.wait()
            return collected(daemon, one, None)

        monkeypatch.setattr(daemon.attempts._endings._collector, "collect", collect)
        daemon.attempts.on_event(event(job, "exited", exit=DONE))
        await until(lambda: begun)
        for _ in range(3):
            daemon.attempts.complete_now(job.id)
            await asyncio.sleep(0)
        may_end.set()
        await settled(daemon, job.id, State.COMPLETED)

    run(daemon, work)
    assert begun == [job.id]


def test_a_start_that_seemed_to_fail_and_did_not_is_followed(daemon: Parts) -> None:
    job = begin(daemon, State.STARTING)
    supervisor = supervise(daemon, job)

    async def work() -> Job:
        await daemon.attempts._launch_failed(job, Requeue(Reason.RETRY, "no answer", False))
        return daemon.store.job(job.id)

    found = run(daemon, work)
    assert (found.state, found.attempt) == (State.RUNNING, 1)
    supervisor.terminate()
    supervisor.wait(20)


def test_an_attempt_that_was_asked_about_before_its_supervisor_came_never_starts(daemon: Parts) -> None:
    """Whoever was told that it has not started has started it anew meanwhile."""
    job = begin(daemon, State.STARTING)

    async def work() -> None:
        (report,) = await daemon.attempts._reconciliation.ask([job])
        assert report.status is AttemptStatus.NEVER_STARTED

    run(daemon, work)
    late = supervise(daemon, job)
    assert late.wait(20) == 0
    assert not files_of(daemon, job).record.exists() and not files_of(daemon, job).log.exists()


def test_a_process_that_has_got_the_pid_of_a_supervisor_is_not_signalled() -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    known = ProcessId(**identify(stranger.pid))
    try:
        assert not send_signal(replace(known, start_ticks=known.start_ticks - 1), boot_id(), 15)  # type: ignore[arg-type]
        assert not send_signal(known, "another boot", 15)  # type: ignore[arg-type]
        assert stranger.poll() is None
        assert send_signal(known, boot_id(), 15)  # type: ignore[arg-type]
        assert stranger.wait(10) == -15
    finally:
        stranger.kill()
        stranger.wait()


def test_events_of_an_attempt_that_has_another_id_change_nothing(daemon: Parts) -> None:
    job = begin(daemon)
    leave_as_killed(daemon, job)

    async def work() -> None:
        daemon.attempts.on_event(event(job, "exited", exit={**FAILED, "nonce": "f" * 32}))
        daemon.attempts.on_event(event(job, "progress", progress={"epoch": 9}, nonce="f" * 32))

    run(daemon, work)
    assert daemon.store.job(job.id).state is State.RUNNING
    assert daemon.cache.progress == {}
    assert files_of(daemon, job).record.exists()


def test_collected_files_and_their_directories_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[str] = set()
    real = os.fsync

    def sync(descriptor: int) -> None:
        synced.add(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    async def chunk(name: str) -> tuple[str, bytes]:
        return name, b"x"

    async def chunks() -> AsyncIterator[Any]:
        for name in ("a", "deep/b"):
            yield chunk(name)

    monkeypatch.setattr(os, "fsync", sync)
    asyncio.run(write_chunks(chunks(), tmp_path / "staging"))
    assert synced == {"a", "b", "deep", "staging"}


def test_a_collected_log_is_not_read_on_the_event_loop(
    daemon: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results may lie on a disk that does not answer."""
    job = begin(daemon)
    directory = collected(daemon, job, None)
    (directory / "log.txt").write_text("Epoch 1/9\n")
    daemon.store.mark_completing(job.id, 1, DONE)
    job = daemon.store.finish(job.id, Finish(State.COMPLETED, Reason.NONE, ""), str(directory))
    threads: list[threading.Thread] = []
    real = open_file

    def opened(*arguments: Any) -> Any:
        threads.append(threading.current_thread())
        return real(*arguments)

    monkeypatch.setattr(log, "open_file", opened)
    assert run(daemon, lambda: log.Log.of(daemon.queries, job, None).read(0)) == (b"Epoch 1/9\n", 10)
    assert threads and threading.main_thread() not in threads


def asked_by(daemon: Parts, caller: Caller) -> TestClient[Any, Any]:
    @web.middleware
    async def as_caller(request: web.Request, handler: Any) -> web.StreamResponse:
        request[CALLER] = caller
        answer: web.StreamResponse = await handler(request)
        return answer

    return TestClient(TestServer(make_application(daemon, [as_caller])))


@pytest.mark.parametrize("has_begun", [True, False])
def test_a_log_that_is_followed_ends_where_the_job_ends_while_it_is_opened(
    daemon: Parts, monkeypatch: pytest.MonkeyPatch, has_begun: bool
) -> None:
    """Its node may take long to answer, and who asks to read."""
    if has_begun:
        job = begin(daemon)
    else:
        (job,) = daemon.writer.jobs(lambda store: store.submit(A, "k", [new_job()]))
    owner = replace(A, uid=job.uid)

    def end() -> None:
        if has_begun:
            daemon.writer.job(lambda store: store.mark_completing(job.id, 1, FAILED))
            failed = Finish(State.FAILED, Reason.TRAINING_ERROR, "")
            daemon.writer.job(lambda store: store.finish(job.id, failed, None))
        else:
            daemon.writer.job(lambda store: store.cancel_pending(job.id, "a", cancelled_by("a")))

    async def read(*_: Any) -> tuple[bytes, int]:
        return b"", 0

    prepare = web.StreamResponse.prepare

    async def slow(response: web.StreamResponse, request: Any) -> Any:
        if not daemon.store.job(job.id).state.is_final:
            end()
        return await prepare(response, request)

    async def ask() -> bytes:
        path = f"/v1/jobs/{job.id}/log?follow=1"
        async with asked_by(daemon, owner) as client, asyncio.timeout(20), client.get(path) as answer:
            return await answer.read()

    monkeypatch.setattr(log.Log, "read", read)
    monkeypatch.setattr(web.StreamResponse, "prepare", slow)
    assert run(daemon, ask) == b""


@pytest.mark.parametrize(
    ("asked", "last"),
    [
        ("ids=1,2", {2: "CANCELLED"}),
        ("ids=1-2&user=a", {2: "CANCELLED"}),
        ("ids=1,2&state=PENDING", {}),
    ],
)
def test_jobs_that_are_watched_are_shown_on_when_one_of_them_is_pruned(
    daemon: Parts, monkeypatch: pytest.MonkeyPatch, asked: str, last: dict[int, str]
) -> None:
    monkeypatch.setattr(broadcast, "BETWEEN_SECONDS", 0.001)
    caller = daemon.site.access.admit(replace(A, uid=os.getuid()))
    daemon.writer.jobs(lambda store: store.submit(caller, "k", [new_job()] * 2))

    def cancel(number: int) -> None:
        daemon.writer.job(lambda store: store.cancel_pending(number, "a", cancelled_by("a")))

    async def look() -> list[dict[int, str]]:
        path = f"/v1/queue/watch?{asked}"
        async with asked_by(daemon, caller) as client, asyncio.timeout(20), client.get(path) as answer:
            seen = [states(await answer.content.readline())]
            cancel(1)
            daemon.writer.do(lambda store: store.pruning.delete([1]))
            seen.append(states(await answer.content.readline()))
            cancel(2)
            return [*seen, states((await answer.read()).splitlines()[-1])]

    def states(line: bytes) -> dict[int, str]:
        return {row["job"]["id"]: row["job"]["state"] for row in json.loads(line)["rows"]}

    assert run(daemon, look) == [{1: "PENDING", 2: "PENDING"}, {2: "PENDING"}, last]
