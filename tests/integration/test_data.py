"""Uploaded data that is damaged or gone is noticed and replaced, and jobs that wait for it say so. The daemon's parts,
its socket and the client are real; Ray is not started."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gpujobs import failpoints
from gpujobs.cli.commands.submit import submit
from gpujobs.client import Client, connect
from gpujobs.config.settings import Settings
from gpujobs.daemon.daemon import Daemon
from gpujobs.errors import GpujobsError, MachineError
from gpujobs.linux import durable
from gpujobs.model import Caller, Reason, State
from tests.acceptance.harness import write_job
from tests.integration.served import while_served

ME = Caller(uid=os.geteuid(), gid=os.getegid(), pid=os.getpid(), user="me", is_admin=True)


def queue(client: Client, root: Path, *names: str) -> list[int]:
    files = tuple(str(write_job(root, name)) for name in names)
    return [job["id"] for job in submit(client, files, ())]


def stored(settings: Settings) -> Path:
    (path,) = (settings.state_dir / "spool/data").glob("*/*")
    return path


def swap_a_byte(path: Path) -> None:
    """As a disk does that has gone bad: the size is the same."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)


def no_file(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "empty": lambda path: os.truncate(path, 0),
    "cut": lambda path: os.truncate(path, path.stat().st_size - 1),
    "a directory": no_file,
    "a link": lambda path: (path.unlink(), path.symlink_to("/etc/passwd")),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_submitting_again_replaces_what_is_damaged(settings: Settings, root: Path, kind: str) -> None:
    while_served(settings, lambda client, _: queue(client, root, "first"))
    original = (root / "tutorial.npz").read_bytes()
    path = stored(settings)
    DAMAGE[kind](path)
    while_served(settings, lambda client, _: queue(client, root, "second"))
    assert path.read_bytes() == original and not path.is_symlink()


def test_what_a_job_could_not_use_is_hashed_before_it_is_said_to_be_there(
    settings: Settings, root: Path
) -> None:
    (job,) = while_served(settings, lambda client, _: queue(client, root, "first"))
    path = stored(settings)
    swap_a_byte(path)
    while_served(settings, lambda client, _: queue(client, root, "second"))
    assert path.read_bytes() != (root / "tutorial.npz").read_bytes(), "its size says nothing"
    with sqlite3.connect(settings.state_dir / "gpujobs.db") as connection:
        ended = (State.FAILED, Reason.DATA_ERROR, "2999-01-01T00:00:00.000000Z", job)
        connection.execute("UPDATE jobs SET state = ?, reason = ?, ended_at = ? WHERE id = ?", ended)
    connection.close()
    while_served(settings, lambda client, _: queue(client, root, "third"))
    assert path.read_bytes() == (root / "tutorial.npz").read_bytes()


def test_a_waiting_job_whose_data_is_gone_says_so_and_goes_on_when_it_is_back(
    settings: Settings, root: Path
) -> None:
    (job,) = while_served(settings, lambda client, _: queue(client, root, "first"))
    stored(settings).unlink()

    def look(client: Client, _: Daemon) -> Any:
        before = client.get(f"/v1/jobs/{job}")
        queue(client, root, "second")
        return before, client.get(f"/v1/jobs/{job}")

    before, after = while_served(settings, look)
    assert before["job"]["held"] and before["job"]["message"].startswith(
        "its data file tutorial.npz is no longer in the spool"
    )
    assert not after["job"]["held"] and "tutorial.npz" not in after["job"]["message"]
    kinds = [event["kind"] for event in after["events"]]
    assert kinds == ["submitted", "warning", "held", "released"]


def test_jobs_whose_spool_was_not_mounted_at_one_start_go_on_with_the_next(
    settings: Settings, root: Path
) -> None:
    def two(client: Client, _: Daemon) -> tuple[int, int]:
        (waits,), (held,) = queue(client, root, "first"), queue(client, root, "second")
        client.post("/v1/jobs/hold", {"ids": [held]})
        return waits, held

    def are_held(client: Client, _: Daemon) -> tuple[bool, ...]:
        return tuple(client.get(f"/v1/jobs/{job}")["job"]["held"] for job in jobs)

    jobs = while_served(settings, two)
    file = stored(settings)
    file.rename(root / "away")
    assert while_served(settings, are_held) == (True, True)
    (root / "away").rename(file)
    assert while_served(settings, are_held) == (False, True)


def test_a_job_that_its_user_holds_stays_held_when_its_data_is_back(settings: Settings, root: Path) -> None:
    def hold(client: Client, _: Daemon) -> int:
        (job,) = queue(client, root, "first")
        client.post("/v1/jobs/hold", {"ids": [job]})
        return job

    job = while_served(settings, hold)
    stored(settings).unlink()

    def look(client: Client, daemon: Daemon) -> bool:
        queue(client, root, "second")
        return bool(client.get(f"/v1/jobs/{job}")["job"]["held"])

    assert while_served(settings, look)


def test_no_job_is_started_whose_data_has_just_gone(settings: Settings, root: Path) -> None:
    def look(client: Client, daemon: Daemon) -> int:
        return queue(client, root, "first")[0]

    job = while_served(settings, look)

    async def ask() -> tuple[bool, bool]:
        daemon = Daemon(settings)
        whole = daemon.lacking.may_start(job)
        stored(settings).unlink()
        gone = daemon.lacking.may_start(job)
        daemon.store.close()
        return whole, gone

    assert asyncio.run(ask()) == (True, False)


def test_the_name_of_what_was_uploaded_is_on_disk_before_it_is_acknowledged(
    settings: Settings, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    whole = durable.sync_directory
    monkeypatch.setattr(durable, "sync_directory", lambda path: (synced.append(path.name), whole(path))[1])
    while_served(settings, lambda client, _: queue(client, root, "first"))
    assert [name for name in synced if name in ("data", str(ME.uid))] == ["data", str(ME.uid)]


def test_an_upload_that_cannot_be_kept_is_refused_and_leaves_nothing(settings: Settings, root: Path) -> None:
    def work(client: Client, daemon: Daemon) -> list[int]:
        for fault in ("data.rename=error:ENOSPC", "data.commit=error:EIO", "store.commit=full*1"):
            failpoints.arm(fault)
            with pytest.raises(MachineError, match=r"cannot be (stored|written)"):
                queue(client, root, "refused")
            failpoints.arm("")
        return queue(client, root, "kept")

    try:
        assert while_served(settings, work) == [1]
    finally:
        failpoints.arm("")
    assert [path.name for path in stored(settings).parent.iterdir()] == [stored(settings).name]


@pytest.mark.parametrize("first", ["data", "jobs"])
def test_a_submission_waits_for_a_store_that_another_program_has_locked(
    settings: Settings, root: Path, first: str
) -> None:
    """Its data is stored as soon as the store can be written, and so are its jobs."""

    def work(client: Client, daemon: Daemon) -> list[int]:
        if first == "jobs":
            queue(client, root, "before")
        other = sqlite3.connect(daemon.paths.database, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(1.0, lambda: (other.execute("ROLLBACK"), other.close()))
        timer.start()
        queued = queue(client, root, "waits")
        timer.join()
        return queued

    assert len(while_served(settings, work)) == 1


ASKED = {
    "cancel": lambda client, job: client.post("/v1/jobs/cancel", {"ids": [job]}),
    "hold": lambda client, job: client.post("/v1/jobs/hold", {"ids": [job]}),
    "prioritize": lambda client, job: client.post("/v1/jobs/prioritize", {"ids": [job], "priority": -2}),
    "limit": lambda client, job: client.post("/v1/jobs/limit", {"ids": [job], "limit_seconds": 60}),
}


def locked_for(daemon: Daemon, seconds: float) -> threading.Timer:
    other = sqlite3.connect(daemon.paths.database, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(seconds, lambda: (other.execute("ROLLBACK"), other.close()))
    timer.start()
    return timer


def test_changes_of_jobs_wait_for_a_store_that_another_program_has_locked(
    settings: Settings, root: Path
) -> None:
    """Each is done once, as the history says."""

    def work(client: Client, daemon: Daemon) -> dict[str, list[str]]:
        jobs = queue(client, root, *ASKED)
        timer = locked_for(daemon, 1.5)
        with ThreadPoolExecutor() as asking:
            clients = [connect([settings.socket]) for _ in jobs]
            answers = [
                asking.submit(ask, one, job)
                for ask, one, job in zip(ASKED.values(), clients, jobs, strict=True)
            ]
        for one in clients:
            one.close()
        timer.join()
        assert [answer.result()["jobs"][0]["id"] for answer in answers] == jobs
        return {
            verb: [event["kind"] for event in client.get(f"/v1/jobs/{job}")["events"]][1:]
            for verb, job in zip(ASKED, jobs, strict=True)
        }

    assert while_served(settings, work) == {
        "cancel": ["state"], "hold": ["held"], "prioritize": ["prioritized"], "limit": ["limited"]
    }  # fmt: skip


def test_a_personal_daemon_has_no_shares(settings: Settings, root: Path) -> None:
    def work(client: Client, daemon: Daemon) -> list[Any]:
        queue(client, root, "mine")
        return [client.get(f"/v1/{what}")["share"] for what in ("queue", "info")]

    assert while_served(settings, work) == [None, None]


def test_a_requeue_under_a_locked_store_makes_one_copy(settings: Settings, root: Path) -> None:
    def work(client: Client, daemon: Daemon) -> Any:
        (job,) = queue(client, root, "again")
        client.post("/v1/jobs/cancel", {"ids": [job]})
        timer = locked_for(daemon, 1.0)
        (copy,) = client.post("/v1/jobs/requeue", {"ids": [job]})["jobs"]
        timer.join()
        return job, copy["id"], [one["id"] for one in client.get("/v1/jobs", all=True)["jobs"]]

    job, copy, there = while_served(settings, work)
    assert sorted(there) == [job, copy]


def test_what_keeps_the_store_locked_for_ever_is_said(
    settings: Settings, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(client: Client, daemon: Daemon) -> None:
        (job,) = queue(client, root, "waits")
        monkeypatch.setattr("gpujobs.daemon.patience.while_locked.__defaults__", (0.3,))
        timer = locked_for(daemon, 2.0)
        with pytest.raises(GpujobsError, match="locked"):
            client.post("/v1/jobs/cancel", {"ids": [job]})
        timer.join()
        assert client.get(f"/v1/jobs/{job}")["job"]["state"] == "PENDING"

    while_served(settings, work)
