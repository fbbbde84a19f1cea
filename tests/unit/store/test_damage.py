"""A damaged store is refused in words, and one that could not be synced is written no more."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gpujobs.errors import StoreError
from gpujobs.store import database
from gpujobs.store.store import Store

from .jobs import A, new_job


def full(path: Path) -> bytearray:
    store = Store(path)
    store.submit(A, "k", [new_job("n" * 90)] * 200)
    store.close()
    return bytearray(path.read_bytes())


def page(content: bytearray, number: int) -> slice:
    return slice(4096 * number, 4096 * (number + 1))


@pytest.mark.parametrize("what", ["a page of zeros", "a flipped pointer", "cut", "no database"])
def test_a_damaged_store_is_refused_with_what_to_do(tmp_path: Path, what: str) -> None:
    path = tmp_path / "s.db"
    content = full(path)
    with sqlite3.connect(path) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'jobs'").fetchone()
    connection.close()
    if what == "a page of zeros":
        content[page(content, root - 1)] = bytes(4096)
    elif what == "a flipped pointer":
        content[4096 * (root - 1) + 12] ^= 0x10
    elif what == "cut":
        del content[len(content) // 2 // 4096 * 4096 :]
    else:
        content[:16] = b"not a database.."
    path.write_bytes(content)
    with pytest.raises(
        StoreError, match=r"s\.db is damaged: .*`gpujobs restore DIR` puts a copy in its place"
    ):
        Store(path)


def test_a_word_that_no_job_can_have_is_said_too(tmp_path: Path) -> None:
    """SQLite finds nothing wrong with a letter that has changed."""
    path = tmp_path / "s.db"
    store = Store(path)
    store.submit(A, "k", [new_job()])
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE jobs SET share = 'private', reason = 'Qriority'")
    connection.close()
    again = Store(path)
    with pytest.raises(StoreError, match=r"the store is damaged, though SQLite reads it: 'Qriority'"):
        again.unfinished()
    again.close()


@pytest.mark.parametrize("change", ["at = '2026m11-26'", "to_state = 'PANDING'", "reason = x'ff'"])
def test_a_row_of_a_history_that_is_damaged_is_said(tmp_path: Path, change: str) -> None:
    path = tmp_path / "s.db"
    store = Store(path)
    (job,) = store.submit(A, "k", [new_job()])
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER events_are_append_only_update")
        connection.execute(f"UPDATE events SET {change}")
    connection.close()
    again = Store(path)
    with pytest.raises(StoreError, match="the store is damaged, though SQLite reads it"):
        again.events(job.id)
    again.close()


def test_after_an_fsync_that_failed_nothing_more_is_written(tmp_path: Path) -> None:
    """Trying again would be told that all is well, by a kernel that has dropped the pages."""
    store = Store(tmp_path / "s.db")
    failed = sqlite3.OperationalError("disk I/O error")
    failed.sqlite_errorname = "SQLITE_IOERR_FSYNC"
    with pytest.raises(StoreError, match="disk I/O error"), store.together():
        raise failed
    with pytest.raises(StoreError, match="nothing more is written until the daemon is started again"):
        store.submit(A, "k", [new_job()])
    assert store.counts() == {}, "it is still read"
    store.close()


def test_other_failures_are_tried_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.db")
    with pytest.raises(StoreError), store.together():
        raise sqlite3.OperationalError("database or disk is full")
    assert store.submit(A, "k", [new_job()])
    store.close()


def test_commits_are_synced_and_one_connection_writes_and_checkpoints(tmp_path: Path) -> None:
    """SQLite up to 3.51.2 can lose a commit when another connection checkpoints at the same moment."""
    connection = database.connect(tmp_path / "s.db")
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2, "FULL"
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert connection.execute("PRAGMA wal_autocheckpoint").fetchone()[0] > 0
    connection.close()
    users = [
        path.relative_to(Path(database.__file__).parents[1])
        for path in Path(database.__file__).parents[1].rglob("*.py")
        if "sqlite3.connect(" in path.read_text()
    ]
    assert sorted(map(str, users)) == [
        "daemon/files.py",  # reads where no daemon runs
        "store/backups.py",
        "store/database.py",
        "store/store.py",
    ]
