"""Losses and metrics are means over the steps that are there, whatever pads or masks the others: against NumPy on the
outputs of the saved model, and against Keras's own `fit` of weights that say the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from gpujobs.trainer.failures import DataError
from tests.unit.trainer.data.making import prepared

from .conftest import Launched
from .jobs import Ran, run

LONGEST = 12
JOB = """
task: %(task)s
data: {train: t.npz, validation: v.npz%(data)s}
model:
  layers:
    [%(first)s%(layer)s, Dense: {units: %(units)d, activation: %(activation)s}]
training:
  loss: %(loss)s
  optimizer: {SGD: {learning_rate: %(rate)s}}
  metrics: [%(metrics)s]
  epochs: 1
  batch_size: %(batch)d
  backend: %(backend)s
  shuffle: false
  %(training)s
predict: [validation]
"""
EACH_STEP = "Dense: {units: 4, activation: tanh}"
"""Hands a mask on, as an LSTM does, and is traced in a quarter of the time."""
LABELS = {
    "layer": EACH_STEP,
    "task": "labelling", "units": 2, "activation": "softmax", "loss": "sparse_categorical_crossentropy",
    "metrics": "accuracy", "data": ", lengths: n", "first": "", "rate": "0.0", "batch": 7, "training": "seed: 0",
    "backend": "tensorflow",
}  # fmt: skip
NUMBERS = {
    **LABELS, "task": "regression", "units": 1, "activation": "linear", "loss": "mse", "metrics": "mae",
    "data": "", "first": "Masking: {}, ",
}  # fmt: skip


def text(form: Mapping[str, Any], **more: Any) -> str:
    return JOB % {**form, **more}


def sequences(seed: int, count: int) -> dict[str, Any]:
    """The first is long: most of a padded batch is padding. Labels of 1 are rare."""
    random = np.random.default_rng(seed)
    lengths = random.integers(2, 5, count)
    lengths[0] = LONGEST
    x = random.normal(size=(lengths.sum(), 2)).astype(np.float32)
    return {"x": x, "y": (x[:, 0] > 0.8).astype(np.int64), "n": lengths, "w": random.random(count)}


def padded(given: Mapping[str, Any], value: float = 0.0) -> dict[str, Any]:
    """As a user pads them with keras.utils.pad_sequences, labels with 0."""
    ends = np.cumsum(given["n"])[:-1]

    def rows(name: str, fill: float) -> Any:
        return keras.utils.pad_sequences(
            np.split(given[name], ends), LONGEST, given[name].dtype, "post", value=fill
        )

    return {"x": rows("x", value), "y": rows("y", 0), "n": given["n"], "w": given["w"]}


def there(given: Mapping[str, Any]) -> Any:
    return np.arange(LONGEST) < given["n"][:, None]


def entropies(ran: Ran, given: Mapping[str, Any], value: float = 0.0) -> tuple[Any, Any]:
    """Of each step that is there: its loss, and whether its label is the likelier one."""
    one, real = padded(given, value), there(given)
    p = np.asarray(ran.model()(one["x"]))[real]
    y = one["y"][real]
    return -np.log(p[np.arange(len(y)), y]), p.argmax(axis=1) == y


TRAIN, VALIDATION = sequences(1, 23), sequences(2, 11)


def check(ran: Ran, train: Any, validation: Any, right: Any, right_validation: Any) -> None:
    """The weights did not change, so that the loss of the epoch is that of the model."""
    assert ran.history["loss"][0] == pytest.approx(train, rel=1e-5)
    assert ran.history["val_loss"][0] == pytest.approx(validation, rel=1e-5)
    assert ran.history["accuracy"][0] == pytest.approx(right, rel=1e-5)
    assert ran.history["val_accuracy"][0] == pytest.approx(right_validation, rel=1e-5)


@pytest.mark.parametrize(
    ("first", "value"), [("", 0.0), ("Masking: {}, ", 0.0), ("Masking: {mask_value: -9.0}, ", -9.0)]
)
def test_the_figures_of_an_epoch_are_means_over_its_real_steps(
    launcher: Launched, first: str, value: float
) -> None:
    layer = "LSTM: {units: 4, return_sequences: true}"
    ran = run(launcher, text(LABELS, first=first, layer=layer), {"t.npz": TRAIN, "v.npz": VALIDATION})
    loss, right = entropies(ran, TRAIN, value)
    other, right_there = entropies(ran, VALIDATION, value)
    check(ran, loss.mean(), other.mean(), right.mean(), right_there.mean())
    assert ran.metrics["evaluation"]["model"]["accuracy"] == pytest.approx(right_there.mean())
    assert ran.metrics["predictions"]["validation"]["accuracy"] == pytest.approx(right_there.mean())
    assert ran.metrics["predictions"]["validation"]["count"] == VALIDATION["n"].sum()
    assert (ran.predictions()["counted"] == there(VALIDATION)).all()


def test_jax_counts_the_same_steps(jax_launcher: Launched) -> None:
    ran = run(jax_launcher, text(LABELS, backend="jax"), {"t.npz": TRAIN, "v.npz": VALIDATION})
    with np.load(ran.job.results / "predictions.npz") as found:
        p, real = found["y_pred"], there(VALIDATION)
    y = padded(VALIDATION)["y"][real]
    expected = -np.log(p[real][np.arange(len(y)), y]).mean()
    assert ran.history["val_loss"][0] == pytest.approx(expected, rel=1e-4)
    assert ran.history["val_accuracy"][0] == pytest.approx((p[real].argmax(axis=1) == y).mean(), rel=1e-5)


def test_weights_of_samples_and_classes_leave_the_count_of_steps_alone(launcher: Launched) -> None:
    """Of Keras's form: the weighted losses' sum, divided by how many steps are there; metrics are not weighted."""
    more = {"data": ", lengths: n, sample_weight: w", "training": 'class_weight: {"1": 3.0}'}
    ran = run(launcher, text(LABELS, **more), {"t.npz": TRAIN, "v.npz": VALIDATION})
    loss, right = entropies(ran, TRAIN)
    other, right_there = entropies(ran, VALIDATION)
    weight = np.repeat(TRAIN["w"], TRAIN["n"]) * np.where(TRAIN["y"] == 1, 3.0, 1.0)
    weight_there = np.repeat(VALIDATION["w"], VALIDATION["n"])
    check(ran, (weight * loss).mean(), (weight_there * other).mean(), right.mean(), right_there.mean())


def test_arrays_that_the_user_has_padded_count_where_the_mask_leaves_them(launcher: Launched) -> None:
    files = {"t.npz": padded(TRAIN), "v.npz": padded(VALIDATION)}
    ran = run(launcher, text(LABELS, data="", first="Masking: {}, "), files)
    loss, right = entropies(ran, TRAIN)
    other, right_there = entropies(ran, VALIDATION)
    check(ran, loss.mean(), other.mean(), right.mean(), right_there.mean())
    evaluation = ran.metrics["evaluation"]
    assert evaluation["model"]["accuracy"] == pytest.approx(right_there.mean())
    assert evaluation["baselines"]["majority class"]["accuracy"] == pytest.approx(1 - VALIDATION["y"].mean())
    assert evaluation["counted"] == VALIDATION["n"].sum()


def test_labels_that_the_loss_ignores_count_nowhere(launcher: Launched) -> None:
    files = {"t.npz": padded(TRAIN), "v.npz": padded(VALIDATION)}
    for one, given in ((files["t.npz"], TRAIN), (files["v.npz"], VALIDATION)):
        one["y"][~there(given)] = -1
    loss = "{SparseCategoricalCrossentropy: {ignore_class: -1}}"
    ran = run(launcher, text(LABELS, data="", loss=loss), files)
    one, right = entropies(ran, TRAIN)
    other, right_there = entropies(ran, VALIDATION)
    check(ran, one.mean(), other.mean(), right.mean(), right_there.mean())
    assert (ran.predictions()["y_true"][~there(VALIDATION)] == -1).all()
    assert ran.metrics["evaluation"]["confusion"]["classes"] == [0, 1]
    assert np.sum(ran.metrics["evaluation"]["confusion"]["matrix"]) == VALIDATION["n"].sum()


def test_a_step_of_training_is_that_of_the_mean_over_real_steps(launcher: Launched) -> None:
    """Keras's `fit` of one batch with weights that make its mean one over the steps that are there."""
    files = {"t.npz": TRAIN, "v.npz": VALIDATION}
    before = run(launcher, text(LABELS, batch=64), files).model()
    after = run(launcher, text(LABELS, batch=64, rate="0.5"), files)
    one, real = padded(TRAIN), there(TRAIN)
    before.compile(loss="sparse_categorical_crossentropy", optimizer=keras.optimizers.SGD(0.5))
    before.fit(one["x"], one["y"], sample_weight=real * (real.size / real.sum()), batch_size=64, verbose=0)
    for ours, theirs in zip(after.weights(), before.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_numbers_for_each_step(launcher: Launched) -> None:
    """A regression of padded arrays, scaled: means, scales and the evaluation know the real steps only."""
    files = {"t.npz": padded(TRAIN), "v.npz": padded(VALIDATION)}
    for one, given in ((files["t.npz"], TRAIN), (files["v.npz"], VALIDATION)):
        one["y"] = np.where(there(given), one["x"].sum(axis=2) * 3 + 50, 0).astype(np.float32)
    ran = run(launcher, text(NUMBERS, data=", scaling: standard"), files)
    real, y = there(TRAIN), files["t.npz"]["y"]
    learned = ran.json("preprocessing.json")
    assert learned["y"]["y"]["center"] == pytest.approx([y[real].mean()], rel=1e-5)
    assert learned["y"]["y"]["width"] == pytest.approx([y[real].std()], rel=1e-4)
    assert learned["x"]["x"]["center"] == pytest.approx(TRAIN["x"].mean(axis=0), rel=1e-4)
    found, there_too = ran.predictions(), there(VALIDATION)
    error = (found["y_pred"] - found["y_true"])[there_too, 0]
    assert ran.metrics["evaluation"]["model"]["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-5)
    mean = np.abs(files["v.npz"]["y"][there_too] - y[real].mean()).mean()
    assert ran.metrics["evaluation"]["baselines"]["mean"]["mae"] == pytest.approx(mean, rel=1e-5)
    assert ran.history["val_loss"][0] == pytest.approx(np.square(error / y[real].std()).mean(), rel=1e-4)
    assert ran.history["val_mae"][0] == pytest.approx(np.abs(error / y[real].std()).mean(), rel=1e-4)
    assert ran.metrics["units"] == {"history": "scaled targets (standard)", "evaluation": "the data's own"}


def test_numbers_for_each_step_of_sequences_with_lengths(launcher: Launched) -> None:
    """Without a layer that masks: neither the loss nor the evaluation knows what the user has padded with."""
    files = {"t.npz": padded(TRAIN), "v.npz": padded(VALIDATION)}
    for one, given in ((files["t.npz"], TRAIN), (files["v.npz"], VALIDATION)):
        one["y"] = np.where(there(given), one["x"].sum(axis=2) * 3 + 50, 1e6).astype(np.float32)
    ran = run(launcher, text(NUMBERS, data=", scaling: standard, lengths: n", first=""), files)
    y, found, real = files["t.npz"]["y"][there(TRAIN)], ran.predictions(), there(VALIDATION)
    error = found["y_pred"][real, 0] - files["v.npz"]["y"][real]
    evaluated = ran.metrics["evaluation"]
    assert evaluated["model"]["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-4)
    mean = np.abs(files["v.npz"]["y"][real] - y.mean()).mean()
    assert evaluated["baselines"]["mean"]["mae"] == pytest.approx(mean, rel=1e-4)
    assert ran.history["val_loss"][0] == pytest.approx(np.square(error / y.std()).mean(), rel=1e-4)


def test_scaling_leaves_the_padding_alone(launcher: Launched) -> None:
    """Padded by the user, or told by lengths: the same training."""
    job = """
data: {train: t.npz, split: {method: random, validation: 0.25}, scaling: %s%s}
model: {layers: [Masking: {}, GlobalAveragePooling1D: {}, Dense: {units: 1}]}
training: {loss: mse, optimizer: {Adam: {learning_rate: 0.02}}, epochs: 3}
predict: [validation]
"""
    given = padded(sequences(3, 60))
    x, last = given["x"] * 2 + 5, given["n"] - 1
    x[~there(given)] = 0
    files = {"t.npz": {"x": x, "y": x[np.arange(60), last, 0], "n": given["n"]}}
    for method in ("standard", "robust"):
        one = run(launcher, job % (method, ""), files)
        other = run(launcher, job % (method, ", lengths: n"), files)
        assert one.json("preprocessing.json")["x"] == other.json("preprocessing.json")["x"]
        np.testing.assert_allclose(one.predictions()["y_pred"], other.predictions()["y_pred"], rtol=1e-4)


def test_ids_of_an_embedding_that_masks_zero(launcher: Launched) -> None:
    job = """
task: labelling
data: {train: t.npz, validation: v.npz}
model:
  layers:
    - Embedding: {input_dim: 9, output_dim: 3, mask_zero: true}
    - Dense: {units: 4, activation: tanh}
    - Dense: {units: 1, activation: sigmoid}
training: {loss: binary_crossentropy, optimizer: {SGD: {learning_rate: 0.0}}, metrics: [accuracy, AUC], batch_size: 7}
predict: [validation]
"""
    files: dict[str, Any] = {}
    for name, given in (("t.npz", TRAIN), ("v.npz", VALIDATION)):
        random = np.random.default_rng(len(given["n"]))
        ids = np.where(there(given), random.integers(1, 9, (len(given["n"]), LONGEST)), 0)
        files[name] = {"x": ids.astype(np.int32), "y": (ids > 5).astype(np.int64)}
    ran = run(launcher, job, files)
    for name, prefix, given in (("t.npz", "", TRAIN), ("v.npz", "val_", VALIDATION)):
        real = there(given)
        p = np.asarray(ran.model()(files[name]["x"]))[real][:, 0].astype(np.float64)
        y = files[name]["y"][real]
        loss = -np.where(y == 1, np.log(p), np.log(1 - p)).mean()
        assert ran.history[f"{prefix}loss"][0] == pytest.approx(loss, rel=1e-4)
        assert ran.history[f"{prefix}accuracy"][0] == pytest.approx(((p > 0.5) == y).mean(), rel=1e-5)
        auc = keras.metrics.AUC()
        auc.update_state(y, p)
        assert ran.history[f"{prefix}AUC"][0] == pytest.approx(float(auc.result()), rel=1e-4)


def test_several_outputs_each_count_their_own_steps(launcher: Launched) -> None:
    """One with a number for each step of a padded array, one with a number for each sample."""
    job = """
data: {train: t.npz, validation: v.npz, y: {steps: y, whole: z}}
model:
  branches:
    read: {inputs: [x], layers: [Masking: {}, LSTM: {units: 4, return_sequences: true}]}
    steps: {inputs: [read], layers: [Dense: {units: 1}]}
    whole: {inputs: [read], layers: [LSTM: {units: 3}, Dense: {units: 1}]}
  outputs: [steps, whole]
training: {loss: {steps: mse, whole: mse}, optimizer: {SGD: {learning_rate: 0.0}}, metrics: [mae], batch_size: 7}
predict: [validation]
"""
    files: dict[str, Any] = {}
    for name, given in (("t.npz", TRAIN), ("v.npz", VALIDATION)):
        one = padded(given)
        y = one["x"].sum(axis=2)
        files[name] = {"x": one["x"], "y": y + 9 * there(given), "z": y.sum(axis=1)}
    ran = run(launcher, job, files)
    model = ran.model()
    for name, prefix, given in (("t.npz", "", TRAIN), ("v.npz", "val_", VALIDATION)):
        p, real = model(files[name]["x"]), there(given)
        steps = (np.asarray(p["steps"])[:, :, 0] - files[name]["y"])[real]
        whole = np.asarray(p["whole"])[:, 0] - files[name]["z"]
        expected = {
            "steps_loss": np.square(steps).mean(), "whole_loss": np.square(whole).mean(),
            "steps_mae": np.abs(steps).mean(), "whole_mae": np.abs(whole).mean(),
            "loss": np.square(steps).mean() + np.square(whole).mean(),
        }  # fmt: skip
        for key, value in expected.items():
            assert ran.history[prefix + key][0] == pytest.approx(value, rel=1e-4), key


def test_the_losses_of_several_outputs_are_means_over_samples_whatever_the_batches_are(
    launcher: Launched,
) -> None:
    """The last of three batches has a single sample."""
    job = """
data: {train: t.npz, validation: v.npz, y: {near: y, far: z}}
model:
  branches:
    read: {inputs: [x], layers: [Flatten: {}]}
    near: {inputs: [read], layers: [Dense: {units: 1}]}
    far: {inputs: [read], layers: [Dense: {units: 1}]}
  outputs: [near, far]
training: {loss: {near: mse, far: mae}, optimizer: {SGD: {learning_rate: 0.0}}, batch_size: 7, shuffle: false}
predict: [validation]
"""
    files: dict[str, Any] = {}
    for name, seed in (("t.npz", 1), ("v.npz", 2)):
        x = np.random.default_rng(seed).normal(size=(15, 3, 1)).astype(np.float32)
        x[-1] = 50.0
        files[name] = {"x": x, "y": x.sum(axis=(1, 2)), "z": x.mean(axis=(1, 2)) ** 2}
    ran = run(launcher, job, files)
    model = ran.model()
    for name, prefix in (("t.npz", ""), ("v.npz", "val_")):
        p = model.predict(files[name]["x"], verbose=0)
        near = np.square(p["near"][:, 0] - files[name]["y"]).mean()
        far = np.abs(p["far"][:, 0] - files[name]["z"]).mean()
        for key, value in {"near_loss": near, "far_loss": far, "loss": near + far}.items():
            assert ran.history[prefix + key][0] == pytest.approx(value, rel=1e-4), key


def test_that_no_label_counts_is_said(tmp_path: Path) -> None:
    layers = "Masking: {}, LSTM: {units: 2, return_sequences: true}, Dense: {units: 2}"
    rest = f"task: labelling\nmodel: {{layers: [{layers}]}}\ntraining: {{loss: sparse_categorical_crossentropy}}\n"
    given = {"x": np.zeros((4, 3, 1)), "y": np.zeros((4, 3), int)}
    with pytest.raises(DataError, match="no label of the training part counts"):
        prepared(tmp_path, "{train: t.npz}", {"t.npz": given}, rest=rest)


def test_one_hot_labels_are_no_labels_to_ignore(tmp_path: Path) -> None:
    rest = "model: {layers: [LSTM: {units: 2}, Dense: {units: 3}]}\n"
    rest += "training: {loss: {SparseCategoricalCrossentropy: {ignore_class: -1}}}\n"
    given = {"x": np.zeros((6, 3, 1)), "y": np.eye(3)[[0, 1, 2, 0, 1, 2]]}
    assert not prepared(tmp_path, "{train: t.npz}", {"t.npz": given}, rest=rest).train.samples.counted
