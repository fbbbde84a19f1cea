"""Groups in the store, and databases that are older than they are."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from gpujobs.errors import UsageError
from gpujobs.lifecycle import Finish
from gpujobs.model import Reason, State
from gpujobs.store.database import migrations
from gpujobs.store.store import Store
from tests.unit.store.jobs import DEVICE, A, B, complete, new_job
from tests.unit.store.sweeps import sweep


def test_the_jobs_of_a_sweep_have_the_id_of_their_first(store: Store) -> None:
    jobs = store.submit(A, "k", [new_job("alone"), *sweep("a", 2, 1), *sweep("a", 3, 3)])
    assert [job.group_id for job in jobs] == [None, 2, 2, 4, 4, 4]
    assert [job.sweep_values for job in jobs[:3]] == [None, {"training.seed": 0}, {"training.seed": 1}]
    assert store.members(4) == jobs[3:]
    assert [job.group_id for job in store.submit(A, "k", sweep("a", 2))] == [None, 2, 2, 4, 4, 4]


def test_a_name_means_the_newest_group_of_the_same_user(store: Store) -> None:
    store.submit(A, "k1", sweep("a", 2))
    store.submit(A, "k2", sweep("a", 2))
    store.submit(B, "k1", sweep("a", 2))
    assert (store.newest_group(A.uid, "a"), store.newest_group(B.uid, "a")) == (3, 5)
    with pytest.raises(UsageError, match="'b' of yours does not exist"):
        store.newest_group(A.uid, "b")


def test_a_job_is_no_group_and_neither_is_its_later_member(store: Store) -> None:
    store.submit(A, "k", [new_job(), *sweep("a", 2, 1)])
    for number in (1, 3, 99):
        with pytest.raises(UsageError, match=f"group g{number} does not exist"):
            store.members(number)
    assert store.groups([1, 2, 3, 10**30]).keys() == {2}


def test_a_group_counts_its_jobs(store: Store) -> None:
    jobs = store.submit(A, "k", sweep("a", 5))
    complete(store, 1)
    store.start_attempt(2, DEVICE)
    store.cancel_pending(3, "a", Finish(State.CANCELLED, Reason.CANCELLED_BY_USER, ""))
    group = store.groups([1])[1]
    assert (group.id, group.name, group.user, group.size, group.ended) == (1, "a", "a", 5, 2)
    assert group.counts == {State.COMPLETED: 1, State.STARTING: 1, State.CANCELLED: 1, State.PENDING: 2}
    assert (group.state, group.ended_at) == (State.STARTING, None)
    assert group.submitted_at == jobs[0].submitted_at
    assert group.started_at == store.job(1).started_at
    for number in (4, 5):
        store.cancel_pending(number, "a", Finish(State.CANCELLED, Reason.CANCELLED_BY_USER, ""))
    store.mark_completing(2, 1, {"state": "COMPLETED"})
    store.finish(2, Finish(State.COMPLETED, Reason.NONE, ""), "/r")
    group = store.groups([1])[1]
    assert (group.state, group.ended_at) == (State.CANCELLED, store.job(2).ended_at)


def test_a_job_that_is_queued_again_joins_its_group(store: Store) -> None:
    store.submit(A, "k", sweep("a", 2))
    copy = replace(sweep("a", 1)[0], joins=1)
    assert [job.group_id for job in store.submit(A, "requeue", [copy])] == [1]
    assert store.groups([1])[1].size == 3


VERSION_1_JOBS = [
    # uid, request key, group, file: the group that each makes
    (1000, "k1", "a", "a.yaml", 1),
    (1000, "k1", "a", "a.yaml", 1),
    (1000, "k1", None, "b.yaml", None),
    (1000, "k1", "a", "other/a.yaml", 4),
    (1001, "k1", "a", "a.yaml", 5),
    (1000, "requeue-2-x", "a", "a.yaml", 1),
    (1000, "requeue-6-y", "a", "a.yaml", 1),
    (1000, "requeue-3-z", None, "b.yaml", None),
    (1000, "requeue-99-z", "a", "a.yaml", 9),
    (1000, "requeue-22-z", "a", "a.yaml", 10),
    (1000, "k2", "a", "a.yaml", 11),
]


@pytest.fixture
def version_1(tmp_path: Path) -> Path:
    """A database as the first gpujobs left it."""
    path = tmp_path / "old.db"
    connection = sqlite3.connect(path)
    number, script = migrations()[0]
    connection.executescript(f"{script}\nPRAGMA user_version = {number};")
    for index, (uid, key, group, file, _) in enumerate(VERSION_1_JOBS):
        connection.execute("INSERT INTO specs (path, source, resolved) VALUES (?, 'x', '{}')", (file,))
        connection.execute(
            "INSERT INTO jobs (uid, gid, user, request_key, request_index, name, sweep, spec, priority, held,"
            " retries, submitted_at) VALUES (?, 0, 'u', ?, ?, 'j', ?, ?, 0, 0, 1, '2026-01-01T00:00:00.000000Z')",
            (uid, key, index, group, index + 1),
        )
    connection.commit()
    connection.close()
    return path


def test_jobs_of_an_older_database_get_their_groups(version_1: Path) -> None:
    store = Store(version_1)
    try:
        jobs = store.unfinished()
        assert [job.group_id for job in jobs] == [expected for *_, expected in VERSION_1_JOBS]
        assert {job.sweep_values for job in jobs} == {None}
        assert store.newest_group(1000, "a") == 11
        (new, _) = store.submit(A, "k3", sweep("a", 2))
        assert new.group_id == new.id
    finally:
        store.close()


def test_a_migration_is_made_once_and_whole(version_1: Path) -> None:
    Store(version_1).close()
    Store(version_1).close()
    fresh = Store(version_1.with_name("new.db"))
    fresh.close()
    assert _schema(version_1) == _schema(version_1.with_name("new.db"))


def test_ten_thousand_old_jobs_migrate(version_1: Path) -> None:
    connection = sqlite3.connect(version_1)
    connection.executemany(
        "INSERT INTO jobs (uid, gid, user, request_key, request_index, name, sweep, spec, priority, held,"
        " retries, submitted_at) VALUES (1000, 0, 'u', 'many', ?, 'j', 'many', 1, 0, 0, 1, '2026-01-01')",
        [(index,) for index in range(10_000)],
    )
    connection.commit()
    connection.close()
    store = Store(version_1)
    try:
        assert store.groups([len(VERSION_1_JOBS) + 1])[len(VERSION_1_JOBS) + 1].size == 10_000
    finally:
        store.close()


def _schema(path: Path) -> str:
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()
        return json.dumps([connection.execute("PRAGMA user_version").fetchone(), *rows])
    finally:
        connection.close()


def test_of_what_was_queued_again_the_newest_counts(store: Store) -> None:
    store.submit(A, "k", sweep("a", 2))
    for number in (1, 2):
        store.cancel_pending(number, "a", Finish(State.CANCELLED, Reason.CANCELLED_BY_USER, ""))
    first, second = sweep("a", 2)
    store.submit(A, "again", [replace(first, joins=1, origin=1), replace(second, joins=1, origin=2)])
    assert (store.groups([1])[1].counts, store.groups([1])[1].ended_at) == ({State.PENDING: 2}, None)
    complete(store, 3)
    complete(store, 4, Finish(State.FAILED, Reason.SIGNAL, ""))
    store.submit(A, "once more", [replace(second, joins=1, origin=2)])
    complete(store, 5)
    group = store.groups([1])[1]
    assert (group.state, group.size, group.counts) == (State.COMPLETED, 2, {State.COMPLETED: 2})
    assert store.replaced([1, 2, 3, 4, 5]) == {1, 2, 4}
    assert [job.id for job in store.line_of(4)] == [2, 4, 5]


def test_copies_of_an_older_database_know_their_originals(version_1: Path) -> None:
    store = Store(version_1)
    try:
        assert {job.id: job.origin for job in store.unfinished() if job.origin} == {6: 2, 7: 2, 8: 3}
    finally:
        store.close()
