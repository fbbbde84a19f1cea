"""Which boxes have a job's data, as far as was heard; after a restart as far as the history says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.jobs.whereabouts import Whereabouts
from gpujobs.model import Caller, Device, DeviceKind, Job, utc_now
from gpujobs.protocol.boxes import Blob
from gpujobs.store.records import DataReference
from gpujobs.store.store import Store
from tests.unit.store.jobs import A, B, new_job

X, Y = "aa" * 32, "bb" * 32
HEAD = frozenset({"head"})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "s.db")


def submitted(store: Store, *hashes: str, in_place: str | None = None, caller: Caller = A) -> Job:
    data = tuple(DataReference(f"{one}.npz", one, 10, in_place) for one in hashes)
    key = f"{hashes} {in_place} {caller}"
    (job,) = store.submit(caller, key, [replace(new_job(), data=data)])
    return job


def known(store: Store, *jobs: Job, others: tuple[str, ...] = ()) -> Whereabouts:
    return Whereabouts(store, JobCache(jobs), "head", others)


def test_a_box_has_a_job_s_data_when_it_has_all_of_it(store: Store) -> None:
    one, both, none = submitted(store, X), submitted(store, X, Y), submitted(store)
    there = known(store, one, both, none)
    assert (there[one.id], there[both.id], there[none.id]) == (HEAD, HEAD, frozenset[str]())
    there.found("box2", [Blob(A.uid, X, 10)])
    there.found("box3", [Blob(A.uid, X, 10), Blob(A.uid, Y, 10)])
    assert (there[one.id], there[both.id]) == (HEAD | {"box2", "box3"}, HEAD | {"box3"})
    there.missed("box3", [Blob(A.uid, X, 10)])
    assert (there[one.id], there[both.id]) == (HEAD | {"box2"}, HEAD)


def test_the_same_bytes_of_another_user_are_other_data(store: Store) -> None:
    mine, others = submitted(store, X), submitted(store, X, caller=B)
    there = known(store, mine, others)
    there.found("box2", [Blob(A.uid, X, 10)])
    assert (there[mine.id], there[others.id]) == (HEAD | {"box2"}, HEAD)


def test_what_is_used_in_place_is_sent_nowhere(store: Store) -> None:
    assert known(store, job := submitted(store, X, in_place="/data/x.npz"))[job.id] == frozenset()


def test_after_a_restart_a_box_has_what_has_run_there(store: Store) -> None:
    ran, waits, failed = submitted(store, X), submitted(store, X, Y), submitted(store, Y)
    device = Device("box2", DeviceKind.CPU, 0, "CPU-box2-0", "cpu")
    attempt = store.start_attempt(ran.id, device).attempt
    store.mark_running(ran.id, attempt, 99, utc_now())
    store.start_attempt(failed.id, device)  # whose data may not have come yet
    assert known(store, ran, waits, failed, others=("box2", "box3"))[ran.id] == {"head", "box2"}
    assert known(store, ran, waits, failed, others=("box2", "box3"))[waits.id] == {"head"}
    assert known(store, ran, waits, failed)[ran.id] == {
        "head"
    }  # of a box that has not joined nothing is known
