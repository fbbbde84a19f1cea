"""No number is given twice, whatever becomes of the store."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gpujobs.errors import StoreError
from gpujobs.model import utc_now
from gpujobs.paths import StatePaths
from gpujobs.store import numbers
from gpujobs.store.opening import open_store
from gpujobs.store.store import Store

from .jobs import DEVICE, A, new_job


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    paths = StatePaths(tmp_path)
    for directory in (paths.results, paths.spool / "jobs"):
        directory.mkdir(parents=True)
    return paths


def submit(store: Store, key: str, count: int = 1) -> list[int]:
    return [job.id for job in store.submit(A, key, [new_job()] * count)]


def copy_of(paths: StatePaths) -> Path:
    """As `cp` makes one of a store at rest."""
    with sqlite3.connect(paths.database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return Path(shutil.copy(paths.database, paths.root / "copy"))


def put_back(paths: StatePaths, copy: Path) -> None:
    for end in ("-wal", "-shm"):
        paths.database.with_name(paths.database.name + end).unlink(missing_ok=True)
    shutil.copy(copy, paths.database)


def lose(paths: StatePaths, *more: Path) -> None:
    for path in (*paths.root.glob("gpujobs.db*"), *more):
        path.unlink()


def test_after_an_ordinary_end_numbers_go_on_without_a_gap_or_a_word(paths: StatePaths) -> None:
    store, said = open_store(paths)
    assert said == [] and submit(store, "a", 3) == [1, 2, 3]
    store.close()
    again, said = open_store(paths)
    assert said == [] and submit(again, "b") == [4]
    again.close()


def test_after_a_kill_numbers_go_on_without_a_gap_or_a_word(paths: StatePaths) -> None:
    store, _ = open_store(paths)
    submit(store, "a", 3)
    store._connection.close()  # and no word to the mark
    again, said = open_store(paths)
    assert said == [] and submit(again, "b") == [4]
    again.close()


def test_after_a_power_failure_they_go_on_above_the_block(
    paths: StatePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a block's numbers only the reservation is on disk for sure."""
    store, _ = open_store(paths)
    submit(store, "a")
    durable = paths.numbers.read_bytes()
    submit(store, "b", 50)
    store._connection.close()
    lose(paths, paths.numbers_copy)
    paths.numbers.write_bytes(durable)
    boot = paths.root / "boot"
    boot.write_text("another")
    monkeypatch.setattr(numbers, "BOOT_ID", boot)
    again, _ = open_store(paths)
    assert submit(again, "c")[0] > 51
    again.close()


def test_an_older_copy_of_the_store_gives_no_number_again_and_says_what_it_lacks(paths: StatePaths) -> None:
    store, _ = open_store(paths)
    submit(store, "a", 2)
    copy = copy_of(paths)
    submit(store, "b", 5)
    store.close()
    put_back(paths, copy)
    again, (said,) = open_store(paths)
    assert "knows jobs up to 2, but numbers up to 7 were given" in said and "from 8 on" in said
    assert submit(again, "c") == [8]
    again.close()


def test_a_log_that_was_cut_gives_no_number_again(paths: StatePaths) -> None:
    store, _ = open_store(paths)
    submit(store, "a", 2)
    copy_of(paths)
    submit(store, "b", 2)
    wal = paths.database.with_name("gpujobs.db-wal")
    content = wal.read_bytes()
    store._connection.close()
    copy = paths.root / "copy"
    put_back(paths, copy)
    wal.write_bytes(content[: len(content) // 3])
    again, said = open_store(paths)
    assert any("its end was lost" in one for one in said)
    assert submit(again, "c") == [5]
    again.close()


@pytest.mark.parametrize(
    "evidence", ["mark", "copy of the mark", "results", "spool", "results of a job set aside"]
)
def test_an_empty_store_goes_on_above_whatever_is_found(paths: StatePaths, evidence: str) -> None:
    store, _ = open_store(paths)
    submit(store, "a", 7)
    store.close()
    left = {"mark": paths.numbers, "copy of the mark": paths.numbers_copy}
    lose(paths, *(path for name, path in left.items() if name != evidence))
    if evidence.startswith("results"):
        (paths.results / ("7.aside" if "aside" in evidence else "7")).mkdir()
    if evidence == "spool":
        paths.job(7).root.mkdir()
    again, said = open_store(paths)
    assert any("has no jobs, though numbers up to 7 were given" in one for one in said)
    assert submit(again, "c") == [8]
    again.close()
    assert open_store(paths)[1] == []


def test_a_damaged_mark_is_made_up_for_by_its_copy(paths: StatePaths) -> None:
    store, _ = open_store(paths)
    submit(store, "a", 7)
    store.close()
    lose(paths)
    paths.numbers.write_bytes(b"\0" * 256)
    again, _ = open_store(paths)
    assert submit(again, "b") == [8]
    again.close()


def test_the_mark_is_on_disk_before_the_jobs_are(paths: StatePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store's commit finds the number in it already; within a block no further fsync is asked for."""
    store, _ = open_store(paths)
    seen: list[tuple[int, int]] = []
    synced: list[int] = []
    fsync = os.fsync

    def look(statement: str) -> None:
        if statement == "COMMIT":
            mark = json.loads(paths.numbers.read_text())
            seen.append((mark["used"], mark["reserved"]))

    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(fd), fsync(fd))[0])
    store._connection.set_trace_callback(look)
    submit(store, "a")
    first = len(synced)
    submit(store, "b", numbers.BLOCK)
    submit(store, "c")
    store._connection.set_trace_callback(None)
    assert seen == [(1, 101), (101, 101), (102, 202)]
    assert (first, len(synced)) == (2, 4), "one for each of the two places, for each block"
    store.close()


def test_no_job_is_queued_whose_number_cannot_be_noted(
    paths: StatePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = open_store(paths)

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(StoreError, match="No space left on device; no job was queued"):
            submit(store, "a")
    assert store.counts() == {}
    assert submit(store, "a") == [1]
    store.close()


def test_an_attempt_gets_a_number_above_those_whose_directories_are_there(paths: StatePaths) -> None:
    """The store is an older copy, from before the job's second attempt."""
    store, _ = open_store(paths)
    (job,) = submit(store, "a")
    for number in (1, 2):
        paths.job(job).attempt(number).root.mkdir(parents=True)
    store.close()
    again, _ = open_store(paths)
    assert again.start_attempt(job, DEVICE).attempt == 3
    again.mark_running(job, 3, 1, utc_now())
    again.close()


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        (b"f" * 32 + b" 3", 4),
        (b"f" * 32, 2),  # of an earlier version
        (b"f" * 32 + b" 0", 2),
        (b"f" * 32 + b" many", 2),
        (b"f" * 32 + b" 9" * 50, 1),
        (b"", 1),
        (None, 1),
    ],
)
def test_an_attempt_gets_a_number_above_the_one_whose_results_are_there(
    paths: StatePaths, mark: bytes | None, expected: int
) -> None:
    """The store is an older copy, from before the job's only attempts, whose files went when they were collected."""
    store, _ = open_store(paths)
    (job,) = submit(store, "a")
    if mark is not None:
        paths.result(job).mkdir()
        (paths.result(job) / ".attempt").write_bytes(mark)
    assert store.start_attempt(job, DEVICE).attempt == expected
    store.close()


def test_each_store_has_an_id_of_its_own(tmp_path: Path) -> None:
    one, other = Store(tmp_path / "1.db"), Store(tmp_path / "2.db")
    assert len(one.identity) == 32 and one.identity != other.identity
    one.close()
    assert Store(tmp_path / "1.db").identity == one_identity(tmp_path)
    other.close()


def one_identity(directory: Path) -> str:
    with sqlite3.connect(directory / "1.db") as connection:
        (identity,) = connection.execute("SELECT id FROM identity").fetchone()
    connection.close()
    return str(identity)


def test_a_disk_that_is_full_keeps_the_daemon_from_queueing_and_not_from_starting(
    paths: StatePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = open_store(paths)
    submit(store, "a")
    store.close()

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        again, (said,) = open_store(paths)
        assert "No space left on device" in said and again.job(1).id == 1
        with pytest.raises(StoreError):
            submit(again, "b")
    assert submit(again, "b") == [2]
    again.close()


def test_names_that_only_begin_like_a_number_are_no_jobs(paths: StatePaths) -> None:
    for name in ("2024-old", "20261126T1200", "7.other", ".staging-9-1", "3"):
        (paths.results / name).mkdir()
    assert numbers.highest_name(paths.results) == 7
