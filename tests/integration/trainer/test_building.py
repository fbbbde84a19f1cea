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


BESIDE = """
import json, sys
import keras, numpy as np
from gpujobs.trainer import building, decision
from gpujobs.trainer.checking import chain

found = {}
for name, (layers, shape) in json.loads(sys.argv[1]).items():
    keras.backend.clear_session()
    keras.utils.set_random_seed(3)
    ours = building.untrained({"model": {"layers": layers}}, {"x": shape})
    names = [layer.name for layer in ours.layers]
    keras.backend.clear_session()
    keras.utils.set_random_seed(3)
    plain = keras.Sequential([keras.Input(shape, dtype="int32" if name == "words" else None)])
    for layer in layers:
        ((kind, arguments),) = layer.items()
        arguments = {key: keras.layers.Dense(2) if key == "layer" else value for key, value in arguments.items()}
        plain.add(getattr(keras.layers, kind)(**arguments))
    found[name] = {
        "names": [names, [layer.name for layer in plain.layers]],
        "weights": [np.array_equal(*two) for two in zip(ours.get_weights(), plain.get_weights(), strict=True)],
        "activation": decision.activation_of(ours.outputs[0]),
        "reads": [link.fed_by for link in chain.links(ours)],
    }
print(json.dumps(found))
"""
"""Beside a model that Keras makes of the same layers and seed."""


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


DENSE = {"layer": {"Dense": {"units": 2}}}
SEQUENCES = {"LSTM": {"units": 3, "return_sequences": True}}
SHARES = {"Activation": {"activation": "softmax"}}
BEHIND: dict[str, list[Any]] = {
    "numbers": [[{"Masking": {}}, SEQUENCES, {"GRU": {"units": 4}}, {"Dense": {"units": 1}}], (5, 2)],
    "words": [
        [{"Embedding": {"input_dim": 7, "output_dim": 3, "mask_zero": True}}, {"LSTM": {"units": 3}}],
        (5,),
    ],
    "steps": [[{"Masking": {}}, SEQUENCES, {"TimeDistributed": DENSE}, SHARES], (5, 2)],
    "no mask": [[SEQUENCES, {"TimeDistributed": DENSE}, SHARES], (5, 2)],
}


@pytest.fixture(scope="module")
def beside() -> Any:
    done = python_with_keras(BESIDE, json.dumps(BEHIND))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", BEHIND)
def test_names_and_first_weights_are_those_of_keras(beside: Any, case: str) -> None:
    """Layers that read a mask, too, are made once: a second time would draw the next seeds."""
    ours, keras_names = beside[case]["names"]
    assert ours == keras_names and "lstm" in ours
    assert beside[case]["weights"] and all(beside[case]["weights"])


@pytest.mark.parametrize("case", ["steps", "no mask"])
def test_a_mask_is_nothing_that_a_layer_reads(beside: Any, case: str) -> None:
    assert beside[case]["activation"] == "softmax"
    first = ["Masking"] if case == "steps" else []
    assert beside[case]["reads"][-3:] == [first, ["LSTM"], ["TimeDistributed"]]
