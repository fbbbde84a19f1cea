"""Arrays as other machines and programs write them: byte orders, halves, times in any unit; as pandas reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gpujobs.trainer import prediction_table
from gpujobs.trainer.failures import DataError

from .making import prepared

X = np.random.default_rng(0).random((12, 4, 2), np.float32)


def table(root: Path, data: str, arrays: dict[str, Any]) -> pd.DataFrame:
    """predictions.csv of the training part, by a model that predicts zeros."""
    part = prepared(root, data, {"d.npz": arrays}).train
    found = {name: part.samples.all_of(rows) for name, rows in part.samples.labels.items()}
    truth = part.truth.target("y")
    found |= {"y_true": truth, "y_pred": np.zeros(truth.shape, np.float32)}
    assert prediction_table.write(root / "p.csv", found, part, (), ("y",))
    return pd.read_csv(root / "p.csv")


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i4", "u8"])
def test_numbers_in_either_byte_order(tmp_path: Path, order: str, kind: str) -> None:
    y = np.arange(12).astype(order + kind)
    arrays = {"x": X.astype(order + "f4"), "y": y, "g": np.repeat([4, 7], 6).astype(order + "i8")}
    found = table(tmp_path, "{train: d.npz, group: g}", arrays)
    np.testing.assert_array_equal(found["y_true"], np.arange(12.0))
    np.testing.assert_array_equal(found["group"], arrays["g"].astype(np.int64))


@pytest.mark.parametrize(
    "kind",
    ["M8[Y]", "M8[M]", "M8[W]", "M8[D]", "M8[h]", "M8[m]", "M8[15m]", ">M8[s]", "M8[ms]", "M8[ns]", "M8[ps]"],
)
def test_times_in_any_unit(tmp_path: Path, kind: str) -> None:
    times = (np.arange(30, 42) * (1000 if "ps" in kind else 1)).astype(kind.lstrip(">")).astype(kind)
    found = table(tmp_path, "{train: d.npz, time: t}", {"x": X, "y": np.arange(12.0), "t": times})
    expected = [pd.Timestamp(str(one)) for one in times.astype("M8[ns]")]
    assert [pd.Timestamp(one) for one in found["time"]] == expected


def test_an_infinite_half_is_no_number(tmp_path: Path) -> None:
    x = X.astype(np.float16)
    x[3, 1, 0] = np.inf
    with pytest.raises(DataError, match=r"array x: holds 0 NaN and 1 infinite values \(row 4\)"):
        prepared(tmp_path, "{train: d.npz}", {"d.npz": {"x": x, "y": np.arange(12.0)}})


@pytest.mark.parametrize("name", ["g", "y"])
def test_a_nul_byte_in_a_text_is_refused(tmp_path: Path, name: str) -> None:
    words = {"g": np.repeat(["a", "b"], 6), "y": np.repeat(["a", "b"], 6)}
    words[name] = np.array(["a\0b"] * 6 + ["b"] * 6)
    rest = "model: {layers: [Dense: {units: 2}]}\ntraining: {loss: sparse_categorical_crossentropy}\n"
    with pytest.raises(DataError, match=f"d.npz: array {name}: holds a NUL byte"):
        prepared(tmp_path, "{train: d.npz, group: g}", {"d.npz": {"x": X, **words}}, rest=rest)
