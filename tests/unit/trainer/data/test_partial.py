"""Large arrays, of which only a part is looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpujobs.trainer.data import archives, missing, partial
from gpujobs.trainer.data.memory import PIECE_BYTES, looking_at, pieces

MOST = 4 * PIECE_BYTES


def test_of_a_large_array_a_spread_of_pieces_with_the_first_and_the_last() -> None:
    whole = list(pieces(0, 100, PIECE_BYTES))
    with looking_at(MOST):
        some = list(pieces(0, 100, PIECE_BYTES))
        assert [piece.start for piece in some] == [0, 33, 66, 99]
        assert list(pieces(0, 4, PIECE_BYTES)) == whole[:4]
    assert list(pieces(0, 100, PIECE_BYTES)) == whole and len(whole) == 100


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_stored_array_is_mapped(tmp_path: Path, order: Any) -> None:
    path, values = tmp_path / "a.npz", np.arange(24.0).reshape(2, 3, 4)
    np.savez(path, first=np.zeros(5), x=np.asarray(values, order=order))
    found = partial.read(path, "x.npy", 8)
    assert isinstance(found, np.memmap) and not partial.is_compressed(path, "x.npy")
    np.testing.assert_array_equal(found, values)


def test_of_a_compressed_array_the_beginning(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.ones((10, 3), np.float32))
    found = partial.read(path, "x.npy", 16)
    assert partial.is_compressed(path, "x.npy")
    assert found.shape == (10, 3) and found.reshape(-1).tolist() == [1.0] * 4 + [0.0] * 26


def test_only_large_arrays_are_read_in_part(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    x = np.zeros((PIECE_BYTES, 2), np.float32)
    x[0, 0] = x[-1, 1] = np.nan
    np.savez(path, x=x, y=np.zeros(3))
    with looking_at(MOST):
        found = archives.read_npz("a.npz", path, {"x", "y"})
        assert isinstance(found["x"], np.memmap) and not isinstance(found["y"], np.memmap)
        assert missing.count(found["x"]) == (2, 0)
    assert not isinstance(archives.read_npz("a.npz", path, {"x"})["x"], np.memmap)
