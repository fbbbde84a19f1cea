"""What Keras's constructors make of a job file's arguments: whole numbers as plain Keras makes of fractions, and what
they refuse in words, with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .with_keras import python_with_keras

PROGRAM = """
import json, sys
import keras
import numpy as np
from gpujobs.trainer import building
from gpujobs.trainer.failures import TrainerError

def training(**changed):
    return {"loss": "mean_squared_error", "optimizer": {"Adam": {}}, "metrics": [], **changed}

def built(layers, **changed):
    try:
        building.build({"model": {"layers": layers}, "training": training(**changed)}, {"x": (3, 2)})
    except TrainerError as error:
        return str(error)

LSTM, DENSE = {"LSTM": {"units": 2}}, {"Dense": {"units": 1}}
known = building.catalogue()
optimizers = {}
for kind, arguments in known["optimizers"]["classes"].items():
    if kind == "LossScaleOptimizer":
        continue
    whole = {name: 0 for name, rule in arguments.items() if isinstance(rule.get("default"), float)}
    if kind == "Lion":
        whole["beta_1"] = 1
    plain = getattr(keras.optimizers, kind)(**{name: float(value) for name, value in whole.items()})
    made = building.optimizer_of(training(optimizer={kind: whole}))
    same = {name: [made.get_config()[name], plain.get_config()[name]] for name in whole if name in made.get_config()}
    optimizers[kind] = [repr(pair[0]) == repr(pair[1]) for pair in same.values()]
schedules = {}
for kind, whole in json.loads(sys.argv[1]).items():
    fractions = {
        name: one if name.endswith("steps") or name == "boundaries"
        else [float(value) for value in one] if isinstance(one, list) else float(one)
        for name, one in whole.items()
    }
    plain = getattr(keras.optimizers.schedules, kind)(**fractions)
    made = building.part("schedules", {kind: whole})
    schedules[kind] = [[float(made(step)), float(plain(step))] for step in (0, 3, 7, 20)]
refused = {place: built(**case) if "layers" in case else built([LSTM, DENSE], **case)
           for place, case in json.loads(sys.argv[2]).items()}
print(json.dumps([optimizers, schedules, refused]))
"""
SCHEDULES: dict[str, Any] = {
    "ExponentialDecay": {"initial_learning_rate": 1, "decay_steps": 4, "decay_rate": 2},
    "CosineDecay": {"initial_learning_rate": 1, "decay_steps": 10, "alpha": 0},
    "CosineDecayRestarts": {"initial_learning_rate": 1, "first_decay_steps": 5, "t_mul": 2, "m_mul": 1},
    "PolynomialDecay": {"initial_learning_rate": 2, "decay_steps": 10, "end_learning_rate": 1, "power": 1},
    "InverseTimeDecay": {"initial_learning_rate": 1, "decay_steps": 3, "decay_rate": 2},
    "PiecewiseConstantDecay": {"boundaries": [2, 5], "values": [2, 1, 0]},
}
REFUSED: dict[str, Any] = {
    "training.optimizer.SGD: ": {"optimizer": {"SGD": {"momentum": 2}}},
    "training.optimizer.Adam: ": {"optimizer": {"Adam": {"clipnorm": 1, "clipvalue": 1}}},
    "training.optimizer.AdamW: ": {"optimizer": {"AdamW": {"use_ema": True, "ema_momentum": 3}}},
    "training.loss.Huber: ": {"loss": {"Huber": {"reduction": "most"}}},
    "training.metrics[0].AUC: ": {"metrics": [{"AUC": {"curve": "XY"}}]},
    "model.layers[0].Dense: ": {
        "layers": [{"Dense": {"units": 1, "kernel_initializer": {"VarianceScaling": {"scale": -1}}}}]
    },
    "model.layers[0].LSTM: ": {
        "layers": [{"LSTM": {"units": 1, "kernel_regularizer": {"OrthogonalRegularizer": {"mode": "x"}}}}]
    },
    "model.layers[0].Conv1D: ": {
        "layers": [{"Conv1D": {"filters": 2, "kernel_size": 2, "padding": "sideways"}}]
    },
}


@pytest.fixture(scope="module")
def found() -> Any:
    done = python_with_keras(PROGRAM, json.dumps(SCHEDULES), json.dumps(REFUSED))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_optimizers_take_whole_numbers_for_fractions(found: Any) -> None:
    optimizers = found[0]
    assert {"SGD", "Adam", "RMSprop", "Adadelta"} <= optimizers.keys()
    assert {kind: all(same) for kind, same in optimizers.items()} == dict.fromkeys(optimizers, True)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_schedules_do_too(found: Any, kind: str) -> None:
    for ours, kerass in found[1][kind]:
        assert ours == kerass


@pytest.mark.parametrize("place", REFUSED)
def test_what_keras_refuses_is_said_with_its_place(found: Any, place: str) -> None:
    said = found[2][place]
    assert said is not None and said.startswith(place), said
    assert "\n" not in said and "\x1b" not in said and "Traceback" not in said
