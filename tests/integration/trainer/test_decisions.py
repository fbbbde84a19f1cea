"""Which class a prediction is: against NumPy on the outputs of the saved model, and the metrics against Keras's own,
fed with probabilities that NumPy has made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
import yaml

from gpujobs.jobfile import load
from gpujobs.trainer.decision import activation_of, decision, decisions, notices

from .conftest import Launched
from .jobs import Ran, run

JOB = """
data: {train: t.npz, validation: v.npz, y: %(y)s%(data)s}
model: {layers: [Flatten: {}, Dense: {units: %(units)d, activation: %(activation)s}]}
training:
  loss: %(loss)s
  optimizer: {Adam: {learning_rate: 0.05}}
  metrics: [%(metrics)s]
  epochs: 2
predict: [validation]
%(task)s
"""
BINARY = "accuracy, Precision, Recall, AUC, F1Score, BinaryAccuracy"


def sigmoid(values: Any) -> Any:
    return 1 / (1 + np.exp(-values.astype(np.float64)))


def softmax(values: Any) -> Any:
    powers = np.exp(values.astype(np.float64))
    return powers / powers.sum(axis=-1, keepdims=True)


def same(values: Any) -> Any:
    return values.astype(np.float64)


@dataclass(frozen=True)
class Case:
    """`shown`: what the metrics of Keras are given. `threshold`: None where the largest unit is the class."""

    loss: str
    activation: str
    shown: Any
    threshold: float | None
    y: str = "y"
    units: int = 1
    metrics: str = BINARY
    task: str = ""
    data: str = ""


MANY = "accuracy, AUC, Precision, {F1Score: {average: macro}}"
CASES = {
    "probabilities": Case("binary_crossentropy", "sigmoid", same, 0.5),
    "an alias": Case("bce", "sigmoid", same, 0.5),
    "logits": Case("{BinaryCrossentropy: {from_logits: true}}", "linear", sigmoid, 0.0),
    "logits of tanh": Case("{BinaryCrossentropy: {from_logits: true}}", "tanh", sigmoid, 0.0),
    "focal logits": Case("{BinaryFocalCrossentropy: {from_logits: true}}", "linear", sigmoid, 0.0),
    "logits that are probabilities": Case(
        "{BinaryFocalCrossentropy: {from_logits: true}}", "sigmoid", same, 0.5
    ),
    "hinge": Case("hinge", "tanh", sigmoid, 0.0),
    "hinge of signs": Case("squared_hinge", "linear", sigmoid, 0.0, y="s"),
    "names": Case("{Hinge: {}}", "linear", sigmoid, 0.0, data=", classes: [low, high]"),
    "shares of three": Case("categorical_crossentropy", "softmax", same, None, "k", 3, MANY),
    "logits of three": Case(
        "{CategoricalCrossentropy: {from_logits: true}}", "linear", softmax, None, "k", 3, MANY
    ),
    "sparse logits": Case(
        "{SparseCategoricalCrossentropy: {from_logits: true}}", "linear", same, None, "k", 3, "accuracy"
    ),
    "categorical hinge": Case("categorical_hinge", "linear", softmax, None, "k", 3, "accuracy"),
    "one unit each of three": Case("binary_crossentropy", "sigmoid", same, None, "k", 3, "accuracy"),
    "tversky": Case("tversky", "sigmoid", same, 0.5),
    "labels": Case("binary_crossentropy", "sigmoid", same, 0.5, "m", 2, "accuracy, AUC, F1Score", "task: multilabel"),
    "labels by logits": Case(
        "{BinaryCrossentropy: {from_logits: true}}", "linear", sigmoid, 0.0, "m", 2, "accuracy, Recall, F1Score",
        "task: multilabel"),
    "classes by squares": Case("mse", "sigmoid", same, 0.5, metrics="accuracy", task="task: classification"),
}  # fmt: skip


def arrays(seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(80, 5, 1)).astype(np.float32)
    total = x.sum(axis=(1, 2))
    y = (total > 0.4).astype(np.int64)
    return {
        "x": x,
        "y": y,
        "s": 2 * y - 1,
        "k": np.digitize(total, [-1, 1]),
        "m": np.stack([y, total < -1], 1) * 1,
    }


def text_of(case: Case) -> str:
    keys = ("y", "units", "activation", "loss", "metrics", "task", "data")
    return JOB % {key: getattr(case, key) for key in keys}


def ours(launcher: Launched, case: Case) -> Ran:
    return run(launcher, text_of(case), {"t.npz": arrays(1), "v.npz": arrays(2)})


def expected_classes(case: Case, p: Any) -> Any:
    if case.threshold is None:
        return p.argmax(axis=-1)
    return (p > case.threshold).astype(np.int64).reshape(p.shape if case.units > 1 else -1)


def check_f1(ran: Ran, said: Any, truth: Any, case: Case) -> None:
    """Of each class or label, from the classes that were predicted; of a single unit that of its class 1."""
    if case.units == 3:
        said, truth = np.eye(3)[said], np.eye(3)[truth]
    else:
        high = {"s": 1, "y": "high" if case.data else 1}.get(case.y, 1)
        said, truth = ((one == high).reshape(len(one), -1) * 1 for one in (said, truth))
    f1 = [2 * (a * b).sum() / (a.sum() + b.sum()) for a, b in zip(said.T, truth.T, strict=True)]
    columns = sorted(key for key in ran.history if key.startswith(("val_F1Score", "val_f1_score")))
    got = [ran.history[key][-1] for key in columns]
    assert got == pytest.approx(f1 if len(got) > 1 else [np.mean(f1)], abs=1e-5)


@pytest.mark.filterwarnings("ignore:.*from_logits=True:UserWarning")
@pytest.mark.parametrize("name", CASES)
def test_classes_metrics_and_evaluation_agree(launcher: Launched, name: str) -> None:
    case = CASES[name]
    ran, given = ours(launcher, case), arrays(2)
    model = keras.saving.load_model(ran.job.results / "model.keras", compile=False)
    p = np.asarray(model(given["x"]))
    wanted, found = expected_classes(case, p), ran.predictions()
    truth = given[case.y]
    if case.y == "s":
        wanted = 2 * wanted - 1
    if case.data:
        wanted, truth = np.array(["low", "high"])[wanted], np.array(["low", "high"])[truth]
    assert (found["y_class"] == wanted).all() and (found["y_true"] == truth).all()
    accuracy = (wanted == truth).mean()
    assert ran.metrics["evaluation"]["model"]["accuracy"] == pytest.approx(accuracy)
    assert ran.metrics["predictions"]["validation"]["accuracy"] == pytest.approx(accuracy)
    assert ran.history["val_accuracy"][-1] == pytest.approx(accuracy, rel=1e-5)
    y = given[{"s": "y"}.get(case.y, case.y)]
    y = np.eye(3)[y] if case.y == "k" else y.reshape(len(y), -1)
    others = {"Precision", "Recall", "AUC", "BinaryAccuracy"} & set(case.metrics.split(", "))
    for metric in others:
        keras_own = getattr(keras.metrics, metric)()
        keras_own.update_state(y, case.shown(p))
        assert ran.history[f"val_{metric}"][-1] == pytest.approx(float(keras_own.result()), abs=2e-4), metric
    if "F1Score" in case.metrics:
        check_f1(ran, wanted, truth, case)
    told = decisions(yaml.safe_load((ran.job.results / "job.yaml").read_text()), model)  # as `predict` does
    (one,) = told.values()
    assert (one.classes(p) == expected_classes(case, p)).all()


@pytest.mark.parametrize(
    ("loss", "activation", "said"),
    [
        ("binary_crossentropy", "linear", "expects probabilities, and the last activation is linear"),
        ("{BinaryFocalCrossentropy: {from_logits: true}}", "sigmoid", "leave one of the two out"),
        ("hinge", "sigmoid", "whose labels are -1 and 1"),
    ],
)
def test_what_does_not_fit_together_is_said(loss: str, activation: str, said: str) -> None:
    job = load("job.yaml", text_of(Case(loss, activation, same, 0.5, metrics="accuracy"))).resolved
    model = keras.Sequential([keras.Input((5, 1)), keras.layers.LSTM(6), keras.layers.Dense(1, activation)])
    (notice,) = notices(job, model)
    assert said in notice


def test_what_merges_probabilities_is_one() -> None:
    """As a branch does that ends with two heads side by side."""
    given = keras.Input((4,))
    heads = [keras.layers.Dense(1, activation="sigmoid")(given) for _ in range(2)]
    other = keras.layers.Dense(1)(given)
    assert activation_of(keras.layers.Reshape((2, 1))(keras.layers.Concatenate()(heads))) == "sigmoid"
    assert activation_of(keras.layers.Concatenate()([*heads, other])) == ""
    assert activation_of(keras.layers.Softmax()(other)) == "softmax"


def test_an_activation_that_makes_probabilities_is_believed_first() -> None:
    loss = {"BinaryCrossentropy": {"from_logits": True}}
    assert decision("classification", loss, "sigmoid", 1).threshold == 0.5
    assert decision("classification", loss, "linear", 1).threshold == 0.0
