"""A power cut leaves files empty, halved or gone; people leave links and directories. Whatever is in the directory of
an attempt: it costs at most that attempt, its job goes on, and the node can be used."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpujobs.cluster.environment import make_token
from gpujobs.cluster.orphans import become_only_head
from gpujobs.cluster.restart import Ended, keep
from gpujobs.daemon.build import Parts
from gpujobs.model import Job, Reason, State
from gpujobs.node.agent import NodeAgent
from gpujobs.paths import AttemptPaths, StatePaths
from tests.integration.node import begin, files_of, leave_as_killed, new_daemon, settled
from tests.specs import node_settings


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Parts]:
    made = new_daemon(tmp_path / "s")
    yield made
    made.store.close()


def recover(daemon: Parts, job: Job, *states: State) -> Job:
    async def run() -> Job:
        await daemon.attempts.recover(daemon.node_name)
        found = await settled(daemon, job.id, *states)
        daemon.attempts.close()
        return found

    return asyncio.run(run())


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def into_directory(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()
    (path / "something").touch()


def into_link(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/etc/hostname")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "gone": lambda path: path.unlink(missing_ok=True),
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(b"\0" * 512),
    "halved": halve,
    "directory": into_directory,
    "link": into_link,
    "garbage": lambda path: path.write_bytes(b"\xff\xfe{]"),
    "list": lambda path: path.write_text("[1, 2]"),
    "other": lambda path: path.write_text('{"state": 7, "boot_id": [], "supervisor": 3, "epoch": "x"}'),
    "deep": lambda path: path.write_text("[" * 100_000),
}
FILES = ("spec", "claim", "lock", "record", "progress", "log", "exit", "stop")


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_costs_an_attempt_and_no_more(daemon: Parts, name: str) -> None:
    jobs = {damage: begin(daemon) for damage in DAMAGES}
    for damage, job in jobs.items():
        paths = leave_as_killed(daemon, job)
        paths.stop.write_text(json.dumps({"reason": "cancel", "message": ""}))
        if name == "exit":
            paths.exit.write_text(json.dumps(ended(paths, job)))
        DAMAGES[damage](getattr(paths, name))

    async def run() -> None:
        await daemon.attempts.recover(daemon.node_name)
        for job in jobs.values():
            await settled(daemon, job.id, State.PENDING)
        daemon.attempts.close()

    asyncio.run(run())
    for damage, job in jobs.items():
        assert daemon.store.attempts(job.id)[0].reason is Reason.SUPERVISOR_LOST, damage
        assert name != "record" or daemon.store.job(job.id).retries_used == 0, damage


@pytest.mark.parametrize("damage", ["empty", "directory", "link"])
def test_what_is_damaged_is_kept_aside_and_told_of(daemon: Parts, damage: str) -> None:
    job = begin(daemon)
    paths = leave_as_killed(daemon, job)
    DAMAGES[damage](paths.record)
    found = recover(daemon, job, State.PENDING)
    assert found.retries_used == 0
    assert "damaged" in found.message
    kept = paths.record.with_name("record.json.damaged")
    assert kept.is_symlink() or kept.exists()
    (told,) = [event.message for event in daemon.store.events(job.id) if event.kind == "damaged"]
    assert told.startswith("record.json ") and "record.json.damaged" in told


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING])
@pytest.mark.parametrize(
    "what", ["attempt gone", "attempt a file", "attempt a link", "job gone", "spool gone"]
)
def test_directories_that_are_gone(daemon: Parts, state: State, what: str) -> None:
    job = begin(daemon, state)
    paths = files_of(daemon, job)
    if what.startswith("attempt"):
        shutil.rmtree(paths.root)
    if what == "attempt a file":
        paths.root.write_text("")
    if what == "attempt a link":
        paths.root.symlink_to("/etc")
    if what == "job gone":
        shutil.rmtree(paths.root.parent)
    if what == "spool gone":
        shutil.rmtree(daemon.paths.spool)
    found = recover(daemon, job, State.PENDING)
    assert found.retries_used == 0
    expected = Reason.RETRY if state is State.STARTING else Reason.SUPERVISOR_LOST
    assert daemon.store.attempts(job.id)[0].reason is expected


def test_a_claim_that_a_power_cut_has_taken_is_no_illegal_step(daemon: Parts) -> None:
    """The store says RUNNING, the node that it never started."""
    job = begin(daemon)
    leave_as_killed(daemon, job).claim.unlink()
    found = recover(daemon, job, State.PENDING)
    assert "nothing is left of the attempt" in found.message
    assert found.retries_used == 0


def test_a_supervisor_that_was_killed_beside_its_files_costs_a_retry(daemon: Parts) -> None:
    job = begin(daemon)
    leave_as_killed(daemon, job)
    assert recover(daemon, job, State.PENDING).retries_used == 1


def test_a_restarted_machine_costs_no_retry(daemon: Parts) -> None:
    job = begin(daemon)
    leave_as_killed(daemon, job, boot_id="another")
    found = recover(daemon, job, State.PENDING)
    assert (found.retries_used, found.message) == (0, "attempt 1 was lost: the machine was restarted")


def test_one_damaged_attempt_does_not_keep_another_from_being_heard_of(daemon: Parts) -> None:
    jobs = [begin(daemon) for _ in range(3)]
    paths = [leave_as_killed(daemon, job) for job in jobs]
    into_directory(paths[0].record)
    shutil.rmtree(paths[1].root.parent)
    paths[2].exit.write_text(json.dumps(ended(paths[2], jobs[2])))

    async def run() -> None:
        await daemon.attempts.recover(daemon.node_name)
        await settled(daemon, jobs[0].id, State.PENDING)
        await settled(daemon, jobs[1].id, State.PENDING)
        await settled(daemon, jobs[2].id, State.OUT_OF_MEMORY)
        daemon.attempts.close()

    asyncio.run(run())


def ended(paths: AttemptPaths, job: Job) -> dict[str, object]:
    assert job.current is not None
    return {
        "job": job.id,
        "attempt": 1,
        "nonce": job.current.nonce,
        "state": "OUT_OF_MEMORY",
        "reason": "HostOutOfMemory",
        "message": "x",
        "exit": {"code": 1, "signal": None},
        "ended_at": "2026-01-01T00:00:00Z",
        "progress": None,
    }


@pytest.mark.parametrize(
    "change",
    [
        {"state": "RUNNING"},
        {"state": "DONE"},
        {"reason": "Because"},
        {"exit": None},
        {"exit": {"code": "1"}},
        {"ended_at": "yesterday"},
        {"ended_at": "2026-01-01T00:00:00"},
        {"progress": {"loss": "0.5"}},
        {"progress": [1]},
        {"message": 7},
        {"stopped_for": "fun"},
    ],
    ids=str,
)
def test_an_exit_record_of_another_shape_is_none(daemon: Parts, change: dict[str, object]) -> None:
    job = begin(daemon)
    paths = leave_as_killed(daemon, job)
    paths.exit.write_text(json.dumps({**ended(paths, job), **change}))
    recover(daemon, job, State.PENDING)
    assert paths.exit.with_name("exit.json.damaged").exists()
    assert daemon.store.attempts(job.id)[0].reason is Reason.SUPERVISOR_LOST


def test_what_another_attempt_of_this_number_has_left_is_not_believed(daemon: Parts) -> None:
    """A store that was restored from a copy gives numbers again."""
    job = begin(daemon, State.STARTING)
    paths = leave_as_killed(daemon, job)
    spec = json.loads(paths.spec.read_text())
    paths.spec.write_text(json.dumps({**spec, "nonce": "f" * 32}))
    paths.exit.write_text(json.dumps({**ended(paths, job), "nonce": "f" * 32}))
    found = recover(daemon, job, State.PENDING)
    assert found.message == "the start was interrupted"
    assert paths.root.with_name("attempt-1.other").is_dir()


def test_a_daemon_starts_whatever_is_in_the_place_of_its_own_files(tmp_path: Path) -> None:
    state = StatePaths(tmp_path / "s")
    state.run.mkdir(parents=True)
    for path in (state.lock, state.agent_socket, state.head_lock, state.ray_token, state.identity):
        into_directory(path)
    for path in (state.spool, state.results, state.ray):
        path.write_text("")
    made = new_daemon(state.root)
    make_token(state.ray_token)
    become_only_head(state.head_lock)

    async def run() -> None:
        agent = NodeAgent(node_settings(state.root))
        await agent.open()
        asyncio.get_running_loop().remove_reader(agent._following._socket)
        agent._following._socket.close()

    asyncio.run(run())
    made.store.close()
    assert (state.spool / "jobs").is_dir() and state.identity.is_file()
    assert state.spool.with_name("spool.damaged").is_file()


def test_a_process_that_cannot_be_started_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """As on a full disk, where its log cannot be opened."""
    tries: list[int] = []

    async def run() -> Ended:
        tries.append(1)
        raise OSError(28, "No space left on device")

    async def life() -> None:
        keeper = asyncio.create_task(keep("launcher", run))
        async with asyncio.timeout(20):
            while len(tries) < 2:
                await asyncio.sleep(0.01)
        keeper.cancel()

    asyncio.run(life())
    assert "it cannot be started: [Errno 28] No space left on device" in caplog.text
