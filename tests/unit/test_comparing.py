"""Data used in place on another box is the same there, or what differs is said; what was hashed is not hashed again."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from gpujobs.protocol.launcher import Compared, CompareFiles
from gpujobs.protocol.spec import DataFile
from gpujobs.supervise import comparing
from tests.specs import own_identity

CONTENT = b"0,1\n"


def compared(path: Path, *known: str, sha256: str = hashlib.sha256(CONTENT).hexdigest()) -> Compared:
    file = DataFile(sha256, len(CONTENT), str(path), in_place=True)
    return comparing.compared(CompareFiles(own_identity(), (file,), known))


def test_what_is_the_same_has_no_problems_and_is_hashed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(CONTENT)
    first = compared(path)
    assert first.problems == () and len(first.marks) == 1
    with monkeypatch.context() as patched:
        patched.delattr(hashlib, "file_digest")
        assert compared(path, *first.marks) == first
    path.write_bytes(b"1,0\n")
    (problem,) = compared(path, *first.marks).problems
    assert f"its SHA-256 there is {hashlib.sha256(b'1,0' + bytes([10])).hexdigest()}; expected " in problem


def test_a_file_that_was_found_is_not_taken_for_other_data_of_its_size(tmp_path: Path) -> None:
    """What the box has is the same as before, and not what this job was submitted with."""
    path = tmp_path / "x.csv"
    path.write_bytes(CONTENT)
    marks = compared(path).marks
    (problem,) = compared(path, *marks, sha256="0" * 64).problems
    assert problem.endswith(f"; expected {'0' * 64}, as on the daemon's box")


def test_what_differs_is_said_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    assert compared(path).problems == (f"{path}: No such file or directory",)
    path.write_bytes(CONTENT + CONTENT)
    assert compared(path).problems == (f"{path}: it has 8 bytes there; expected 4, as on the daemon's box",)
    path.unlink()
    path.mkdir()
    assert "directory" in compared(path).problems[0].lower() or "regular" in compared(path).problems[0]
    path.rmdir()
    os.mkfifo(path)
    assert compared(path).problems == (f"{path}: it is not a regular file",)
