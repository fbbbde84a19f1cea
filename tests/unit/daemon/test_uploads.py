"""Room for data: what gives way, and what does not. A real store on a real disk."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpujobs.config.site import Quotas
from gpujobs.daemon.jobs import uploads
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.jobs.uploads import Uploads
from gpujobs.daemon.writer import StoreWriter
from gpujobs.demand import Demand
from gpujobs.errors import MachineError, UsageError
from gpujobs.lifecycle import Finish
from gpujobs.model import Caller, Reason, State
from gpujobs.paths import StatePaths
from gpujobs.store.records import DataReference, NewJob
from gpujobs.store.store import Store
from tests.unit.store.jobs import complete


def writer(store: Store) -> StoreWriter:
    return StoreWriter(store, JobCache([]))


ALICE = Caller(uid=1000, gid=1000, pid=1, user="alice")
BOB = 1001


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    return StatePaths(tmp_path)


@pytest.fixture
def store(paths: StatePaths) -> Iterator[Store]:
    opened = Store(paths.database)
    yield opened
    opened.close()


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is fresh: all that is stored was stored before."""
    monkeypatch.setattr(uploads, "FRESH", -uploads.FRESH)


def keep(store: Store, paths: StatePaths, letter: str, size: int, uid: int = ALICE.uid) -> Path:
    path = paths.data(uid, letter * 64)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    store.uploads.add(uid, letter * 64, size)
    return path


def use(store: Store, letter: str) -> int:
    data = (DataReference("d.npz", letter * 64, 1),)
    job = NewJob("j", "j.yaml", "", {}, Demand(), False, 0, None, data)
    return store.submit(ALICE, f"key-{letter}", [job])[0].id


def test_what_no_job_uses_makes_way_the_oldest_first(store: Store, paths: StatePaths, old: None) -> None:
    first, used, third = (keep(store, paths, letter, 40) for letter in "abc")
    use(store, "b")
    with Uploads(store, writer(store), paths, Quotas(data=130, free_disk=0)).room(ALICE.uid, 40):
        assert (first.exists(), used.exists(), third.exists()) == (False, True, True)
        assert not store.uploads.has(ALICE.uid, "a" * 64)


def test_what_jobs_use_stays_and_the_upload_is_refused(store: Store, paths: StatePaths, old: None) -> None:
    kept = [keep(store, paths, letter, 40) for letter in "ab"]
    job = use(store, "a")
    room = Uploads(store, writer(store), paths, Quotas(data=100, free_disk=0))
    with pytest.raises(UsageError, match=r"above the .* of each user"), room.room(ALICE.uid, 70):
        pass
    assert all(path.exists() for path in kept)
    store.cancel_pending(job, "alice", Finish(State.CANCELLED, Reason.CANCELLED_BY_USER, ""))
    with room.room(ALICE.uid, 70):
        assert not any(path.exists() for path in kept)


def test_what_has_just_come_belongs_to_a_submission_on_its_way(store: Store, paths: StatePaths) -> None:
    keep(store, paths, "a", 60)
    with (
        pytest.raises(UsageError, match="use the data in_place"),
        Uploads(store, writer(store), paths, Quotas(data=100, free_disk=0)).room(ALICE.uid, 60),
    ):
        pass


def test_uploads_under_way_count(store: Store, paths: StatePaths) -> None:
    room = Uploads(store, writer(store), paths, Quotas(data=100, free_disk=0))
    paths.spool.mkdir()
    with room.room(ALICE.uid, 60):
        with pytest.raises(UsageError), room.room(ALICE.uid, 60):
            pass
        with room.room(BOB, 60):
            pass
    with room.room(ALICE.uid, 60):
        pass


def test_the_disk_keeps_a_reserve(store: Store, paths: StatePaths) -> None:
    paths.spool.mkdir()
    with (
        pytest.raises(MachineError, match="must stay free"),
        Uploads(store, writer(store), paths, Quotas(data=1 << 60, free_disk=1 << 60)).room(ALICE.uid, 1),
    ):
        pass


def test_of_the_disk_what_is_under_way_is_no_longer_free(
    store: Store, paths: StatePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever's it is: the disk is everybody's."""
    paths.spool.mkdir()
    disk = shutil.disk_usage(paths.spool)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk)
    room = Uploads(store, writer(store), paths, Quotas(data=1000, free_disk=30))
    with room.room(BOB, 40):
        with pytest.raises(MachineError, match="must stay free"), room.room(ALICE.uid, 31):
            pass
        with room.room(ALICE.uid, 30):
            pass
    with room.room(ALICE.uid, 70):
        pass


def test_a_personal_daemon_has_no_quotas(store: Store, paths: StatePaths) -> None:
    with Uploads(store, writer(store), paths, None).room(ALICE.uid, 1 << 60):
        pass


def test_what_a_killed_daemon_has_left_of_an_upload_is_removed(store: Store, paths: StatePaths) -> None:
    whole = keep(store, paths, "a", 10)
    partial = whole.with_name(f"{uploads.PARTIAL}xyz")
    partial.write_bytes(b"half")
    Uploads(store, writer(store), paths, None).remove_partial()
    assert (whole.exists(), partial.exists()) == (True, False)


def test_who_knows_a_hash_has_not_uploaded_the_data(store: Store, paths: StatePaths) -> None:
    keep(store, paths, "a", 10)
    room = Uploads(store, writer(store), paths, None)
    assert (room.has(ALICE.uid, "a" * 64), room.has(BOB, "a" * 64)) == (True, False)
    assert (room.is_here(ALICE.uid, "a" * 64), room.is_here(BOB, "a" * 64)) == (True, False)


@pytest.mark.parametrize(("reason", "is_asked_for"), [(Reason.DATA_ERROR, True), (Reason.NAN_LOSS, False)])
def test_of_the_right_size_is_believed_until_a_job_finds_an_error_in_it(
    store: Store, paths: StatePaths, reason: Reason, is_asked_for: bool
) -> None:
    """The file has other bytes than its hash says, as after a fault of the disk."""
    path = keep(store, paths, "a", 10)
    room = Uploads(store, writer(store), paths, None)
    asyncio.run(room.look(ALICE.uid, ["a" * 64]))
    assert path.exists() and room.has(ALICE.uid, "a" * 64)
    complete(store, use(store, "a"), Finish(State.FAILED, reason, ""))
    asyncio.run(room.look(ALICE.uid, ["a" * 64]))
    assert (path.exists(), room.has(ALICE.uid, "a" * 64)) == (not is_asked_for, not is_asked_for)


def test_data_that_are_as_they_came_stay_whatever_a_job_says(store: Store, paths: StatePaths) -> None:
    content = b"x" * 10
    sha256 = hashlib.sha256(content).hexdigest()
    path = paths.data(ALICE.uid, sha256)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    store.uploads.add(ALICE.uid, sha256, len(content))
    (job,) = store.submit(
        ALICE,
        "key",
        [NewJob("j", "j.yaml", "", {}, Demand(), False, 0, None, (DataReference("d.npz", sha256, 10),))],
    )
    complete(store, job.id, Finish(State.FAILED, Reason.DATA_ERROR, ""))
    room = Uploads(store, writer(store), paths, None)
    asyncio.run(room.look(ALICE.uid, [sha256]))
    assert path.exists() and room.has(ALICE.uid, sha256) and not store.uploads.is_suspect(ALICE.uid, sha256)


@pytest.mark.parametrize("what", ["uploaded again", "made way"])
def test_what_becomes_of_data_while_it_is_looked_at_counts(
    store: Store, paths: StatePaths, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """It is hashed beside the event loop, which takes long: another submission of the same user may have found it
    damaged and brought it again, or another upload may have needed its room."""
    sha256 = hashlib.sha256(b"x" * 10).hexdigest()
    path = paths.data(ALICE.uid, sha256)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"y" * 10 if what == "uploaded again" else b"x" * 10)
    store.uploads.add(ALICE.uid, sha256, 10)
    new = NewJob("j", "j.yaml", "", {}, Demand(), False, 0, None, (DataReference("d.npz", sha256, 10),))
    (job,) = store.submit(ALICE, "key", [new])
    complete(store, job.id, Finish(State.FAILED, Reason.DATA_ERROR, ""))
    room, hashed = Uploads(store, writer(store), paths, None), uploads._hash

    async def meanwhile(work: Callable[..., str | None], place: Path) -> str | None:
        found = hashed(place)
        path.unlink()
        store.uploads.forget(ALICE.uid, sha256)
        if what == "uploaded again":
            path.write_bytes(b"x" * 10)
            store.uploads.add(ALICE.uid, sha256, 10)
        return found

    monkeypatch.setattr(asyncio, "to_thread", meanwhile)
    asyncio.run(room.look(ALICE.uid, [sha256]))
    is_there = what == "uploaded again"
    assert (path.exists(), room.has(ALICE.uid, sha256)) == (is_there, is_there)


@pytest.mark.parametrize("kind", ["directory", "link", "shorter", "gone"])
def test_what_is_no_file_of_its_size_is_asked_for_again(store: Store, paths: StatePaths, kind: str) -> None:
    path = keep(store, paths, "a", 10)
    path.unlink()
    if kind == "directory":
        path.mkdir()
        store.uploads.add(ALICE.uid, "a" * 64, path.stat().st_size)
    elif kind == "link":
        other = path.with_name("other")
        other.write_bytes(b"x" * len(str(other)))
        path.symlink_to(other)
        store.uploads.add(ALICE.uid, "a" * 64, len(str(other)))
    elif kind == "shorter":
        path.write_bytes(b"x" * 9)
    room = Uploads(store, writer(store), paths, None)
    assert not room.is_here(ALICE.uid, "a" * 64)
    asyncio.run(room.look(ALICE.uid, ["a" * 64]))
    assert not path.exists() and not path.is_symlink() and not room.has(ALICE.uid, "a" * 64)
