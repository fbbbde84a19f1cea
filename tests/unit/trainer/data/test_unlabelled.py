"""Labels and targets that are not there: left out, named by rows of the file, or of no matter where one predicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gpujobs.trainer.data.prepare import Part, to_predict
from gpujobs.trainer.failures import DataError
from tests.specs import data_file

from .making import alone, prepared, spec_of, write

CLASSES = """model: {layers: [GRU: {units: 2}, Dense: {units: 2, activation: softmax}]}
training: {loss: sparse_categorical_crossentropy}
"""
NUMBERS = "model: {layers: [GRU: {units: 2}, Dense: {units: 1}]}\ntraining: {loss: mse}\n"
SEQUENCES = "{train: t.csv, target: %s, features: [x], sequence: {by: run}, missing: %s}"


def runs() -> pd.DataFrame:
    """Ten sequences of three rows; one without a label, one with two of three."""
    run = np.repeat(np.arange(10), 3)
    frame = pd.DataFrame(
        {"run": run, "u": 1.0, "x": np.arange(30.0), "word": np.where(run % 2, "b", "a"), "n": run % 2}
    )
    return frame.assign(
        word=frame["word"].where((run != 3) & (frame.index != 16)),
        n=frame["n"].where((run != 3) & (frame.index != 16)),
    )


@pytest.mark.parametrize("handling", ["drop", "fill"])
@pytest.mark.parametrize(("target", "rest"), [("word", CLASSES), ("n", CLASSES), ("n", NUMBERS)])
def test_sequences_without_a_label_are_left_out_and_named(
    tmp_path: Path, capsys: Any, target: str, rest: str, handling: str
) -> None:
    frame = runs()
    found = prepared(
        tmp_path, SEQUENCES % (target, handling), {"t.csv": frame.to_csv(index=False)}, rest=rest
    )
    labelled = (
        frame.groupby("run").filter(lambda one: one[target].notna().all()).groupby("run")[target].first()
    )
    expected = (labelled == "b") if target == "word" else labelled
    y = found.train.truth.all_of(found.train.truth.targets["y"])
    assert y.reshape(-1).tolist() == expected.astype(float).tolist()
    assert "left out: 2 sequences with missing values (3, 5)" in capsys.readouterr().out


@pytest.mark.parametrize(("target", "rest"), [("word", CLASSES), ("n", CLASSES), ("n", NUMBERS)])
def test_where_labels_must_be_there_the_rows_of_the_file_are_named(
    tmp_path: Path, target: str, rest: str
) -> None:
    with pytest.raises(DataError, match=rf"t.csv: column {target}: .*rows 11, 12, 13, 18\)"):
        prepared(tmp_path, SEQUENCES % (target, "error"), {"t.csv": runs().to_csv(index=False)}, rest=rest)


def predicted(root: Path, data: str, train: pd.DataFrame, other: pd.DataFrame, rest: str) -> Part:
    files = {"t.csv": train.to_csv(index=False), "o.csv": other.to_csv(index=False)}
    spec = spec_of(root, f"{data}\npredict: [{{path: o.csv, name: o}}]", files, rest=rest)
    return to_predict(
        spec, {"name": "o", "path": "o.csv"}, prepared(root, data, files, rest=rest).preprocessing
    )


@pytest.mark.parametrize("handling", ["error", "drop", "fill"])
@pytest.mark.parametrize(("target", "rest"), [("word", CLASSES), ("n", CLASSES), ("n", NUMBERS)])
def test_a_file_to_predict_for_may_have_no_labels_yet(
    tmp_path: Path, capsys: Any, target: str, rest: str, handling: str
) -> None:
    whole = runs().ffill()
    part = predicted(tmp_path, SEQUENCES % (target, handling), whole, whole.assign(**{target: None}), rest)
    assert len(part.samples) == 10
    assert not part.truth.targets
    assert f"o.csv: column {target}: has no value in 30 rows" in capsys.readouterr().out


def test_windows_of_features_alone_need_no_target_to_predict(tmp_path: Path) -> None:
    frame = pd.DataFrame({"load": np.arange(20.0), "x": np.arange(20.0) ** 2})
    data = "{train: t.csv, target: load, features: [x], window: {length: 3}}"
    part = predicted(tmp_path, data, frame, frame.assign(load=frame["load"].where(frame.index < 9)), NUMBERS)
    assert not part.truth.targets
    assert alone(part.truth.x(np.arange(18)))[:, :, 0].tolist() == [
        [n**2, (n + 1) ** 2, (n + 2) ** 2] for n in range(18)
    ]


@pytest.mark.parametrize("handling", ["error", "drop", "fill"])
@pytest.mark.parametrize(("y", "rest"), [([0, 1, 0, 1], CLASSES), ([0.5, 1, 2, 3], NUMBERS)])
def test_arrays_to_predict_for_may_lack_labels(
    tmp_path: Path, capsys: Any, y: list[float], rest: str, handling: str
) -> None:
    x = np.arange(16.0).reshape(4, 2, 2)
    absent = np.array([*y[:2], np.nan, y[3]])
    files = {"t.npz": {"x": x, "y": np.array(y)}, "p.npz": {"x": x, "y": absent}}
    data = f"{{train: t.npz, missing: {handling}}}"
    spec = spec_of(tmp_path, data, files, rest=rest + "predict: [p.npz]\n")
    part = to_predict(spec, {"path": "p.npz"}, prepared(tmp_path, data, files, rest=rest).preprocessing)
    assert not part.truth.targets and len(part.samples) == 4
    assert "p.npz: array y: has no value in 1 row: predictions are not compared" in capsys.readouterr().out


def test_a_table_is_no_array_and_an_array_no_table(tmp_path: Path) -> None:
    """What a job file may not mix, a model may not be applied to."""
    arrays = {"x": np.arange(16.0).reshape(4, 2, 2), "y": np.arange(4) % 2}
    table = runs().dropna().to_csv(index=False)
    write(tmp_path / "p.csv", table)
    write(tmp_path / "p.npz", arrays)
    for data, content, path, told in (
        ("{train: t.npz}", arrays, "p.csv",
         "p.csv: holds a table, and the model was trained on arrays; expected arrays x"),
        (SEQUENCES % ("word", "error"), table, "p.npz",
         "p.npz: holds arrays, and the model was trained on a table; expected a table with the columns x"),
    ):  # fmt: skip
        files = {"t.npz" if "npz" in data else "t.csv": content}
        learned = prepared(tmp_path, data, files, rest=CLASSES).preprocessing
        spec = spec_of(tmp_path, data, files, rest=CLASSES)
        spec = replace(spec, data={**spec.data, path: data_file(tmp_path / path)})
        with pytest.raises(DataError) as error:
            to_predict(spec, {"path": path}, learned)
        assert str(error.value) == told
