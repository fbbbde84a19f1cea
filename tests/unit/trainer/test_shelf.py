"""What trainers leave for those that come after them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

import gpujobs
from gpujobs.trainer import shelf
from gpujobs.trainer.shelf import MOST, Shelf


def test_what_was_put_is_found_by_what_it_depends_on_and_by_nothing_else(tmp_path: Path) -> None:
    Shelf(tmp_path, "key").put("train", b"bytes")
    assert Shelf(tmp_path, "key").get("train") == b"bytes"
    assert Shelf(tmp_path, "key").get("test") is Shelf(tmp_path, "other").get("train") is None


def test_other_code_finds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Shelf(tmp_path, "key").put("train", b"bytes")
    monkeypatch.setattr(shelf, "code", lambda: "changed")
    assert Shelf(tmp_path, "key").get("train") is None


def test_other_code_is_a_change_in_any_of_our_files_that_a_graph_may_follow_from(tmp_path: Path) -> None:
    """What of a job file makes the graph is told outside the trainer too."""
    own = Path(gpujobs.__file__).parent
    copy = Path(shutil.copytree(own, tmp_path / "gpujobs", ignore=shutil.ignore_patterns("__pycache__")))
    assert shelf.code_of(copy) == shelf.code_of(own) == shelf.code()
    for name in ("trainer/means.py", "jobfile/losses.py", "jobfile/catalogue.json", "metric_names.py"):
        before = shelf.code_of(copy)
        (copy / name).write_text((copy / name).read_text() + "\n")
        assert shelf.code_of(copy) != before, name


def test_another_python_is_other_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = shelf.code_of(tmp_path)
    monkeypatch.setattr(sys, "version", "3.99")
    assert shelf.code_of(tmp_path) != before


@pytest.mark.parametrize("damage", ["cut", "zeros", "empty", "link", "directory"])
def test_what_is_damaged_or_no_file_is_not_there(tmp_path: Path, damage: str) -> None:
    kept = Shelf(tmp_path, "key")
    kept.put("train", b"bytes" * 100)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    path.unlink()
    if damage == "link":
        (tmp_path / "elsewhere").write_bytes(content)
        path.symlink_to(tmp_path / "elsewhere")
    elif damage == "directory":
        path.mkdir()
    else:
        path.write_bytes({"cut": content[:-1], "zeros": bytes(len(content)), "empty": b""}[damage])
    assert kept.get("train") is None


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path) -> None:
    kept = Shelf(tmp_path / "missing", "key")
    kept.put("train", b"bytes")
    assert kept.get("train") is None and not list(tmp_path.iterdir())


def test_the_latest_used_stay(tmp_path: Path) -> None:
    kept = Shelf(tmp_path, "key")
    for number in range(MOST):
        kept.put(number, b"%d" % number)
        os.utime(kept._path(number), (1000 + number, 1000 + number))
    (tmp_path / "half.tmp").touch()
    assert kept.get(0) == b"0"
    kept.put("new", b"new")
    assert len(list(tmp_path.iterdir())) == MOST
    assert kept.get(1) is None and kept.get(0) == b"0" and kept.get("new") == b"new"
