"""Figures by hand, and by the textbook's formulas, of small arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gpujobs.trainer import prediction
from gpujobs.trainer.data.fitting.counted import labels
from gpujobs.trainer.data.samples.windowed import Windowed
from gpujobs.trainer.evaluation import (
    class_figures,
    constant,
    describe,
    evaluate,
    number_figures,
    series_forecasts,
)

from .data.making import csv, prepared

RECURRENT = "model: {layers: [LSTM: {units: 2}, Dense: {units: 3}]}\ntraining: {loss: mse}\n"


def test_figures_of_classes() -> None:
    """Of 10: 8 of class 0, of which 7 are found, and 2 of class 1, of which 1 is."""
    truth = np.array([0] * 8 + [1] * 2)
    said = np.array([0] * 7 + [1, 1, 0])
    found = class_figures(truth, said)
    assert found["accuracy"] == pytest.approx(0.8)
    assert found["balanced_accuracy"] == pytest.approx((7 / 8 + 1 / 2) / 2)
    assert found["macro_f1"] == pytest.approx((2 * 7 / (8 + 8) + 2 * 1 / (2 + 2)) / 2)


def test_a_class_that_is_said_and_never_there_has_an_f1_of_zero() -> None:
    found = class_figures(np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1]))
    assert found["balanced_accuracy"] == pytest.approx(0.75)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_figures_of_numbers_have_the_targets_units() -> None:
    found = number_figures(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, -1.0]))
    assert found == {"mae": pytest.approx(2.0), "rmse": pytest.approx(np.sqrt(20 / 3))}


def of_classes(truth: list[int], said: list[int], most: Any = 0, **more: Any) -> dict[str, Any]:
    arrays = {"y_true": np.array(truth), "y_class": np.array(said), **more}
    return evaluate(arrays, np.asarray(most), {})


def test_where_classes_are_rare_balanced_accuracy_decides() -> None:
    """A model that finds the rare class, at some cost, is better than one that always says the other."""
    truth = [0] * 95 + [1] * 5
    said = [0] * 85 + [1] * 10 + [1] * 4 + [0]
    found = of_classes(truth, said)
    assert found["model"]["accuracy"] < found["baselines"]["majority class"]["accuracy"] == 0.95
    assert found["metric"] == "balanced_accuracy" and found["better_than_baseline"]
    assert found["rare"] == {"class": 1, "samples": 5, "of": 100}
    line = describe({"part": "test", "samples": 100, **found})[0]
    assert line == (
        "balanced_accuracy 0.8474 on the test part, better than majority class: 0.5; accuracy 0.89, macro_f1 0.6801, "
        "100 samples. Class 1 is rare (5 of 100), so balanced accuracy decides: the mean over the "
        "classes of the share that is found"
    )


def test_classes_of_a_like_number_are_told_by_accuracy() -> None:
    found = of_classes([0] * 6 + [1] * 4, [0] * 5 + [1] * 5)
    assert found["metric"] == "accuracy" and found["rare"] is None


def test_each_class_has_its_figures_and_its_row_of_the_confusion() -> None:
    truth, said = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2]
    names = np.array(["a", "b", "c", "never"])
    found = of_classes([0], [0])
    found = evaluate({"y_true": names[truth], "y_class": names[said], "classes": names}, np.asarray("a"), {})
    assert found["confusion"] == {
        "classes": ["a", "b", "c", "never"],
        "matrix": [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]],
    }
    assert found["classes"][1] == {"class": "b", "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert found["classes"][3] == {"class": "never", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}


def test_of_very_many_classes_the_most_frequent_are_told() -> None:
    truth = np.concatenate([np.arange(400), np.full(5, 7), np.full(5, 390)])
    found = of_classes(truth.tolist(), truth.tolist())
    assert len(found["classes"]) == len(found["confusion"]["matrix"]) == 50
    assert {7, 390} < {*found["confusion"]["classes"]}


def test_the_baseline_says_the_majority() -> None:
    found = of_classes([0] * 6 + [1] * 4, [1] * 10, most=0)
    assert found["baselines"]["majority class"]["accuracy"] == 0.6 and not found["better_than_baseline"]


def test_labels_of_one_sample_each_have_their_figures() -> None:
    truth, said = np.array([[1, 0], [1, 1], [0, 0], [0, 1]]), np.array([[1, 0], [0, 1], [0, 1], [0, 1]])
    found = evaluate({"y_true": truth, "y_class": said, "classes": np.array(["hot", "wet"])}, np.zeros(2), {})
    assert found["model"]["accuracy"] == 6 / 8
    assert found["classes"][0] == {
        "class": "hot", "precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2
    }  # fmt: skip


def test_of_labels_figures_are_means_over_the_labels() -> None:
    """As scikit-learn's `f1_score(average="macro")` and `balanced_accuracy_score` of each column have them, by hand."""
    truth, said = np.zeros((40, 3), int), np.zeros((40, 3), int)
    truth[:22, 0], said[2:26, 0] = 1, 1
    truth[:8, 1] = 1
    truth[:2, 2], said[:4, 2] = 1, 1
    names = np.array(["hot", "wet", "rare"])
    found = evaluate({"y_true": truth, "y_class": said, "classes": names}, np.array([1, 0, 0]), {})
    model = found["model"]
    assert model["accuracy"] == (34 + 32 + 38) / 120
    assert model["balanced_accuracy"] == pytest.approx(
        np.mean([(20 / 22 + 14 / 18) / 2, (0 + 1) / 2, (1 + 36 / 38) / 2])
    )
    assert model["macro_f1"] == pytest.approx(np.mean([2 * 20 / 46, 0, 2 * 2 / 6]))
    assert found["baselines"]["majority class"]["balanced_accuracy"] == 0.5
    assert found["rare"] == {"class": "rare", "value": 1, "samples": 2, "of": 40}
    lines = describe({"part": "test", "samples": 40, **found})
    assert lines[0].endswith(
        "40 samples. Of 40 only 2 have the label rare, so balanced accuracy decides: the mean, over the labels, of the "
        "shares that are found of those that have one and of those that lack it"
    )
    assert lines[3] == "  label rare: precision 0.5, recall 1, f1 0.6667 (2 there)"


def test_labels_that_half_have_are_not_rare_however_many_there_are() -> None:
    truth = np.tile([[0, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 0]], (5, 1))
    found = evaluate({"y_true": truth, "y_class": truth}, np.zeros(4), {})
    assert found["metric"] == "accuracy" and found["rare"] is None


def test_what_does_not_count_is_no_figure_of_model_or_baseline() -> None:
    truth, said = np.array([[0, 1, 9], [1, 9, 9]]), np.array([[0, 0, 9], [1, 5, 5]])
    counted = np.array([[True, True, False], [True, False, False]])
    found = evaluate({"y_true": truth, "y_class": said, "counted": counted}, np.asarray(1), {})
    assert found["model"]["accuracy"] == pytest.approx(2 / 3) and found["counted"] == 3
    assert found["baselines"]["majority class"]["accuracy"] == pytest.approx(2 / 3)


def test_each_target_and_each_step_ahead_has_its_figures() -> None:
    random = np.random.default_rng(0)
    truth, said = random.normal(size=(20, 3, 2)), random.normal(size=(20, 3, 2))
    found = evaluate({"y_true": truth, "y_pred": said}, np.zeros(2), {}, ("load", "price"), is_forecast=True)
    error = np.abs(said - truth)
    assert [one["target"] for one in found["targets"]] == ["load", "price"]
    assert [one["mae"] for one in found["targets"]] == pytest.approx(error.mean(axis=(0, 1)).tolist())
    assert [one["step"] for one in found["steps"]] == [1, 2, 3]
    assert [one["rmse"] for one in found["steps"]] == pytest.approx(
        np.sqrt(np.square(error).mean(axis=(0, 2))).tolist()
    )
    lines = describe({"part": "test", "samples": 20, **found})
    assert "in the units of load, price as in the data" in lines[0]
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "load",
        "price",
        "1 ahead",
        "2 ahead",
        "3 ahead",
    ]


def test_a_mean_for_each_step_of_a_sample_is_laid_over_one_column() -> None:
    truth = np.array([[[1.0], [5.0]], [[3.0], [7.0]]])
    found = evaluate({"y_true": truth, "y_pred": truth + 1}, np.array([2.0, 6.0]), {})
    assert found["baselines"]["mean"]["mae"] == 1.0


SERIES = {"a": [5.0, 1.0, 8.0, 2.0, 7.0, 3.0, 9.0, 4.0, 6.0, 0.0], "b": [50.0, 20.0, 70.0, 10.0, 90.0, 30.0]}


def test_naive_forecasts_look_back_only_and_never_into_another_series(tmp_path: Path) -> None:
    """Season 2, horizon 3: the third step ahead is forecast by the value two seasons before it."""
    columns = {
        "site": [name for name, one in SERIES.items() for _ in one],
        "v": [value for one in SERIES.values() for value in one],
    }
    data = "{train: s.csv, group: site, target: v, features: [v], window: {length: 1, horizon: 3}}"
    part = prepared(tmp_path, data, {"s.csv": csv(columns)}, rest=RECURRENT).train
    assert isinstance(part.assembled, Windowed)
    found = series_forecasts(part.assembled, "y", 2)
    last, season = [], []
    for one in SERIES.values():
        for start in range(len(one) - 3):
            last.append([one[start]] * 3)
            before = [start + 1 - 2, start + 2 - 2, start + 3 - 4]
            season.append([one[row] if row >= 0 else one[start] for row in before])
    assert found["last value"][..., 0].tolist() == last
    assert found["a season before"][..., 0].tolist() == season


def test_naive_forecasts_of_arrays_are_of_the_target_and_not_of_what_is_shown(tmp_path: Path) -> None:
    y = np.arange(12.0) ** 2
    data = "{train: t.npz, window: {length: 2, horizon: 3}}"
    part = prepared(tmp_path, data, {"t.npz": {"x": -y[:, None], "y": y}}, rest=RECURRENT).train
    assert isinstance(part.assembled, Windowed)
    found = series_forecasts(part.assembled, "y", 3)
    assert found["last value"][..., 0].tolist() == [[y[start + 1]] * 3 for start in range(8)]
    assert found["a season before"][2:, :, 0].tolist() == [
        [*y[start - 1 : start + 2]] for start in range(2, 8)
    ]


def test_what_is_always_said_is_the_majority_and_of_labels_each_ones(tmp_path: Path) -> None:
    x = np.zeros((5, 2, 1))
    rest = "model: {layers: [LSTM: {units: 2}, Dense: {units: 3, activation: softmax}]}\n"
    rest += "training: {loss: sparse_categorical_crossentropy}\n"
    one = prepared(tmp_path, "{train: t.npz}", {"t.npz": {"x": x, "y": np.array([2, 0, 2, 1, 2])}}, rest=rest)
    assert constant(one.train, "y", "classification", one.preprocessing) == 2
    rest = "task: multilabel\nmodel: {layers: [LSTM: {units: 2}, Dense: {units: 2, activation: sigmoid}]}\n"
    rest += "training: {loss: binary_crossentropy}\n"
    y = np.array([[1, 0], [1, 0], [1, 1], [0, 0], [1, 0]])
    one = prepared(tmp_path, "{train: t.npz}", {"t.npz": {"x": x, "y": y}}, rest=rest)
    assert constant(one.train, "y", "multilabel", one.preprocessing).tolist() == [1, 0]


@pytest.mark.parametrize("file", ["t.npz", "t.csv"])
def test_one_event_in_each_sample_is_a_label_of_its_step_and_no_one_hot_row(
    tmp_path: Path, file: str
) -> None:
    """Of 6 steps one is 1: whatever step that is, what to say always is 0."""
    at = np.array([3, 1, 3, 5, 0, 3, 2, 4])
    y = (np.arange(6) == at[:, None]).astype(np.int64)
    rest = "task: labelling\nmodel: {layers: [LSTM: {units: 2, return_sequences: true}, "
    rest += "Dense: {units: 1, activation: sigmoid}]}\ntraining: {loss: binary_crossentropy}\n"
    if file == "t.npz":
        given: Any = {"x": np.zeros((8, 6, 1)), "y": y}
        data = "{train: t.npz, split: {method: chronological, test: 0.25}}"
    else:
        given = csv({"v": np.arange(48), "k": y.reshape(-1)})
        data = "{train: t.csv, features: [v], target: k, window: {length: 6, stride: 6, horizon: 0}}"
    one = prepared(tmp_path, data, {file: given}, rest=rest)
    assert constant(one.train, "y", "labelling", one.preprocessing) == 0
    found = labels(one.train.truth, "y", "labelling")
    assert np.bincount(found.astype(int)).tolist() == ([30, 6] if file == "t.npz" else [40, 8])


def test_a_labelling_has_figures_of_its_classes_not_of_its_steps() -> None:
    names = np.array(["calm", "storm", "wind"])
    truth, said = names[[[0, 0, 2], [2, 2, 1]]], names[[[0, 2, 2], [2, 0, 1]]]
    found = evaluate(
        {"y_true": truth, "y_class": said, "classes": names}, np.asarray("wind"), {}, is_labelling=True
    )
    assert found["confusion"] == {
        "classes": ["calm", "storm", "wind"], "matrix": [[1, 0, 1], [0, 1, 0], [1, 0, 2]]
    }  # fmt: skip
    assert [(one["class"], one["support"], one["precision"]) for one in found["classes"]] == [
        ("calm", 2, 0.5), ("storm", 1, 1.0), ("wind", 3, pytest.approx(2 / 3))
    ]  # fmt: skip
    assert found["baselines"]["majority class"]["accuracy"] == 0.5


@pytest.mark.parametrize("features", ["[v, u]", "[u]"])
def test_the_last_value_seen_is_one_that_was_there(tmp_path: Path, features: str) -> None:
    """As pandas' `ffill` within a site has it; where none was seen before, nobody knows it."""
    values = [np.nan, 1.0, 2.0, np.nan, np.nan, 5.0, 6.0, 7.0, np.nan, 9.0, 10.0, 11.0]
    frame = pd.DataFrame({"site": ["a"] * 8 + ["b"] * 4, "v": values, "u": np.arange(12.0)})
    data = f"{{train: s.csv, group: site, target: v, features: {features}, missing: fill, window: {{length: 1}}}}"
    part = prepared(tmp_path, data, {"s.csv": frame.to_csv(index=False)}, rest=RECURRENT).train
    assert isinstance(part.assembled, Windowed)
    found = series_forecasts(part.assembled, "y", 2)
    seen = frame.groupby("site")["v"].ffill()
    before = frame.groupby("site")["v"].shift(1)  # two steps before the target, which is one ahead
    rows = [0, 1, 4, 5, 6, 8, 9, 10]
    np.testing.assert_array_equal(found["last value"][:, 0, 0], seen[rows])
    np.testing.assert_array_equal(found["a season before"][:, 0, 0], before.fillna(seen)[rows])


@pytest.mark.parametrize("truth", [None, np.zeros((5, 3, 2))])
def test_several_steps_ahead_have_one_shape_whether_or_not_the_truth_is_known(truth: Any) -> None:
    said = np.arange(30.0).reshape(5, 6)
    np.testing.assert_array_equal(prediction.in_units(said, None, truth, 3), said.reshape(5, 3, 2))


def test_as_good_as_anybodys_forecast_is_not_better() -> None:
    same = of_classes([0] * 6 + [1] * 4, [0] * 10)
    assert same["model"] == same["baselines"]["majority class"] and not same["better_than_baseline"]
    truth = np.array([[1.0], [3.0]])
    even = evaluate({"y_true": truth, "y_pred": truth * 0 + 2}, np.array([2.0]), {})
    assert not even["better_than_baseline"]


def test_where_a_forecast_knows_nothing_it_says_what_is_always_said() -> None:
    truth = np.array([[1.0], [3.0], [5.0]])
    last = np.array([[np.nan], [1.0], [3.0]])
    found = evaluate({"y_true": truth, "y_pred": truth}, np.array([3.0]), {"last value": last})
    assert found["baselines"]["last value"]["mae"] == 2.0
    assert found["baselines"]["mean"]["mae"] == pytest.approx(4 / 3)


@pytest.mark.parametrize(("common", "is_rare"), [(15, False), (16, True)])
def test_a_class_is_rare_below_half_of_an_even_share(common: int, is_rare: bool) -> None:
    """Of two classes: less than a quarter of all. 5 of 20 are one."""
    truth = [0] * common + [1] * 5
    found = of_classes(truth, truth)
    assert (found["rare"] is not None, found["metric"] == "balanced_accuracy") == (is_rare, is_rare)


def test_the_last_value_seen_lies_before_a_gap(tmp_path: Path) -> None:
    """Of a forecast for three rows later, what is between is not known when it is made."""
    data = "{train: s.csv, target: v, features: [v], window: {length: 2, horizon: 1, gap: 3}}"
    part = prepared(tmp_path, data, {"s.csv": csv({"v": np.arange(12.0) ** 2})}, rest=RECURRENT).train
    assert isinstance(part.assembled, Windowed)
    found = series_forecasts(part.assembled, "y", 4)
    assert part.truth.target("y").ravel().tolist() == [float(n * n) for n in range(5, 12)]
    assert found["last value"].ravel().tolist() == [float(n * n) for n in range(1, 8)]
    assert found["a season before"].ravel().tolist() == [float(n * n) for n in range(1, 8)]


def test_of_labels_that_are_as_often_there_as_not_the_baseline_says_no(tmp_path: Path) -> None:
    rest = "task: multilabel\nmodel: {layers: [LSTM: {units: 2}, Dense: {units: 2, activation: sigmoid}]}\n"
    rest += "training: {loss: binary_crossentropy}\n"
    y = np.array([[1, 0], [0, 1], [1, 1], [0, 1]])
    one = prepared(tmp_path, "{train: t.npz}", {"t.npz": {"x": np.zeros((4, 2, 1)), "y": y}}, rest=rest)
    assert constant(one.train, "y", "multilabel", one.preprocessing).tolist() == [0, 1]


def test_of_many_steps_ahead_the_first_the_last_and_some_between_are_said() -> None:
    truth = np.zeros((4, 40, 1))
    found = evaluate({"y_true": truth, "y_pred": truth + 1}, np.zeros(1), {}, ("v",), is_forecast=True)
    lines = describe({"part": "test", "samples": 4, **found})[1:]
    steps = [int(line.split()[0]) for line in lines]
    assert (len(steps), steps[0], steps[-1]) == (10, 1, 40) and steps == sorted(steps)
    assert len(found["steps"]) == 40


def test_the_mean_that_is_always_said_is_of_the_steps_that_count(tmp_path: Path) -> None:
    """What pads a sequence is none of its numbers."""
    rest = "model: {layers: [LSTM: {units: 2, return_sequences: true}, Dense: {units: 1}]}\ntraining: {loss: mse}\n"
    given = {"x": np.zeros((3, 4, 1)), "n": np.array([1, 4, 2]), "y": np.full((3, 4), 99.0)}
    given["y"][0, :1], given["y"][1], given["y"][2, :2] = 1.0, [2.0, 3.0, 4.0, 5.0], 6.0
    one = prepared(tmp_path, "{train: t.npz, lengths: n}", {"t.npz": given}, rest=rest)
    assert constant(one.train, "y", "regression", one.preprocessing) == pytest.approx(27 / 7)
