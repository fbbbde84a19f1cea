"""How much is collected of what a trainer has left behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gpujobs.results import collect
from gpujobs.results.collect import Limits, RefusedResultError, chunks

OWN = frozenset({os.geteuid()})


def collected(directory: Path, most: int) -> int:
    return sum(len(chunk) for _, chunk in chunks(directory, OWN, Limits(total_bytes=most)))


def test_the_bytes_of_all_files_count_together(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"123456")
    assert collected(tmp_path, 12) == 12
    with pytest.raises(RefusedResultError, match="larger than 11 bytes"):
        collected(tmp_path, 11)


def test_the_chunks_of_a_file_count_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "CHUNK_BYTES", 4)
    (tmp_path / "a").write_bytes(b"0123456789")
    assert collected(tmp_path, 10) == 10
    with pytest.raises(RefusedResultError, match="larger than 9 bytes"):
        collected(tmp_path, 9)
