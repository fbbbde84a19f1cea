"""predictions.csv beside predictions.npz: the same numbers, in a form that any program opens."""

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dateutil.relativedelta import relativedelta

from gpujobs.trainer import prediction_table
from tests.unit.trainer.data.making import csv as csv_of
from tests.unit.trainer.data.making import prepared

from .conftest import Launched
from .jobs import Ran, run


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def rows_of(ran: Ran, name: str = "predictions.csv") -> list[dict[str, str]]:
    return table(ran.job.results / name)


def floats(rows: list[dict[str, str]], column: str) -> Any:
    return np.array([float(row[column] or "nan") for row in rows])


def test_a_forecast_has_a_row_for_each_step_ahead(launcher: Launched) -> None:
    months = [datetime(2015, 1, 1) + relativedelta(months=n) for n in range(40)]
    files = {"t.csv": csv_of({
        "month": [f"{one:%Y-%m-%d}" for one in months] * 2, "shop": ['"a, b"'] * 40 + ["c"] * 40,
        "sales": np.arange(80.0) + 100, "visits": np.arange(80.0),
    })}  # fmt: skip
    text = (
        "data: {train: t.csv, time: month, group: shop, target: [sales, visits], window: {length: 6, horizon: 2},\n"
        "  scaling: standard, split: {method: chronological, test: 0.2}}\n"
        "model: {layers: [LSTM: {units: 2}, Dense: {units: 4}]}\n"
        "training: {loss: mse}\npredict: [test, {path: t.csv, name: future}]\n"
    )
    ran = run(launcher, text, files)
    arrays, rows = ran.predictions(), rows_of(ran)
    assert list(rows[0]) == [
        "time", "group", "step", "sales_true", "sales_predicted", "visits_true", "visits_predicted"
    ]  # fmt: skip
    assert len(rows) == arrays["y_pred"].shape[0] * 2
    for column, name in enumerate(("sales", "visits")):
        np.testing.assert_allclose(
            floats(rows, f"{name}_predicted"), arrays["y_pred"][..., column].reshape(-1)
        )
        np.testing.assert_allclose(floats(rows, f"{name}_true"), arrays["y_true"][..., column].reshape(-1))
    # what is true says which row it is, so that its time and group can be told from the file
    for row in rows:
        number = int(float(row["visits_true"]))
        assert row["time"].startswith(f"{months[number % 40]:%Y-%m-%d}")
        assert row["group"] == ("a, b" if number < 40 else "c") and row["step"] in "12"
    last = [row for row in rows_of(ran, "predictions-future.csv") if row["group"] == "c"][-2:]
    assert [row["time"][:10] for row in last] == ["2018-05-01", "2018-06-01"]
    assert [row["sales_true"] for row in last] == ["", ""]
    assert ran.metrics["predictions"]["future"]["table"] == "predictions-future.csv"
    assert "t.csv: 80 rows in 2 series, 1 month apart, make " in ran.log


def test_classes_have_names_and_probabilities(launcher: Launched) -> None:
    x = np.random.default_rng(0).normal(size=(12, 3, 1))
    files = {"t.npz": {"x": x, "y": np.array(["stuck", "idle", "works"] * 4)}}
    text = (
        "data: {train: t.npz}\nmodel: {layers: [LSTM: {units: 2}, Dense: {units: 3, activation: softmax}]}\n"
        "training: {loss: sparse_categorical_crossentropy}\npredict: [train]\n"
    )
    ran = run(launcher, text, files)
    arrays, rows = ran.predictions(), rows_of(ran)
    assert list(rows[0]) == ["sample", "true", "predicted", "p_idle", "p_stuck", "p_works"]
    assert [row["true"] for row in rows] == ["stuck", "idle", "works"] * 4
    assert [row["predicted"] for row in rows] == arrays["y_class"].tolist()
    np.testing.assert_allclose(floats(rows, "p_works"), arrays["y_pred"][:, 2])


def test_labelled_steps_stand_one_under_the_other_without_padding(launcher: Launched) -> None:
    lengths = [2, 4, 3]
    gesture = np.repeat(["x", "y", "z"], lengths)
    files = {"t.csv": csv_of({
        "gesture": gesture, "at": np.arange(9) * 10, "a": np.arange(9.0), "kind": list("ababbabab")})}  # fmt: skip
    text = (
        "data: {train: t.csv, time: at, sequence: {by: gesture, label: each}, features: [a], target: kind}\n"
        "model: {layers: [Masking: {mask_value: -1}, LSTM: {units: 2, return_sequences: true}, "
        "Dense: {units: 1, activation: sigmoid}]}\n"
        "training: {loss: binary_crossentropy}\npredict: [train]\n"
    )
    ran = run(launcher, text, files)
    rows = rows_of(ran)
    assert [row["sequence"] for row in rows] == gesture.tolist()
    assert [row["step"] for row in rows] == ["1", "2", "1", "2", "3", "4", "1", "2", "3"]
    assert [row["time"] for row in rows] == [str(one) for one in range(0, 90, 10)]
    assert "".join(row["true"] for row in rows) == "ababbabab"
    assert all((float(row["p_b"]) > 0.5) == (row["predicted"] == "b") for row in rows)


def test_a_huge_table_is_not_written_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    part = prepared(tmp_path, "{train: t.npz}", {"t.npz": {"x": np.zeros((6, 2, 1)), "y": np.zeros(6)}}).train
    monkeypatch.setattr(prediction_table, "MOST_ROWS", 5)
    path = tmp_path / "predictions.csv"
    arrays = {"y_pred": np.zeros((6, 1), np.float32)}
    assert not prediction_table.write(path, arrays, part, (), ["y"]) and not path.exists()
    assert "6 rows of 2 columns are in predictions.npz alone" in capsys.readouterr().out


@pytest.mark.parametrize(("scores", "column"), [((), "p_1"), (("y",), "score_1")])
def test_logits_between_0_and_1_are_no_probabilities(
    tmp_path: Path, scores: tuple[str, ...], column: str
) -> None:
    part = prepared(
        tmp_path, "{train: t.npz}", {"t.npz": {"x": np.zeros((6, 2, 1)), "y": np.arange(6) % 2}}
    ).train
    logits = np.linspace(0.1, 0.9, 6, dtype=np.float32)[:, None]
    arrays = {"y_pred": logits, "y_class": (logits[:, 0] > 0) * 1}
    assert prediction_table.write(tmp_path / "predictions.csv", arrays, part, (), ["y"], scores)
    assert (tmp_path / "predictions.csv").read_text().splitlines()[0] == f"sample,predicted,{column}"


def test_outputs_whose_columns_would_have_one_name_lose_none(tmp_path: Path) -> None:
    given = {"x": np.zeros((4, 2, 1)), "y": np.zeros(4), "z": np.arange(4) % 2}
    rest = (
        "model: {branches: {a: {inputs: x, layers: [Flatten: {}, Dense: {units: 1}]}, "
        "a_y: {inputs: x, layers: [Flatten: {}, Dense: {units: 1, activation: sigmoid}]}}, outputs: [a, a_y]}\n"
        "training: {loss: {a: mse, a_y: binary_crossentropy}}\n"
    )
    part = prepared(tmp_path, "{train: t.npz, y: {a: y, a_y: z}}", {"t.npz": given}, rest=rest).train
    number, share = np.arange(4.0)[:, None], np.linspace(0.1, 0.9, 4)[:, None]
    arrays = {
        "y_pred": number,
        "y_pred_a": number,
        "y_pred_a_y": share,
        "y_class_a_y": (share[:, 0] > 0.5) * 1,
    }
    path = tmp_path / "predictions.csv"
    assert prediction_table.write(path, arrays, part, (), ["a", "a_y"])
    table = pd.read_csv(path)
    assert list(table) == ["sample", "a_y_predicted", "a_y_predicted_2", "a_y_p_1"]
    assert table["a_y_predicted"].tolist() == [0, 1, 2, 3]
    assert table["a_y_predicted_2"].tolist() == [0, 0, 1, 1]
