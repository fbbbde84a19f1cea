"""What happens to attempts while it cannot be recorded, or not be told: nothing of it is lost or stands still."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from gpujobs import failpoints
from gpujobs.daemon.build import Parts
from gpujobs.daemon.devices.admission import describe_stray
from gpujobs.daemon.handlers import doctor
from gpujobs.daemon.modes import StopMode
from gpujobs.errors import MachineError
from gpujobs.linux.stateid import state_id
from gpujobs.model import Job, NodeStatus, Reason, State, StopReason
from gpujobs.node.agent import NodeAgent
from gpujobs.protocol.events import NodeReported
from gpujobs.protocol.instructions import AttemptStatus, Report, Stray
from gpujobs.protocol.records import AttemptKey
from gpujobs.results.collect import RefusedResultError
from tests.acceptance.harness import is_alive
from tests.integration.events import DONE, FAILED, run
from tests.integration.node import (
    begin,
    files_of,
    leave_as_killed,
    new_daemon,
    settled,
    supervise,
    until,
)
from tests.specs import attempt_spec, node_settings
from tests.specs import event_of as event


@pytest.mark.parametrize("fault", ["full", "locked", "error:EIO"])
def test_an_end_that_cannot_be_recorded_frees_the_device_and_is_recorded_later(
    daemon: Parts, fault: str
) -> None:
    job = begin(daemon)

    async def work() -> None:
        failpoints.arm(f"attempts.exited.commit={fault}*2")
        daemon.attempts.on_event(event(job, "exited", exit=FAILED))
        assert daemon.store.job(job.id).state is State.RUNNING
        assert daemon.snapshots.allocations() == []
        assert "its attempt has ended is not recorded yet" in daemon.cache.troubles[job.id]
        await settled(daemon, job.id, State.FAILED)
        assert daemon.cache.troubles == {} and daemon.cache.released == set()

    run(daemon, work)


def test_what_comes_while_an_earlier_event_waits_keeps_its_order(daemon: Parts) -> None:
    job = begin(daemon, State.STARTING)

    async def work() -> None:
        failpoints.arm("attempts.started.commit=full*1")
        daemon.attempts.on_event(event(job, "started", pid=7, at="2026-01-01T00:00:00Z"))
        daemon.attempts.on_event(event(job, "warning", message="soon"))
        daemon.attempts.on_event(event(job, "exited", exit=FAILED))
        await settled(daemon, job.id, State.FAILED)

    run(daemon, work)
    story = [(e.kind, e.to_state) for e in daemon.store.events(job.id)][2:]
    assert story == [
        ("state", State.RUNNING),
        ("warning", None),
        ("state", State.COMPLETING),
        ("state", State.FAILED),
    ]


def test_a_locked_store_does_not_stop_the_event_loop(daemon: Parts) -> None:
    job = begin(daemon, State.STARTING)

    async def work() -> None:
        other = sqlite3.connect(daemon.paths.database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        daemon.attempts.on_event(event(job, "started", pid=7, at="2026-01-01T00:00:00Z"))
        assert time.monotonic() - began < 2
        assert daemon.store.job(job.id).state is State.STARTING
        other.execute("ROLLBACK")
        other.close()
        await settled(daemon, job.id, State.RUNNING)

    run(daemon, work)


@pytest.mark.parametrize("point", ["attempts.finish.commit", "attempts.requeue.commit"])
def test_a_step_after_the_end_that_fails_is_tried_again(daemon: Parts, point: str) -> None:
    job = begin(daemon)
    record = {**FAILED, **({"stopped_for": "preempt"} if "requeue" in point else {})}

    async def work() -> Job:
        failpoints.arm(f"{point}=full*1")
        daemon.attempts.on_event(event(job, "exited", exit=record))
        return await settled(daemon, job.id, State.FAILED, State.PENDING)

    assert run(daemon, work).state is (State.PENDING if "requeue" in point else State.FAILED)


def test_a_start_that_nobody_has_answered_is_asked_about(daemon: Parts) -> None:
    """The cluster is away: the attempt is revoked, and its job waits again, with all its retries."""
    job = begin(daemon, State.STARTING)

    async def work() -> Job:
        daemon.attempts.launch(job)
        return await settled(daemon, job.id, State.PENDING)

    found = run(daemon, work)
    assert (found.retries_used, found.message) == (0, "the start was interrupted")
    assert files_of(daemon, job).claim.read_text() == "revoked"


def test_a_stop_that_finds_nobody_is_followed_up(daemon: Parts) -> None:
    job = begin(daemon)
    leave_as_killed(daemon, job)

    async def work() -> Job:
        await daemon.jobs.cancel_one(job, "a")
        return await settled(daemon, job.id, State.CANCELLED)

    run(daemon, work)


def test_cancelling_ends_a_live_attempt_though_ray_is_away(daemon: Parts) -> None:
    job = begin(daemon)
    supervisor = supervise(daemon, job)

    async def work() -> None:
        await daemon.jobs.cancel_one(job, "a")
        await asyncio.to_thread(supervisor.wait, 20)
        daemon.attempts._inquiries.begin(daemon.cache.jobs[job.id])
        await settled(daemon, job.id, State.CANCELLED)

    run(daemon, work)


def test_a_requeue_is_remembered_by_the_next_daemon(daemon: Parts) -> None:
    """The one that was asked has died between its commit and telling the trainer."""
    job = begin(daemon)
    supervisor = supervise(daemon, job)
    daemon.store.note_requeue(job.id, "a")

    async def work() -> Job:
        await daemon.attempts.recover(daemon.node_name)
        await asyncio.to_thread(supervisor.wait, 20)
        daemon.attempts._inquiries.begin(job)
        return await settled(daemon, job.id, State.PENDING)

    assert run(daemon, work).message == "attempt 1 was stopped: requeued by a"


def test_cancelling_leads_out_of_a_collection_that_cannot_go_on(daemon: Parts) -> None:
    job = begin(daemon)

    async def work() -> Job:
        daemon.attempts.on_event(event(job, "exited", exit=DONE))
        await until(lambda: "its end cannot be recorded yet" in daemon.cache.troubles.get(job.id, ""))
        assert daemon.store.job(job.id).state is State.COMPLETING
        daemon.shutdown.begin(StopMode.CANCEL, "a")
        await asyncio.wait_for(daemon.shutdown.ended.wait(), 20)
        return daemon.store.job(job.id)

    found = run(daemon, work)
    assert (found.state, found.reason) == (State.CANCELLED, Reason.CANCELLED_BY_USER)
    assert found.message.startswith("cancelled by a; its results were not collected: ")


def test_results_whose_directory_is_gone_are_refused_for_good(daemon: Parts) -> None:
    job = begin(daemon)
    assert job.current is not None
    agent = NodeAgent(node_settings(daemon.paths.root, name=daemon.node_name, state_id="x"))
    with pytest.raises(RefusedResultError, match="another attempt"):
        list(agent.collect(AttemptKey(job.id, 1, "another"), 1 << 20))
    shutil.rmtree(daemon.paths.job(job.id).root)
    with pytest.raises(RefusedResultError, match="attempt-1 is gone"):
        list(agent.collect(AttemptKey(job.id, 1, job.current.nonce), 1 << 20))
    shutil.rmtree(daemon.paths.spool)
    with pytest.raises(MachineError, match="mounted"):
        list(agent.collect(AttemptKey(job.id, 1, job.current.nonce), 1 << 20))


def test_a_node_is_admitted_whatever_failed_before(daemon: Parts) -> None:
    """Of all that may fail, its probe does here: the cluster is away."""

    async def work() -> None:
        failpoints.arm("node.admit=error:EIO*1")
        daemon.admission.on_node(NodeReported(daemon.node_name, NodeStatus.OK, ""))
        await until(lambda: daemon.nodes.known[0].status is NodeStatus.DOWN)
        assert "it cannot be used yet: [Errno 5]" in daemon.nodes.known[0].message
        await until(
            lambda: daemon.nodes.known[0].status is not NodeStatus.DOWN or "not up" in str(daemon.nodes.known)
        )
        daemon.tasks.close()

    run(daemon, work)


def test_a_supervisor_waits_for_room_to_write_how_it_ended(daemon: Parts) -> None:
    """It holds its lock meanwhile, so that nobody believes that it was killed."""
    job = begin(daemon)
    supervisor = supervise(
        daemon, job, "time.sleep(0.3)", GPUJOBS_FAILPOINTS="supervisor.exit=error:ENOSPC*1"
    )
    paths = files_of(daemon, job)
    deadline = time.monotonic() + 20
    while not (json.loads(paths.lock.read_text()).get("has_ended")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (report,) = asyncio.run(reconciled(daemon, job))
    assert (report.status, report.exit) == (AttemptStatus.RUNNING, None)
    assert supervisor.wait(20) == 0
    (report,) = asyncio.run(reconciled(daemon, job))
    assert report.status is AttemptStatus.ENDED
    assert report.exit is not None and report.exit.reason is Reason.TRAINING_ERROR


async def reconciled(daemon: Parts, job: Job) -> tuple[Report, ...]:
    return await daemon.attempts._reconciliation.ask([job])


@pytest.mark.parametrize("name", ["record", "claim", "spec", "progress", "log"])
def test_a_live_attempt_goes_on_whatever_happens_to_its_files(daemon: Parts, name: str) -> None:
    job = begin(daemon)
    supervisor = supervise(daemon, job)
    getattr(files_of(daemon, job), name).unlink(missing_ok=True)

    async def work() -> Job:
        await daemon.attempts.recover(daemon.node_name)
        assert supervisor.poll() is None
        assert daemon.store.job(job.id).state is State.RUNNING
        await daemon.attempts.stop(job, StopReason.PREEMPT, "room")
        await asyncio.to_thread(supervisor.wait, 20)
        daemon.attempts._inquiries.begin(job)
        return await settled(daemon, job.id, State.PENDING)

    assert run(daemon, work).message == "attempt 1 was stopped: room"


def test_a_copy_of_the_state_directory_leaves_the_originals_trainers_alone(
    daemon: Parts, tmp_path: Path
) -> None:
    job = begin(daemon)
    supervisor = supervise(daemon, job)
    trainer = json.loads(files_of(daemon, job).record.read_text())["trainer"]["pid"]
    shutil.copytree(daemon.paths.root, tmp_path / "copy")
    copy = new_daemon(tmp_path / "copy")

    async def work() -> Job:
        await copy.jobs.cancel_one(job, "a")
        return await settled(copy, job.id, State.CANCELLED)

    run(copy, work)
    copy.store.close()
    assert is_alive(trainer) and supervisor.poll() is None
    (report,) = asyncio.run(reconciled(daemon, job))
    assert report.status is AttemptStatus.RUNNING
    supervisor.terminate()
    supervisor.wait(20)


def test_a_directory_that_is_moved_keeps_its_id_and_one_that_is_copied_does_not(tmp_path: Path) -> None:
    path = tmp_path / "a/identity.json"
    path.parent.mkdir()
    first = state_id(path)
    assert state_id(path) == first
    path.parent.rename(tmp_path / "b")
    assert state_id(tmp_path / "b/identity.json") == first
    shutil.copytree(tmp_path / "b", tmp_path / "c")
    assert state_id(tmp_path / "c/identity.json") != first
    path = tmp_path / "b/identity.json"
    path.write_bytes(b"")
    assert state_id(path) != first


def test_a_trainer_that_no_job_knows_is_found_told_of_and_can_be_ended(daemon: Parts, tmp_path: Path) -> None:
    job = begin(daemon)
    supervisor = supervise(daemon, job)
    for file in daemon.paths.root.glob("gpujobs.db*"):
        file.rename(tmp_path / file.name)
    other = new_daemon(daemon.paths.root)

    async def work() -> list[dict[str, Any]]:
        return await doctor._strays(other.site)

    (check,) = run(other, work)
    assert check["ok"] is False
    assert "job 1, attempt 1 of somebody, begun" in check["message"]
    assert f"`kill {supervisor.pid}` ends it" in check["message"]
    new = begin_again(other)
    assert "is in use: attempt-1 lives" in new
    os.kill(supervisor.pid, signal.SIGTERM)
    supervisor.wait(20)
    assert run(other, work) == []
    assert begin_again(other) == ""
    assert (other.paths.spool / "jobs/1.other/attempt-1/exit.json").exists()
    other.store.close()
    nothing = dict.fromkeys(("user", "device", "supervisor", "trainer", "started_at"))
    assert "unknown" in describe_stray(Stray(job="1", attempt="1", **nothing))


def begin_again(daemon: Parts) -> str:
    """Why the first attempt of a new job 1 cannot be made; empty where it can."""
    from gpujobs.node import attempts

    try:
        attempts.make(daemon.paths.job(1), attempt_spec(nonce="1" * 32))
    except attempts.OccupiedError as error:
        return str(error)
    return ""


def test_attempts_of_a_machine_that_has_another_name_since_are_asked_for(daemon: Parts) -> None:
    job = begin(daemon)
    leave_as_killed(daemon, job)
    with sqlite3.connect(daemon.paths.database) as other:
        other.execute("UPDATE attempts SET node = 'old-name'")
    other.close()
    daemon.cache.put(daemon.store.job(job.id))

    async def work() -> None:
        await daemon.jobs.cancel_one(daemon.store.job(job.id), "a")
        await settled(daemon, job.id, State.CANCELLED)

    run(daemon, work)
