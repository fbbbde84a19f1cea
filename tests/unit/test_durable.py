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
