"""What the store keeps from one step of a job's life to the next."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gpujobs.lifecycle import Requeue
from gpujobs.model import Job, Reason, State, utc_now
from gpujobs.store.database import connect
from gpujobs.store.store import Store
from tests.unit.store.jobs import DEVICE, A, new_job

AGAIN = Requeue(Reason.RETRY, "again", False)
ALONE = Requeue(Reason.RETRY, "out of memory", True, exclusive=True)


@pytest.fixture
def job(store: Store) -> int:
    (made,) = store.submit(A, "k", [new_job()])
    return made.id


def requeue(store: Store, job: int, step: Requeue = AGAIN) -> Job:
    attempt = store.start_attempt(job, DEVICE).attempt
    return store.requeue(job, attempt, step)


def test_a_commit_is_on_the_disk_before_it_is_acknowledged(tmp_path: Path) -> None:
    """FULL is 2 (sqlite.org/pragma.html#pragma_synchronous): with less, a power failure takes commits back."""
    connection = connect(tmp_path / "s.db")
    assert connection.execute("PRAGMA synchronous").fetchone()[0] >= 2
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert connection.execute("PRAGMA foreign_keys").fetchone()[0] == 1
    connection.close()


def test_all_of_the_store_is_the_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    """Which all threads of a process share: a mask that one changes and sets back stays changed when two do."""
    before = os.umask(0o022)
    try:
        store = connect(tmp_path / "s.db")
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        store.close()
        with ThreadPoolExecutor(8) as opening:
            stores = opening.map(lambda n: connect(tmp_path / f"{n}.db").close(), range(64))
            assert len(list(stores)) == 64
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("s.db", "s.db-wal", "s.db-shm"), 0o600)


def test_a_job_has_started_when_its_first_attempt_did(store: Store, job: int) -> None:
    first = store.start_attempt(job, DEVICE).started_at
    store.requeue(job, 1, AGAIN)
    again = store.start_attempt(job, DEVICE)
    assert again.current is not None and first is not None
    assert again.started_at == first < again.current.started_at


def test_a_job_that_is_to_be_alone_stays_so_when_it_goes_back_once_more(store: Store, job: int) -> None:
    assert requeue(store, job, ALONE).demand.exclusive
    assert requeue(store, job, AGAIN).demand.exclusive


def test_a_reservation_that_was_outgrown_is_a_larger_one_or_a_whole_device(store: Store, job: int) -> None:
    larger = store.set_reservation(job, 6 << 30)
    assert (larger.demand.gpu_memory, larger.demand.exclusive) == (6 << 30, False)
    alone = store.set_reservation(job, None)
    assert (alone.demand.gpu_memory, alone.demand.exclusive) == (6 << 30, True)


def test_an_attempt_that_has_reported_nothing_leaves_the_progress_of_the_one_before(
    store: Store, job: int
) -> None:
    progress = {"epoch": 3, "epochs": 9}
    for attempt, said in ((1, {"progress": progress}), (2, {})):
        store.start_attempt(job, DEVICE)
        store.mark_running(job, attempt, 99, utc_now())
        ended = store.mark_completing(job, attempt, {"state": "FAILED", **said})
        assert ended.progress == progress
        store.requeue(job, attempt, AGAIN)


def test_who_is_held_says_so_and_who_is_released_does_not(store: Store, job: int) -> None:
    held = store.set_held(job, True, "a")
    assert (held.held, held.reason) == (True, Reason.HELD)
    released = store.set_held(job, False, "a")
    assert (released.held, released.reason) == (False, Reason.NONE)


def test_a_retry_is_used_by_what_is_the_jobs_fault_alone(store: Store, job: int) -> None:
    assert requeue(store, job, AGAIN).retries_used == 0
    assert requeue(store, job, ALONE).retries_used == 1
    assert store.job(job).state is State.PENDING
