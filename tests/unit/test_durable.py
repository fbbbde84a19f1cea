"""A rename is on the disk when it returns: the directories of both names are, and what was written before it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gpujobs.daemon.keeping import retention
from gpujobs.linux import durable
from gpujobs.paths import StatePaths
from gpujobs.store import backups


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of what is on the disk for sure."""
    names: set[str] = set()
    real = os.fsync

    def sync(descriptor: int) -> None:
        names.add(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    return names


def move_database(a: Path, b: Path) -> None:
    paths = StatePaths(a)
    paths.database.write_text("x")
    b.rmdir()
    backups._move_aside(paths, b)


def put_in_place(a: Path, _: Path) -> None:
    (a / "new").write_text("x")
    (a / "old").write_text("y")
    durable.put_in_place(a / "new", a / "old")
    assert (a / "old").read_text() == "x"


def set_aside(a: Path, b: Path) -> None:
    (a / "7").mkdir()
    assert retention._set_aside(a / "7", b) is not None


def keep_aside(a: Path, _: Path) -> None:
    (a / "file").write_text("x")
    assert durable.set_aside(a / "file").read_text() == "x"


def copy(a: Path, b: Path) -> None:
    (a / "file").write_text("x")
    durable.copy(a / "file", b / "copy")
    assert (b / "copy").read_text() == (a / "file").read_text() == "x"


@pytest.mark.parametrize(
    ("move", "expected"),
    [
        (move_database, {"a", "b"}),
        (put_in_place, {"new", "a"}),
        (set_aside, {"a", "b"}),
        (keep_aside, {"a"}),
        (copy, {"copy.tmp", "b"}),
    ],
)
def test_what_is_renamed_is_on_the_disk(
    tmp_path: Path, synced: set[str], move: Callable[[Path, Path], None], expected: set[str]
) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir()
    b.mkdir()
    move(a, b)
    assert expected <= synced


def test_what_is_read_may_have_as_many_bytes_as_its_limit_and_not_one_more(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    assert durable.read(file, limit=5) == b"12345"
    file.write_bytes(b"123456")
    with pytest.raises(durable.DamagedError, match="has more than 5 bytes"):
        durable.read(file, limit=5)


def test_a_link_is_not_read_even_where_it_leads_to_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "file").symlink_to("secret")
    with pytest.raises(durable.DamagedError):
        durable.read(tmp_path / "file")


def test_what_is_written_takes_the_place_of_whatever_is_there_and_keeps_a_directory_aside(
    tmp_path: Path,
) -> None:
    place = tmp_path / "file"
    for number in ("", "-2"):
        place.unlink(missing_ok=True)
        place.mkdir()
        (place / "inside").write_text("x")
        durable.write(place, b"new")
        assert place.read_bytes() == b"new" and place.stat().st_mode & 0o777 == 0o600
        assert (tmp_path / f"file.damaged{number}/inside").read_text() == "x"
    durable.write(place, b"newer")
    assert durable.entries(tmp_path) == [place, tmp_path / "file.damaged", tmp_path / "file.damaged-2"]
    assert durable.entries(place) == durable.entries(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\0" * 9, "holds nothing but zeros"),
        (b"{", "is not whole JSON"),
        (b'{"a": NaN}', "is not whole JSON"),
        (b"[1]", "holds a list; expected a JSON object"),
    ],
)
def test_what_is_no_whole_json_object_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(durable.DamagedError, match=said):
        durable.read_json(tmp_path / "file")
    assert durable.read_json(tmp_path / "none") is None


def test_what_cannot_be_a_file_of_ours_is_said(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("elsewhere")
    for path, said in ((tmp_path / "link", "is a link"), (tmp_path, "is not a regular file")):
        with pytest.raises(durable.DamagedError, match=f"{path.name} {said}"):
            durable.read(path)


def test_an_error_of_this_moment_says_nothing_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("{}")

    def full(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", full)
    for read in (durable.read, durable.is_locked):
        with pytest.raises(OSError, match="Too many open files"):
            read(tmp_path / "file")


def test_a_lock_is_seen_by_others_as_long_as_it_is_held(tmp_path: Path) -> None:
    assert not durable.is_locked(tmp_path / "lock")
    held = durable.lock(tmp_path / "lock")
    assert durable.is_locked(tmp_path / "lock")
    os.close(held)
    assert not durable.is_locked(tmp_path / "lock")
