"""Files that claim more than they hold, and files that are exchanged while they are read."""

from __future__ import annotations

import hashlib
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gpujobs.protocol.spec import AttemptSpec
from gpujobs.trainer import data, files
from gpujobs.trainer.data.reading import archives
from gpujobs.trainer.data.reading.loaded import place
from gpujobs.trainer.failures import DataError
from tests.specs import attempt_spec, data_file


def header(shape: str) -> bytes:
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def npz(path: Path, member: bytes, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("x.npy", member)
    return path


def test_a_header_that_claims_a_terabyte(tmp_path: Path) -> None:
    path = npz(tmp_path / "lie.npz", header("(1000000000000,)") + bytes(80))
    with pytest.raises(DataError, match=r"lie.npz: array x: its header claims shape \(1000000000000,\)"):
        data.headers("lie.npz", path)


def test_an_entry_that_claims_more_than_deflate_can_hold(tmp_path: Path) -> None:
    path = npz(tmp_path / "bomb.npz", header("(1000000,)") + bytes(8_000_000))
    raw = path.read_bytes()
    found = raw.index(b"PK\x01\x02")  # the central directory's entry: compressed size at 20, size at 24
    lie = bytearray(raw)
    lie[found + 20 : found + 28] = struct.pack("<II", 200, 8_000_128)
    path.write_bytes(lie)
    with pytest.raises(DataError, match=r"bomb.npz: (array x|is not a whole npz)"):
        data.headers("bomb.npz", path)


def pinned(path: Path) -> AttemptSpec:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return files.pin(attempt_spec(data={"t.npz": data_file(path, digest)}))


def test_what_was_hashed_is_what_is_read(tmp_path: Path) -> None:
    path, other = tmp_path / "t.npz", tmp_path / "other.npz"
    np.savez(path, x=np.ones((2, 3, 1)))
    np.savez(other, x=np.zeros((2, 3, 1)))
    spec = pinned(path)
    other.replace(path)
    found = archives.read_npz("t.npz", place(spec, "t.npz"), {"x"})
    assert found["x"].all()


def test_another_file_than_was_submitted(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    np.savez(path, x=np.ones((2, 3, 1)))
    spec = attempt_spec(data={"t.npz": data_file(path, "0" * 64)})
    with pytest.raises(DataError, match=r"t\.npz: its SHA-256 is .* Submit the job again\."):
        files.pin(spec)
