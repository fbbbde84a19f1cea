"""Building a model: what makes the first step slow, and what Keras refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .with_keras import python_with_keras

COUNT = """
import json, sys
import numpy as np
from gpujobs.trainer import building
from gpujobs.trainer.failures import TrainerError
from gpujobs.trainer.means import Means

REFUSED = "a layer that does not fit"

def count(job, shapes, *batch):
    is_counted = job.get("counted", False)
    model = building.build(job, {name: tuple(shape) for name, shape in shapes.items()}, masked=is_counted)
    means = Means(model, job, list(batch[1]))
    if is_counted:
        means.install()
    traced, one_step = [], model.train_step
    model.train_step = lambda data: traced.append(1) or one_step(data)
    x, y = ({name: np.zeros(shape, np.float32) for name, shape in part.items()} for part in batch)
    x, y = (next(iter(part.values())) if len(part) == 1 else part for part in (x, y))
    weight = None
    if is_counted:  # the last step of each sample is padding
        weight = {name: np.where(np.arange(shape[1]) < shape[1] - 1, 1.0, -1.0) + np.zeros(shape[:2])
                  for name, shape in batch[1].items()}
        weight = {name: one.astype(np.float32) for name, one in weight.items()}
        weight = next(iter(weight.values())) if len(weight) == 1 else weight
    building.make_metrics(model, job, means.batch((x, y, weight)) if is_counted else (x, y, None))
    if is_counted:
        means.track()
    step = model.make_train_function() or model.train_function
    for _ in range(2):
        logs = step(iter([(x, y, weight)]))
    return len(traced), sorted(logs)

def refused(job, shapes, *_):
    try:
        building.build(job, {name: tuple(shape) for name, shape in shapes.items()})
    except TrainerError as error:
        return str(error)

cases = json.loads(sys.argv[1])
print(json.dumps({name: refused(*case) if name == REFUSED else count(*case) for name, case in cases.items()}))
"""


def job(layers: list[Any], metrics: list[Any]) -> dict[str, Any]:
    training = {"loss": "binary_crossentropy", "optimizer": {"Adam": {}}, "metrics": metrics}
    return {"model": {"layers": layers}, "training": training}


LAYERS: list[Any] = [{"LSTM": {"units": 4}}, {"Dense": {"units": 3, "activation": "sigmoid"}}]
BRANCHES: dict[str, Any] = {
    "model": {
        "branches": {
            "a": {"inputs": ["x"], "layers": [{"LSTM": {"units": 4}}]},
            "late": {"inputs": ["a"], "layers": [{"Dense": {"units": 2}}]},
            "early": {"inputs": ["a"], "layers": [{"Dense": {"units": 1}}]},
        },
        "outputs": ["late", "early"],
    },
    "training": {
        "loss": {"late": "mean_squared_error", "early": "mean_squared_error"},
        "optimizer": {"Adam": {}},
        "metrics": ["mean_absolute_error"],
    },
}
EACH = job([{"LSTM": {"units": 4, "return_sequences": True}}, {"Dense": {"units": 3}}], ["accuracy"])
STEPS = {
    **BRANCHES,
    "model": {
        **BRANCHES["model"],
        "branches": {
            **BRANCHES["model"]["branches"],
            "a": {"inputs": ["x"], "layers": [{"LSTM": {"units": 4, "return_sequences": True}}]},
        },
    },
}
CASES: dict[str, list[Any]] = {
    # The job, the shapes of its inputs, and those of a batch's x and y.
    "classes": [job(LAYERS, ["accuracy", "AUC"]), {"x": (6, 1)}, {"x": (5, 6, 1)}, {"y": (5, 3)}],
    "no metrics": [job(LAYERS, []), {"x": (6, 1)}, {"x": (5, 6, 1)}, {"y": (5, 3)}],
    "a label per step": [
        job([{"LSTM": {"units": 4, "return_sequences": True}}, {"Dense": {"units": 3}}], ["accuracy"]),
        {"x": (None, 1)},
        {"x": (5, 6, 1)},
        {"y": (5, 6, 3)},
    ],
    "steps that count": [{**EACH, "counted": True}, {"x": (None, 1)}, {"x": (5, 6, 1)}, {"y": (5, 6, 3)}],
    "steps of several outputs that count": [
        {**STEPS, "counted": True},
        {"x": (6, 1)},
        {"x": (5, 6, 1)},
        {"late": (5, 6, 2), "early": (5, 6, 1)},
    ],
    "a layer that does not fit": [job([*LAYERS, {"LSTM": {"units": 2}}], []), {"x": (6, 1)}, {}, {}],
    "several outputs": [BRANCHES, {"x": (6, 1)}, {"x": (5, 6, 1)}, {"late": (5, 2), "early": (5, 1)}],
}


@pytest.fixture(scope="module")
def built() -> Any:
    """(how often the step was traced, the names of what it reports) of each case; of a refused one, the error."""
    done = python_with_keras(COUNT, json.dumps(CASES))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("case", "metric"),
    [
        ("classes", "accuracy"),
        ("no metrics", "loss"),
        ("a label per step", "accuracy"),
        ("steps that count", "accuracy"),
        ("steps of several outputs that count", "late_loss"),
        ("several outputs", "early_mean_absolute_error"),
    ],
)
def test_a_step_is_traced_once(built: Any, case: str, metric: str) -> None:
    """Each trace costs as much as all the rest of a small job."""
    traces, reported = built[case]
    assert traces == 1
    assert metric in reported


def test_a_layer_that_does_not_fit_is_named(built: Any) -> None:
    error = built["a layer that does not fit"]
    assert error.startswith("model.layers[2].LSTM: ") and "expected ndim=3, found ndim=2" in error
