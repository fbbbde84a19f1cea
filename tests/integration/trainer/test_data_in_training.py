"""Data through a whole training: what the model was given, and that predictions are in the user's terms."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.unit.trainer.data.making import csv

from .conftest import Launched
from .jobs import Ran, run

FORECAST = """
data:
  train: s.csv
  time: hour
  target: a
  features: [a, b]
  window: {length: 8, horizon: 2}
  scaling: standard
  split: {method: chronological, validation: 0.1, test: 0.2}
model: {layers: [GlobalAveragePooling1D: {}, Dense: {units: 2}]}
training: {loss: mse, epochs: 2, batch_size: 16}
predict: [train, validation, test]
"""


def series(rows: int = 200) -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {
        "hour": np.arange(rows),
        "a": random.normal(50, 9, rows).round(3),
        "b": random.normal(size=rows).round(3),
    }


def test_nothing_learned_moves_when_the_test_part_is_poisoned(launcher: Launched) -> None:
    """Scales, weights, the learning curve, and predictions in original units for all but the test part."""
    clean = series()
    poisoned = {
        name: values if name == "hour" else np.where(np.arange(200) < 160, values, values * 1e4 - 1e6)
        for name, values in clean.items()
    }
    one, other = (run(launcher, FORECAST, {"s.csv": csv(given)}) for given in (clean, poisoned))
    assert one.json("preprocessing.json") == other.json("preprocessing.json")
    assert one.history == other.history
    for name in ("predictions.npz", "predictions-validation.npz"):
        first, second = one.predictions(name), other.predictions(name)
        for key in ("y_pred", "y_true", "time"):
            np.testing.assert_array_equal(first[key], second[key])
    for a, b in zip(one.weights(), other.weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(
        one.predictions("predictions-test.npz")["y_true"], other.predictions("predictions-test.npz")["y_true"]
    )


def test_a_forecast_is_in_the_units_of_the_file_with_its_time(launcher: Launched) -> None:
    given = series()
    ran = run(launcher, FORECAST, {"s.csv": csv(given)})
    found = ran.predictions("predictions-test.npz")
    assert found["y_pred"].shape == found["y_true"].shape == (39, 2, 1)
    expected = np.stack([given["a"][160:199], given["a"][161:200]], axis=1)
    np.testing.assert_allclose(found["y_true"][:, :, 0], expected, rtol=1e-6)
    assert found["time"].tolist() == list(range(160, 199))
    assert found["y_pred"].min() > 30 and found["y_pred"].max() < 70
    evaluation = ran.metrics["evaluation"]
    error = np.abs(found["y_pred"] - found["y_true"]).mean()
    assert evaluation["model"]["mae"] == pytest.approx(error, rel=1e-5)
    last = np.abs(given["a"][159:198][:, None] - expected).mean()
    assert evaluation["baselines"]["last value"]["mae"] == pytest.approx(last, rel=1e-5)
    assert evaluation["baselines"]["mean"]["mae"] > 0


def test_a_file_to_predict_for_is_forecast_beyond_its_end(launcher: Launched) -> None:
    given = series()
    new = {name: values[:20] for name, values in series().items()}
    text = FORECAST.replace("predict: [train, validation, test]", "predict: [new.csv]")
    ran = run(launcher, text, {"s.csv": csv(given), "new.csv": csv(new)})
    found = ran.predictions()
    assert found["time"].tolist() == list(range(8, 21))
    assert np.isnan(found["y_true"][-1]).all() and np.isnan(found["y_true"][-2]).sum() == 1
    assert np.isfinite(found["y_pred"]).all()
    json.loads((ran.job.results / "metrics.json").read_text(), parse_constant=pytest.fail)


STATEFUL = """
data:
  train: s.csv
  group: site
  target: v
  window: {length: 5, stride: 5, horizon: 1}
  scaling: standard
model:
  layers:
    - LSTM: {units: 6, stateful: true, return_sequences: true}
    - GRU: {units: 5, stateful: true}
    - Dense: {units: 1}
training: {loss: mse, epochs: 2, batch_size: 4, shuffle: false}
predict: [train]
"""


def one_pass(ran: Ran, values: Any, ends: Any) -> Any:
    """The outputs after the steps `ends` of one pass over a whole series, by layers without states of their own."""
    import keras

    learned = ran.json("preprocessing.json")
    center, width = (np.array(learned["x"]["x"][key]) for key in ("center", "width"))
    model = keras.Sequential(
        [
            keras.Input((None, 1)),
            keras.layers.LSTM(6, return_sequences=True),
            keras.layers.GRU(5, return_sequences=True),
            keras.layers.Dense(1),
        ]
    )
    model.set_weights(ran.weights())
    outputs = model.predict(((values - center) / width)[None, :, None], verbose=0)[0, ends, 0]
    return outputs * np.array(learned["y"]["y"]["width"]) + np.array(learned["y"]["y"]["center"])


def test_a_stateful_model_predicts_what_one_long_pass_does(launcher: Launched) -> None:
    """Of two series of different length: the states of each begin at zero, and are carried to its end."""
    random = np.random.default_rng(3)
    values = {
        "a": random.normal(10, 3, 203).cumsum().round(3),
        "b": random.normal(-5, 2, 88).cumsum().round(3),
    }
    columns = {
        "site": [name for name, one in values.items() for _ in one],
        "v": np.concatenate(list(values.values())),
    }
    ran = run(launcher, STATEFUL, {"s.csv": csv(columns)})
    found = ran.predictions()
    for name, one in values.items():
        rows = found["group"] == name
        ends = np.arange(4, len(one) - 1, 5)
        np.testing.assert_allclose(found["y_true"][rows, 0], one[ends + 1], rtol=1e-6)
        np.testing.assert_allclose(found["y_pred"][rows, 0], one_pass(ran, one, ends), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_what_a_stateful_model_gives_in_halves_is_written_so_that_others_can_read_it(
    launcher: Launched, precision: str
) -> None:
    values = np.sin(np.arange(60) / 3).round(3)
    text = STATEFUL.replace("shuffle: false", f"shuffle: false, precision: {precision}")
    ran = run(launcher, text, {"s.csv": csv({"site": ["a"] * 60, "v": values})})
    found = ran.predictions()
    assert found["y_pred"].dtype == np.float32
    ends = np.arange(4, 59, 5)
    half = 2**-7 * 4  # so exact is bfloat16, in units of the outputs; some steps add up
    np.testing.assert_allclose(found["y_pred"][:, 0], one_pass(ran, values, ends), atol=half)


def test_a_stateful_model_comes_to_a_part_with_the_states_of_what_was_before_it(launcher: Launched) -> None:
    """One pass over each whole series: that the windows of a part do not begin a whole number of windows after it
    makes no difference, nor that one series has no rows before its first window."""
    random = np.random.default_rng(3)
    values = {
        "a": random.normal(10, 3, 203).cumsum().round(3),
        "b": random.normal(-5, 2, 90).cumsum().round(3),
    }
    columns = {
        "site": [name for name, one in values.items() for _ in one],
        "v": np.concatenate(list(values.values())),
    }
    split = "window: {length: 5, stride: 5, horizon: 1}\n  split: {method: chronological, validation: 0.2, test: 0.21}"
    text = STATEFUL.replace("window: {length: 5, stride: 5, horizon: 1}", split)
    text = text.replace("[train]", "[train, validation, test, {name: states, source: test, states: [lstm]}]")
    ran = run(launcher, text, {"s.csv": csv(columns)})
    for part in ("predictions.npz", "predictions-validation.npz", "predictions-test.npz"):
        found = ran.predictions(part)
        for name, one in values.items():
            rows = found["group"] == name
            ends = np.abs(one - found["y_true"][rows]).argmin(axis=1) - 1  # no value is there twice
            assert (np.diff(ends) == 5).all() and rows.any()
            np.testing.assert_allclose(
                found["y_pred"][rows, 0], one_pass(ran, one, ends), rtol=1e-4, atol=1e-3
            )
    states = ran.predictions("predictions-states.npz")
    np.testing.assert_array_equal(states["y_pred"], ran.predictions("predictions-test.npz")["y_pred"])
    assert states["lstm_h"].shape == (len(states["y_pred"]), 6) and np.abs(states["lstm_h"]).min() > 0


def test_each_epoch_of_a_stateful_model_begins_without_states(launcher: Launched) -> None:
    """Where nothing is learned, all epochs are alike, whatever the validation between them has left."""
    values = np.random.default_rng(5).normal(10, 3, 200).cumsum().round(3)
    split = "horizon: 1}\n  split: {method: chronological, validation: 0.3}"
    text = STATEFUL.replace("horizon: 1}", split).replace("  group: site\n", "")
    text = text.replace("loss: mse, epochs: 2", "loss: mse, epochs: 3, optimizer: {SGD: {learning_rate: 0}}")
    history = run(launcher, text, {"s.csv": csv({"v": values})}).history
    for name in ("loss", "val_loss"):
        assert history[name] == pytest.approx([history[name][0]] * 3, rel=1e-6)
        assert history[name][0] > 0


def test_arrays_of_a_stateful_model_go_on_where_the_training_part_stops(launcher: Launched) -> None:
    """Sample i of a batch continues sample i of the one before, from part to part."""
    import keras

    random = np.random.default_rng(4)
    x = random.normal(size=(36, 5, 1)).astype(np.float32)
    text = """
data: {train: t.npz}
model: {layers: [LSTM: {units: 4, stateful: true}, Dense: {units: 1}]}
training: {loss: mse, shuffle: false, batch_size: 3, validation_split: 0.25}
predict: [validation]
"""
    ran = run(launcher, text, {"t.npz": {"x": x, "y": x.sum(axis=(1, 2))}})
    model = keras.Sequential(
        [keras.Input((None, 1)), keras.layers.LSTM(4, return_sequences=True), keras.layers.Dense(1)]
    )
    model.set_weights(ran.weights())
    for row in range(3):
        whole = model.predict(x[row::3].reshape(1, -1, 1), verbose=0)[0, 4::5, 0]
        np.testing.assert_allclose(ran.predictions()["y_pred"][row::3, 0], whole[9:], rtol=1e-4, atol=1e-5)


def test_batch_sizes_are_proposed_that_fit_all_parts(launcher: Launched) -> None:
    text = """
data: {train: t.npz}
model: {layers: [LSTM: {units: 4, stateful: true}, Dense: {units: 1}]}
training: {loss: mse, shuffle: false, batch_size: 4, validation_split: 0.25}
"""
    for count, said in (
        (36, "27 (train) and 9 (validation) samples are no whole batches of 4, which a stateful model needs; use a "
             "batch_size of 1, 3, 9, which fits all of them"),
        (37, "27 (train) and 10 (validation) samples are no whole batches of 4, which a stateful model needs; use a "
             "batch_size of 1, which fits all of them; or parts with a common divisor"),
    ):  # fmt: skip
        x = np.zeros((count, 5, 1), np.float32)
        ran = run(launcher, text, {"t.npz": {"x": x, "y": x.sum(axis=(1, 2))}}, state="FAILED")
        assert said in ran.record["message"], ran.record


def test_a_class_that_a_part_lacks_is_said_with_the_split_that_helps(launcher: Launched) -> None:
    random = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 40)
    x = random.normal(size=(120, 6, 1)).astype(np.float32) + y[:, None, None]
    text = """
data: {train: t.npz}
model: {layers: [Flatten: {}, Dense: {units: 3, activation: softmax}]}
training: {loss: sparse_categorical_crossentropy, validation_split: 0.33}
"""
    ran = run(launcher, text, {"t.npz": {"x": x, "y": y}})
    assert (
        "t.npz: array y: the train part has no sample of class 2 (40 in validation): the model cannot learn it. "
        "data.split: {method: stratified, validation: 0.33} keeps the share of each class in every part."
    ) in ran.log
    assert (
        "t.npz: array y: the validation part has no sample of class 0 (40 in train): no figure of that part tells of it"
    ) in ran.log.replace("classes 0 (40 in train), 1 (40 in train)", "class 0 (40 in train)")
    baseline = ran.metrics["evaluation"]["baselines"]["majority class"]
    assert baseline["accuracy"] == 0  # 0, as the training part says, which the validation part has not
    split = "data: {train: t.npz, split: {method: stratified, validation: 0.33}}"
    text = text.replace("data: {train: t.npz}", split).replace(", validation_split: 0.33", "")
    assert "has no sample" not in run(launcher, text, {"t.npz": {"x": x, "y": y}}).log


def test_epochs_count_from_one_but_in_the_history_of_keras(launcher: Launched) -> None:
    ran = run(
        launcher, FORECAST.replace("epochs: 2", "epochs: 3, best_weights: {}"), {"s.csv": csv(series())}
    )
    assert ran.history["epoch"] == [0, 1, 2]
    kept = ran.metrics["kept"]
    assert kept["epoch"] == 1 + int(np.argmin(ran.history["val_loss"]))
    assert kept["val_loss"] == min(ran.history["val_loss"])
    assert "Epoch 1/3" in ran.log and "Epoch 3/3" in ran.log
    assert ran.metrics["units"] == {"history": "scaled targets (standard)", "evaluation": "the data's own"}
    assert "Losses and errors of epochs are of scaled targets (standard)" in ran.log
    scale = ran.json("preprocessing.json")["y"]["y"]["width"][0]
    error = ran.predictions("predictions-validation.npz")
    squares = np.square((error["y_pred"] - error["y_true"]) / scale).mean()
    assert kept["val_loss"] == pytest.approx(squares, rel=1e-4)


CLASSES = """
data: {train: t.npz, split: {method: stratified, test: 0.25}}
model: {layers: [Flatten: {}, Dense: {units: 8, activation: relu}, Dense: {units: 3, activation: softmax}]}
training: {loss: %s, epochs: 25, batch_size: 16, optimizer: {Adam: {learning_rate: 0.02}}, metrics: [accuracy]}
predict: [test]
"""


@pytest.mark.parametrize("loss", ["categorical_crossentropy", "sparse_categorical_crossentropy"])
def test_class_names_come_back(launcher: Launched, loss: str) -> None:
    random = np.random.default_rng(5)
    names = np.array(["rising", "falling", "flat"])
    kinds = random.integers(0, 3, 120)
    slopes = np.array([1.0, -1.0, 0.0])[kinds]
    x = slopes[:, None] * np.arange(6) / 3 + random.normal(0, 0.1, (120, 6))
    ran = run(launcher, CLASSES % loss, {"t.npz": {"x": x[..., None], "y": names[kinds]}})
    found = ran.predictions()
    assert found["classes"].tolist() == ["falling", "flat", "rising"]
    assert set(found["y_true"]) <= set(names) and set(found["y_class"]) <= set(names)
    chosen = found["classes"][found["y_pred"].argmax(axis=1)]
    assert chosen.tolist() == found["y_class"].tolist()
    right = float((found["y_class"] == found["y_true"]).mean())
    assert (
        right
        == ran.metrics["evaluation"]["model"]["accuracy"]
        == ran.metrics["predictions"]["test"]["accuracy"]
    )
    assert right > 0.8 and ran.metrics["evaluation"]["better_than_baseline"]
    assert f"predicted classes {found['y_class'][:20].tolist()}" in ran.log


def test_multilabel(launcher: Launched) -> None:
    random = np.random.default_rng(6)
    x = random.normal(size=(160, 5, 2))
    y = (x.mean(axis=1) > 0).astype(int)
    text = (
        "task: multilabel\ndata: {train: t.npz, classes: [wet, cold], split: {method: random, test: 0.25}}\n"
        "model: {layers: [Flatten: {}, Dense: {units: 2, activation: sigmoid}]}\n"
        "training: {loss: binary_crossentropy, epochs: 30, optimizer: {Adam: {learning_rate: 0.02}}}\n"
        "predict: [test]\n"
    )
    ran = run(launcher, text, {"t.npz": {"x": x, "y": y}})
    found = ran.predictions()
    assert found["classes"].tolist() == ["wet", "cold"]
    assert found["y_class"].shape == found["y_true"].shape == (40, 2)
    assert (found["y_class"] == (found["y_pred"] > 0.5)).all()
    assert ran.metrics["evaluation"]["better_than_baseline"]


def test_several_outputs_are_each_evaluated(launcher: Launched) -> None:
    random = np.random.default_rng(7)
    x = random.normal(size=(160, 5, 1)).astype(np.float32)
    files = {
        "t.npz": {
            "s": x,
            "sum": x.sum(axis=(1, 2)),
            "sign": np.where(x.sum(axis=(1, 2)) > 0, "plus", "minus"),
        }
    }
    text = """
data: {train: t.npz, x: {s: s}, y: {total: sum, sign: sign}, split: {method: random, test: 0.25}, scaling: standard}
model:
  branches:
    reads: {inputs: s, layers: [Flatten: {}, Dense: {units: 8}]}
    total: {inputs: reads, layers: [Dense: {units: 1}]}
    sign: {inputs: reads, layers: [Dense: {units: 1, activation: sigmoid}]}
  outputs: [total, sign]
training:
  loss: {total: mse, sign: binary_crossentropy}
  optimizer: {Adam: {learning_rate: 0.02}}
  epochs: 40
predict: [test]
"""
    ran = run(launcher, text, files)
    found, evaluation = ran.predictions(), ran.metrics["evaluation"]
    assert set(found["y_class_sign"]) <= {"plus", "minus"}
    np.testing.assert_allclose(found["y_true_total"].reshape(-1).std(), files["t.npz"]["sum"].std(), rtol=0.5)
    error = np.abs(found["y_pred_total"] - found["y_true_total"]).mean()
    assert evaluation["outputs"]["total"]["model"]["mae"] == pytest.approx(error, rel=1e-5)
    right = (found["y_class_sign"] == found["y_true_sign"]).mean()
    assert evaluation["outputs"]["sign"]["model"]["accuracy"] == pytest.approx(right)
    assert evaluation["better_than_baseline"]


def test_labels_of_steps_do_not_count_where_there_is_padding(launcher: Launched) -> None:
    """The metrics of a labelling with sequences of different length are those of its real steps."""
    random = np.random.default_rng(8)
    lengths = random.integers(2, 9, 60)
    x = random.normal(size=(lengths.sum(), 1))
    text = (
        "task: labelling\ndata: {train: t.npz, lengths: n, validation: t.npz}\n"
        "model: {layers: [Masking: {mask_value: -9.0}, LSTM: {units: 4, return_sequences: true}, "
        "Dense: {units: 2, activation: softmax}]}\n"
        "training: {loss: sparse_categorical_crossentropy, epochs: 3, batch_size: 64, metrics: [accuracy]}\n"
        "predict: [validation]\n"
    )
    ran = run(launcher, text, {"t.npz": {"x": x, "n": lengths, "y": (x[:, 0] > 0).astype(int)}})
    found = ran.predictions()
    is_there = np.arange(found["y_true"].shape[1]) < found["lengths"][:, None]
    right = (found["y_true"] == found["y_class"])[is_there].mean()
    assert ran.history["val_accuracy"][-1] == pytest.approx(right, abs=1e-6)
    assert ran.metrics["evaluation"]["model"]["accuracy"] == pytest.approx(right)
    chosen = np.take_along_axis(found["y_pred"], found["y_true"][..., None], axis=-1)[..., 0]
    assert ran.history["val_loss"][-1] == pytest.approx(-np.log(chosen[is_there]).mean(), rel=1e-4)


# What is predicted for

PREDICTED = """
data: {train: d.npz}
model: {layers: [Flatten: {}, Dense: {units: 1}]}
training: {loss: mse, epochs: 2}
predict: [%s]
"""
SAMPLES = {"x": np.ones((6, 3, 1), np.float32), "y": np.zeros(6, np.float32)}


def test_values_in_the_job_file_itself(launcher: Launched) -> None:
    """One sample, or several, as with a model that is trained already."""
    both = "{name: one, values: [[0], [0], [1]]}, {name: two, values: [[[0], [0], [1]], [[1], [1], [1]]]}"
    ran = run(launcher, PREDICTED % both, {"d.npz": SAMPLES})
    one, two = ran.predictions()["y_pred"], ran.predictions("predictions-two.npz")["y_pred"]
    assert (one.shape, two.shape) == ((1, 1), (2, 1))
    np.testing.assert_allclose(one[0], two[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (
            "{name: one, values: [[0, 1], [0, 1]]}",
            "values: have shape (1, 2, 2); expected one sample of shape (3, 1)",
        ),
        ("p.npz", "p.npz: array x: has shape (4, 1) for each sample; expected shape (3, 1)"),
    ],
)
def test_what_cannot_be_predicted_for_is_refused_before_the_training(
    launcher: Launched, entry: str, said: str
) -> None:
    """After it, the model would be lost."""
    files = {"d.npz": SAMPLES, "p.npz": {"x": np.ones((2, 4, 1), np.float32)}}
    ran = run(launcher, PREDICTED % entry, files, "FAILED")
    assert (ran.record["reason"], ran.record["message"][: len(said)]) == ("DataError", said)
    assert "Epoch" not in ran.log
