"""Where a fill, or a scale, has nothing to come from: an error that names the file, the column and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gpujobs.trainer.data.fitting import scaling
from gpujobs.trainer.failures import DataError

from .making import alone, prepared

SERIES = "{train: t.csv, time: hour, group: site, target: v, window: {length: 2}, missing: fill}"
SEQUENCES = "{train: t.csv, sequence: {by: site}, target: v, missing: fill}"
NUMBERS = "model: {layers: [LSTM: {units: 2}, Dense: {units: 1}]}\ntraining: {loss: mse}\n"


def frame() -> pd.DataFrame:
    hours = np.tile(np.arange(6), 2)
    held = {"site": ["a"] * 6 + ["b"] * 6, "hour": hours, "v": np.arange(12.0), "w": np.arange(12.0) ** 2}
    return pd.DataFrame(held)


def refused(root: Path, data: str, content: Any, name: str = "t.csv") -> str:
    with pytest.raises(DataError) as error:
        prepared(root, data, {name: content}, rest=NUMBERS)
    return str(error.value)


def test_a_column_without_a_value_is_not_filled_with_zeros(tmp_path: Path) -> None:
    empty = frame().assign(w=np.nan).to_csv(index=False)
    assert refused(tmp_path, SERIES, empty) == (
        "t.csv: column w: holds no value in rows 2 to 7 and 1 more such; expected one at least, which data.missing: "
        "fill could put into the others: leave the column out, or say data.missing: drop"
    )
    assert "t.csv: column w: holds no value in sequence a and 1 more such" in refused(
        tmp_path, SEQUENCES, empty
    )


def test_nor_is_one_of_a_single_series(tmp_path: Path) -> None:
    whole = frame()
    empty = whole.assign(w=whole["w"].where(whole["site"] == "a")).to_csv(index=False)
    assert "t.csv: column w: holds no value in rows 8 to 13; expected" in refused(tmp_path, SERIES, empty)
    assert "t.csv: column w: holds no value in sequence b; expected" in refused(tmp_path, SEQUENCES, empty)


def test_nor_is_one_of_a_sample_of_an_array(tmp_path: Path) -> None:
    x = np.ones((4, 3, 2), np.float32)
    x[2, :, 1] = x[3, 0, 0] = np.nan
    given = {"x": x, "y": np.arange(4.0)}
    said = refused(tmp_path, "{train: t.npz, missing: fill}", given, "t.npz")
    assert "t.npz: array x: column 1: holds no value in sample 3; expected one at least" in said


def test_arrays_in_fortrans_order_are_filled_too(tmp_path: Path) -> None:
    x = np.asfortranarray(np.arange(48.0, dtype=np.float32).reshape(2, 3, 4, 2))
    x[1, 1, 2, 0] = np.nan
    rest = "model: {layers: [Flatten: {}, Dense: {units: 1}]}\ntraining: {loss: mse}\n"
    given = {"x": x, "y": np.arange(2.0)}
    found = prepared(tmp_path, "{train: t.npz, missing: fill}", {"t.npz": given}, rest=rest)
    assert alone(found.train.samples.x(np.arange(2)))[1, 1, 2, 0] == x[1, 0, 2, 0]


@pytest.mark.parametrize("method", ["standard", "minmax", "robust"])
def test_scales_of_nothing_are_an_error(method: str) -> None:
    with pytest.raises(DataError, match=r"t.csv: column v: holds no value that the training part may learn"):
        scaling.fit(method, lambda: iter([np.zeros((0, 2), np.float32)]), "t.csv: column v")
