"""Data that comes to a box in pieces is there whole, with its hash and its owner, or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gpujobs.errors import LauncherError, MachineError
from gpujobs.linux import durable
from gpujobs.node import arrivals
from gpujobs.paths import StatePaths
from gpujobs.protocol.boxes import Blob

CONTENT = bytes(range(256)) * 1000
PIECE = 70_000


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    made = StatePaths(tmp_path)
    (made.spool / "data").mkdir(parents=True)
    return made


def blob(content: bytes = CONTENT, uid: int | None = None) -> Blob:
    return Blob(os.geteuid() if uid is None else uid, hashlib.sha256(content).hexdigest(), len(content))


def bring(paths: StatePaths, one: Blob, content: bytes = CONTENT, until: int | None = None) -> int:
    offset = arrivals.arrived(paths, one, "box2")
    while offset < (one.bytes if until is None else until):
        offset = arrivals.put(paths, one, offset, content[offset : offset + PIECE])
    return offset


def test_it_is_kept_under_its_hash_and_closed(paths: StatePaths) -> None:
    assert arrivals.lacking(paths, (blob(),)) == (blob(),)
    bring(paths, blob())
    place = paths.data(os.geteuid(), blob().sha256)
    assert place.read_bytes() == CONTENT
    assert stat.S_IMODE(place.stat().st_mode) == 0o400
    assert arrivals.lacking(paths, (blob(),)) == ()
    assert [path.name for path in place.parent.iterdir()] == [place.name]


def test_an_empty_file_comes_too(paths: StatePaths) -> None:
    empty = blob(b"")
    arrivals.put(paths, empty, 0, b"")
    assert arrivals.lacking(paths, (empty,)) == ()


def test_it_goes_on_where_the_last_try_has_ended(paths: StatePaths) -> None:
    reached = bring(paths, blob(), until=2 * PIECE)
    assert arrivals.arrived(paths, blob(), "box2") == reached == 2 * PIECE
    assert arrivals.lacking(paths, (blob(),)) == (blob(),), "a part is not the whole"
    bring(paths, blob())
    assert arrivals.lacking(paths, (blob(),)) == ()


def test_a_piece_that_comes_twice_or_too_early_changes_nothing(paths: StatePaths) -> None:
    bring(paths, blob(), until=PIECE)
    assert arrivals.put(paths, blob(), 0, CONTENT[:PIECE]) == PIECE
    assert arrivals.put(paths, blob(), 2 * PIECE, CONTENT[2 * PIECE : 3 * PIECE]) == PIECE
    bring(paths, blob())
    assert paths.data(os.geteuid(), blob().sha256).read_bytes() == CONTENT


def test_pieces_that_come_in_any_order_are_written_in_theirs(paths: StatePaths) -> None:
    async def all_at_once() -> list[int]:
        in_order = arrivals.InOrder(paths)
        offsets = list(range(0, len(CONTENT), PIECE))
        puts = [
            in_order.put(blob(), offset, CONTENT[offset : offset + PIECE]) for offset in reversed(offsets)
        ]
        return await asyncio.gather(*puts)

    reached = asyncio.run(all_at_once())
    assert sorted(reached) == [PIECE, 2 * PIECE, 3 * PIECE, len(CONTENT)]
    assert paths.data(os.geteuid(), blob().sha256).read_bytes() == CONTENT
    assert arrivals.piece(paths, blob(), PIECE, 10) == CONTENT[PIECE : PIECE + 10]


def test_a_piece_that_waits_for_one_that_is_lost_says_how_far_it_is(
    paths: StatePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "EARLY_SECONDS", 0.05)
    assert asyncio.run(arrivals.InOrder(paths).put(blob(), PIECE, CONTENT[PIECE : 2 * PIECE])) == 0


def test_what_comes_damaged_is_thrown_away_and_comes_again(paths: StatePaths) -> None:
    wrong = CONTENT[:-1] + b"!"
    with pytest.raises(MachineError, match="has come damaged"):
        bring(paths, blob(), wrong)
    assert arrivals.arrived(paths, blob(), "box2") == 0
    bring(paths, blob())
    assert arrivals.lacking(paths, (blob(),)) == ()


def test_two_who_bring_it_at_once_bring_it_once(paths: StatePaths) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: bring(paths, blob()), range(8))) == [len(CONTENT)] * 8
    assert paths.data(os.geteuid(), blob().sha256).read_bytes() == CONTENT


def test_what_has_no_room_is_refused_before_it_comes(paths: StatePaths) -> None:
    huge = Blob(os.geteuid(), "00" * 32, 1 << 60)
    with pytest.raises(
        LauncherError, match=r"box2 has .* GiB free in .*; 1073741824.0 GiB of data would leave"
    ):
        arrivals.arrived(paths, huge, "box2")


def kept(paths: StatePaths, content: bytes, read_before_seconds: float) -> Path:
    """Data of a job before this one, last read so long ago."""
    bring(paths, blob(content), content)
    place = paths.data(os.geteuid(), blob(content).sha256)
    then = time.time() - read_before_seconds
    os.utime(place, (then, then))
    return place


def needs_more(paths: StatePaths, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """The disk lacks so many bytes for the data that comes next."""
    free = arrivals.FREE_BYTES + len(CONTENT) - size
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("", (), {"free": free}))


def test_data_that_nothing_reads_makes_way_the_longest_unread_first(
    paths: StatePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, older, new = (
        kept(paths, bytes([n]) * 100, seconds) for n, seconds in enumerate((2e4, 3e4, 60.0), start=1)
    )
    needs_more(paths, monkeypatch, 250)
    with pytest.raises(LauncherError):
        arrivals.arrived(paths, blob(), "box2")
    assert all(path.exists() for path in (old, older, new)), "together they would not do"
    needs_more(paths, monkeypatch, 80)
    with pytest.raises(LauncherError):  # what is free is told by the same word still
        arrivals.arrived(paths, blob(), "box2")
    assert [path.exists() for path in (old, older, new)] == [True, False, True]


def test_data_of_an_attempt_that_lives_stays(paths: StatePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    read = kept(paths, b"x" * 100, 3e4)
    attempt = paths.job(7).attempt(1)
    attempt.root.mkdir(parents=True)
    attempt.spec.write_text(json.dumps({"data": {"x.npz": {"path": str(read)}}}))
    lock = durable.lock(attempt.lock)
    needs_more(paths, monkeypatch, 80)
    with pytest.raises(LauncherError):
        arrivals.arrived(paths, blob(), "box2")
    assert read.exists()
    os.close(lock)
    with pytest.raises(LauncherError):
        arrivals.arrived(paths, blob(), "box2")
    assert not read.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to give a file away")
def test_it_belongs_to_its_user(paths: StatePaths) -> None:
    of_another = blob(uid=4711)
    bring(paths, of_another)
    assert paths.data(4711, of_another.sha256).stat().st_uid == 4711


def test_what_goes_while_it_is_looked_for_is_left_out(paths: StatePaths) -> None:
    for number in range(2):
        content = bytes([number])
        one = Blob(os.geteuid(), hashlib.sha256(content).hexdigest(), 1)
        arrivals.put(paths, one, 0, content)
        os.utime(paths.data(one.uid, one.sha256), (1, 1))
    unused = arrivals.unused(paths)
    first, _ = next(unused)
    for other in first.parent.iterdir():
        if other != first:
            other.unlink()
    assert list(unused) == []
