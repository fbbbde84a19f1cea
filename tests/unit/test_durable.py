"""A rename is on the disk when it returns: the directories of both names are, and what was written before it."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    ("move", "expected"),
    [(move_database, {"a", "b"}), (put_in_place, {"new", "a"}), (set_aside, {"a", "b"})],
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
