"""Each feature of `training:` against Keras's own `fit`, from the same weights and with the same order of samples."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from gpujobs.jobfile import load
from gpujobs.paths import JobPaths
from gpujobs.trainer import building
from gpujobs.trainer.checkpoint import FILE

from .conftest import Launched, ended, log_has
from .jobs import Ran, run, spec_of
from .resuming import stop

SAMPLES, BATCH, EPOCHS = 90, 16, 6
TEXT = """
data: {train: t.npz, validation: v.npz%(data)s}
model: {layers: [Flatten: {}, Dense: {units: %(units)d, activation: %(activation)s}]}
training:
  loss: %(loss)s
  epochs: 6
  batch_size: 16
  shuffle: false
  %(training)s
predict: [validation]
"""


def arrays(seed: int, kind: str) -> dict[str, Any]:
    """With another seed the numbers are the opposite: what is learned from the first makes those worse."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(SAMPLES, 5, 2)).astype(np.float32)
    total = x.sum(axis=(1, 2))
    y = {
        "number": total if seed == 1 else -total,
        "class": np.digitize(total, [-2, 2]),
        "binary": (total > 1).astype(np.int64),
    }[kind]
    return {"x": x, "y": y, "w": random.random(SAMPLES).astype(np.float32)}


FORMS = {
    "number": {"units": 1, "activation": "linear", "loss": "mse"},
    "class": {"units": 3, "activation": "softmax", "loss": "sparse_categorical_crossentropy"},
    "binary": {"units": 1, "activation": "sigmoid", "loss": "binary_crossentropy"},
}


def text_of(kind: str, training: str, data: str = "") -> str:
    return TEXT % {**FORMS[kind], "training": training or "seed: 0", "data": data}


@cache  # several tests look at the same training
def ours(launcher: Launched, kind: str, training: str, data: str = "") -> Ran:
    files = {"t.npz": arrays(1, kind), "v.npz": arrays(2, kind)}
    return run(launcher, text_of(kind, training, data), files)


def theirs(kind: str, training: str, data: str = "", **fit: Any) -> tuple[Any, Any]:
    """The model and the history of Keras's fit."""
    job = load("job.yaml", text_of(kind, training, data)).resolved
    keras.utils.set_random_seed(0)
    model = building.build(job, {"x": (5, 2)})
    given, other = arrays(1, kind), arrays(2, kind)
    shape = (-1,) if kind == "class" else (-1, 1)
    validation: tuple[Any, ...] = (other["x"], other["y"].reshape(shape))
    if "sample_weight" in fit:
        validation = (*validation, other["w"])
    history = model.fit(
        given["x"], given["y"].reshape(shape), validation_data=validation, shuffle=False, verbose=0,
        epochs=EPOCHS, batch_size=BATCH, **fit,
    )  # fmt: skip
    return model, history.history


def monitor(make: Callable[..., Any], **settings: Any) -> Callable[[], dict[str, Any]]:
    return lambda: {"callbacks": [make(**settings)]}


CASES: Mapping[str, tuple[str, str, str, Callable[[], dict[str, Any]]]] = {
    "plain": ("number", "", "", dict),
    "metrics": ("class", "metrics: [accuracy]", "", dict),
    "sample weights": ("number", "", ", sample_weight: w", lambda: {"sample_weight": arrays(1, "number")["w"]}),
    "class weights": (
        "class", 'class_weight: {"0": 3.0, "2": 0.5}', "", lambda: {"class_weight": {0: 3.0, 1: 1.0, 2: 0.5}}),
    "class weights of a single unit": (
        "binary", 'class_weight: {"1": 4.0}', "", lambda: {"class_weight": {0: 1.0, 1: 4.0}}),
    "both weights": (
        "class", 'class_weight: {"0": 3.0}', ", sample_weight: w",
        lambda: {"sample_weight": arrays(1, "class")["w"] * np.where(arrays(1, "class")["y"] == 0, 3, 1)}),
    "a learning rate schedule": (
        "number", "optimizer: {Adam: {learning_rate: {ExponentialDecay: {initial_learning_rate: 0.05, "
        "decay_steps: 5, decay_rate: 0.7, staircase: true}}}}", "", dict),
    "clipping": ("number", "optimizer: {SGD: {learning_rate: 0.1, momentum: 0.9, clipnorm: 0.05}}", "", dict),
    "early stopping": (
        "number", "optimizer: {SGD: {learning_rate: 0.05}}\n  early_stopping: {monitor: val_loss, patience: 1}", "",
        monitor(keras.callbacks.EarlyStopping, monitor="val_loss", patience=1)),
    "early stopping with the best weights": (
        "number", "optimizer: {SGD: {learning_rate: 0.05}}\n  early_stopping: {monitor: val_loss, patience: 2, "
        "restore_best_weights: true}", "",
        monitor(keras.callbacks.EarlyStopping, monitor="val_loss", patience=2, restore_best_weights=True)),
    "reducing the learning rate": (
        "number", "optimizer: {SGD: {learning_rate: 0.05}}\n  reduce_lr_on_plateau: {monitor: loss, patience: 1, "
        "factor: 0.5, min_delta: 1.0}", "",
        monitor(keras.callbacks.ReduceLROnPlateau, monitor="loss", patience=1, factor=0.5, min_delta=1.0)),
    "averages of the weights": (
        "number", "optimizer: {SGD: {learning_rate: 0.05, use_ema: true, ema_momentum: 0.9}}", "", dict),
    "the best weights of a training with averages": (
        "number", "optimizer: {SGD: {learning_rate: 0.05, use_ema: true, ema_momentum: 0.9}}\n  early_stopping: "
        "{monitor: val_loss, patience: 2, restore_best_weights: true}", "",
        monitor(keras.callbacks.EarlyStopping, monitor="val_loss", patience=2, restore_best_weights=True)),
    "a few steps per execution": ("number", "steps_per_execution: 4", "", dict),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of a callback of Keras
@pytest.mark.parametrize("name", CASES)
def test_the_same_as_the_fit_of_keras(launcher: Launched, name: str) -> None:
    kind, training, data, options = CASES[name]
    ran = ours(launcher, kind, training, data)
    model, history = theirs(kind, training, data, **options())
    assert len(ran.history["loss"]) == len(history["loss"])
    for column in ran.history.keys() - {"epoch"}:
        np.testing.assert_allclose(ran.history[column], history[column], rtol=2e-4, atol=1e-6, err_msg=column)
    for one, other in zip(ran.weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def loss_of(ran: Ran) -> float:
    """The mean squared error of the saved model on the validation part."""
    given = arrays(2, "number")
    return float(np.square(np.asarray(ran.model()(given["x"]))[:, 0] - given["y"]).mean())


def test_what_the_cases_show_does_happen(launcher: Launched) -> None:
    """Early stopping stops, the rate is reduced, and the weights of another epoch than the last are taken."""
    stopped = ours(launcher, *CASES["early stopping with the best weights"][:3])
    assert len(stopped.history["loss"]) < EPOCHS and "Stopped early" in stopped.log
    best = int(np.argmin(stopped.history["val_loss"]))
    assert best < len(stopped.history["loss"]) - 1
    assert loss_of(stopped) == pytest.approx(stopped.history["val_loss"][best], rel=1e-5)
    reduced = ours(launcher, *CASES["reducing the learning rate"][:3])
    assert len(set(reduced.history["learning_rate"])) > 1 and "The learning rate is" in reduced.log


def test_the_weights_of_the_best_epoch(launcher: Launched) -> None:
    training = "optimizer: {SGD: {learning_rate: 0.05}}\n  best_weights: {monitor: val_loss}"
    ran = ours(launcher, "number", training)
    losses = ran.history["val_loss"]
    assert len(losses) == EPOCHS and np.argmin(losses) != EPOCHS - 1
    assert loss_of(ran) == pytest.approx(min(losses), rel=1e-5)
    found = ran.predictions()
    assert np.square(found["y_pred"] - found["y_true"]).mean() == pytest.approx(min(losses), rel=1e-5)


def test_a_validation_split_is_that_of_keras(launcher: Launched) -> None:
    text = text_of("number", "validation_split: 0.2").replace(", validation: v.npz", "")
    ran = run(launcher, text, {"t.npz": arrays(1, "number")})
    given = arrays(1, "number")
    keras.utils.set_random_seed(0)
    model = building.build(load("job.yaml", text).resolved, {"x": (5, 2)})
    history = model.fit(
        given["x"],
        given["y"][:, None],
        validation_split=0.2,
        shuffle=False,
        verbose=0,
        epochs=EPOCHS,
        batch_size=BATCH,
    ).history
    np.testing.assert_allclose(ran.history["val_loss"], history["val_loss"], rtol=1e-4)
    assert ran.metrics["samples"] == {"train": 72, "validation": 18}


def test_a_metric_with_a_value_for_each_class_has_a_column_for_each(launcher: Launched) -> None:
    """In history.csv, metrics.json and the last progress; one of them can be watched."""
    metrics = "[accuracy, F1Score, FBetaScore: {beta: 2.0, average: macro}]"
    training = f"metrics: {metrics}\n  best_weights: {{monitor: val_F1Score_1}}"
    text = text_of("class", training).replace("sparse_", "")
    ran = run(launcher, text, {"t.npz": arrays(1, "class"), "v.npz": arrays(2, "class")})
    keras.utils.set_random_seed(0)
    model = building.build(load("job.yaml", text).resolved, {"x": (5, 2)})
    given, other = ((one["x"], np.eye(3)[one["y"]]) for one in (arrays(1, "class"), arrays(2, "class")))
    expected = model.fit(
        *given, validation_data=other, shuffle=False, verbose=0, epochs=EPOCHS, batch_size=BATCH
    ).history
    columns = [f"F1Score_{number}" for number in range(3)]
    for prefix in ("", "val_"):
        found = np.stack([ran.history[prefix + column] for column in columns], axis=1)
        np.testing.assert_allclose(found, np.stack(expected[f"{prefix}F1Score"]), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(
            ran.history[f"{prefix}fbeta_score"], expected[f"{prefix}fbeta_score"], rtol=1e-4, atol=1e-6
        )
    assert "F1Score" not in ran.history
    assert ran.metrics["final"]["F1Score_2"] == ran.history["F1Score_2"][-1]
    assert ran.metrics["kept"]["val_F1Score_1"] == max(ran.history["val_F1Score_1"])
    assert ran.record["progress"].items() >= ran.metrics["final"].items()


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(launcher: Launched, precision: str) -> None:
    """Layers compute in halves, variables and what is written are float32."""
    training = (
        f"precision: {precision}\n  optimizer: {{Adam: {{learning_rate: 0.02}}}}\n"
        "  reduce_lr_on_plateau: {monitor: loss, min_delta: 1000.0, patience: 2}"
    )
    ran = ours(launcher, "number", training)
    found = ran.predictions()
    assert found["y_pred"].dtype == np.float32 and np.isfinite(found["y_pred"]).all()
    model = ran.model()
    assert {layer.dtype_policy.name for layer in model.layers} == {precision}
    assert {weight.dtype for weight in model.get_weights()} == {np.dtype(np.float32)}
    assert ran.history["loss"][-1] < ran.history["loss"][0]
    assert ran.history["learning_rate"][-1] < 0.01


def test_the_seed_decides(launcher: Launched) -> None:
    files = {"t.npz": arrays(1, "number"), "v.npz": arrays(2, "number")}

    def of(seed: int) -> Mapping[str, list[float]]:
        text = text_of("number", f"seed: {seed}").replace("shuffle: false", "shuffle: true")
        return run(launcher, text, files).history

    zero, one = of(0), of(1)
    assert (zero, one) == (of(0), of(1))
    assert zero != one


def test_a_loss_that_is_not_a_number_ends_the_job(launcher: Launched) -> None:
    files = {"t.npz": arrays(1, "number"), "v.npz": arrays(2, "number")}
    text = text_of("number", "optimizer: {SGD: {learning_rate: 1.0e+38}}")
    ran = run(launcher, text, files, state="FAILED")
    assert ran.record["reason"] == "NaNLoss"
    assert re.match(r"(val_)?loss became (nan|inf); a smaller learning rate, clipnorm", ran.record["message"])
    assert not (ran.job.results / "metrics.json").exists()


def test_the_last_good_checkpoint_is_kept(launcher: Launched) -> None:
    """A learning rate that explodes after 100 epochs, of a job that was stopped, with a checkpoint, before."""
    decay = "{PiecewiseConstantDecay: {boundaries: [600], values: [0.001, 1.0e+38]}}"
    text = text_of("number", f"optimizer: {{SGD: {{learning_rate: {decay}}}}}").replace(
        "epochs: 6", "epochs: 9999"
    )
    spec = spec_of(launcher, text, {"t.npz": arrays(1, "number"), "v.npz": arrays(2, "number")})
    with launcher.paced():
        paths = launcher.start(spec)
        log_has(paths, "Epoch 3/")
        stop(paths, "preempt")
        assert ended(paths)["stopped_for"] == "preempt"
    record = ended(launcher.start({**spec, "attempt": 2}))
    assert (record["state"], record["reason"]) == ("FAILED", "NaNLoss")
    with np.load(JobPaths(Path(spec["job_dir"])).checkpoint / FILE, allow_pickle=False) as archive:
        numbers = [archive[name] for name in archive.files if archive[name].dtype.kind == "f"]
        assert len(json.loads(str(archive["state"]))["rows"]) >= 2
    assert len(numbers) >= 4 and all(np.isfinite(one).all() for one in numbers)
