"""Large arrays, of which only a part is looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpujobs.trainer.data import missing, prepare
from gpujobs.trainer.data.memory import PIECE_BYTES, looking_at, pieces
from gpujobs.trainer.data.reading import archives, partial
from tests.unit.trainer.data.making import spec_of

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


MASKED = "model: {layers: [Masking: {}, LSTM: {units: 2}, Dense: {units: 1}]}\ntraining: {loss: mse}\n"


@pytest.mark.parametrize(
    ("data", "rest", "arrays"),
    [
        (
            "{train: d.npz, time: t, window: {length: 4}}",
            "",
            {"x": np.ones((500, 1), np.float32), "t": np.arange(500)},
        ),
        (
            "{train: d.npz, group: g, split: {method: group, test: 0.5}}",
            "",
            {"x": np.ones((64, 4, 2)), "y": np.ones(64), "g": np.repeat(["left", "right"], 32)},
        ),
        (
            "{train: d.npz, lengths: n}",
            MASKED,
            {"x": np.ones((640, 1)), "y": np.ones(80), "n": np.full(80, 8)},
        ),
    ],
)
def test_what_would_be_nonsense_in_part_is_read_whole(
    tmp_path: Path, data: str, rest: str, arrays: dict[str, Any]
) -> None:
    """Zeros for the rest of a compressed array are no times, no names, and look like padding."""
    spec = spec_of(tmp_path, data, {"d.npz": {}}, rest=rest)
    np.savez_compressed(tmp_path / "d.npz", **arrays)
    with looking_at(256):
        assert prepare(spec).train.samples


def test_words_are_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, y=np.array([b"yes", b"no"] * 200))
    with looking_at(256):
        assert set(archives.read_npz("a.npz", path, {"y"})["y"].tolist()) == {"yes", "no"}
