"""The names of layers that the job file's check expects, beside those that Keras gives; and what it refuses."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import yaml
from keras.src.utils.naming import reset_uids, to_snake_case

from gpujobs.errors import JobFileError
from gpujobs.jobfile import load
from gpujobs.jobfile.keras_names import KerasCheck, catalogue
from gpujobs.jobfile.layer_names import doubled, named_layers, recurrent_names
from gpujobs.trainer import building
from gpujobs.trainer.failures import TrainerError
from gpujobs.trainer.prediction import put_weights, state_model
from tests.reference import cells

SHAPES = {"x": (4, 3), "z": (4, 3)}
BACK = "Bidirectional: {layer: {%s: {units: 2}}, backward_layer: {%s: {units: 3, go_backwards: true}}%s}"
BOTH = BACK.replace("units: 2", "units: 2, return_sequences: true").replace(
    "true}}%s", "true, return_sequences: true}}%s"
)


def chain(*layers: str) -> dict[str, Any]:
    return {"layers": [layer_of(text) for text in layers]}


def layer_of(text: str) -> dict[str, Any]:
    """As the resolved job file has it."""
    return KerasCheck().layers([yaml.safe_load(f"{{{text}}}")], ("model", "layers"))[0]


def job_of(model: dict[str, Any]) -> dict[str, Any]:
    branches = model.get("branches")
    return {"model": model, "data": {"x": {"x": "x", "z": "z"} if branches else "x"}}


def built(model: dict[str, Any]) -> keras.Model:
    reset_uids()
    shapes = SHAPES if model.get("branches") else {"x": SHAPES["x"]}
    return building.untrained(job_of(model), shapes)


def of_keras(model: dict[str, Any]) -> list[str]:
    layers = built(model).layers
    return [layer.name for layer in layers if type(layer).__name__ != "InputLayer"]


def branches(one: str, other: str, last: str, outputs: list[str]) -> dict[str, Any]:
    return {
        "branches": {
            "a": {"inputs": ["x"], "layers": [layer_of(one)]},
            "b": {"inputs": ["z"], "layers": [layer_of(other)]},
            "c": {"inputs": ["a", "b"], "merge": "Concatenate", "layers": [layer_of(last)]},
        },
        "outputs": outputs,
    }


DENSE = "Dense: {units: 2}"
OWN = "Dense: {units: 2, name: own}"
NESTED = "TimeDistributed: {layer: {TimeDistributed: {layer: {Dense: {units: 2}}}}}"
MODELS = {
    "numbered": chain(DENSE, "LSTM: {units: 2, return_sequences: true}", DENSE, "LSTM: {units: 2}"),
    "a name is no number": chain(OWN, DENSE),
    "both directions": chain(BOTH % ("GRU", "GRU", ""), "GRU: {units: 2}"),
    "two kinds": chain(BOTH % ("LSTM", "GRU", ""), "GRU: {units: 2}"),
    "named inside": chain(BOTH.replace("units: 3,", "units: 3, name: own,") % ("GRU", "GRU", ""), "GRU: {units: 2}"),
    "normalized": chain("SpectralNormalization: {layer: {Dense: {units: 2}}}", DENSE),
    "wrapped": chain("Reshape: {target_shape: [2, 2, 3]}", NESTED, "TimeDistributed: {layer: {Flatten: {}}}", DENSE),
    "branches": branches(DENSE, DENSE, DENSE, ["c"]),
}  # fmt: skip


@pytest.mark.parametrize("what", MODELS)
def test_layers_have_the_names_that_keras_gives_them(what: str) -> None:
    found = [one.name for one in named_layers(job_of(MODELS[what]))]
    assert sorted(found) == sorted(of_keras(MODELS[what]))


def test_kinds_become_names_by_the_rule_of_keras() -> None:
    for kind in catalogue()["layers"]["classes"]:
        (one,) = named_layers(job_of({"layers": [{kind: {}}]}))
        assert one.name == to_snake_case(kind)


def test_layers_that_lead_to_no_output_are_numbered_and_have_no_states() -> None:
    model = branches("GRU: {units: 2}", "GRU: {units: 2}", DENSE, ["b"])
    assert [one.name for one in named_layers(job_of(model))] == of_keras(model) == ["gru_1"]
    assert recurrent_names(job_of(model)) == ["gru_1"]


TWICE = {
    "named twice": chain(OWN, OWN),
    "as Keras calls another": chain("Dense: {units: 2, name: dense}", DENSE),
    "as Keras calls one before": chain(DENSE, "LSTM: {units: 2, name: dense}"),
    "as Keras calls the input": chain("Dense: {units: 2, name: input_layer}"),
    "in two branches": branches(OWN, OWN, DENSE, ["c"]),
    "as an input": branches("Dense: {units: 2, name: z}", DENSE, DENSE, ["c"]),
    "as a merge": branches("Dense: {units: 2, name: concatenate}", DENSE, DENSE, ["c"]),
}  # fmt: skip
ONCE = {
    "inside of a wrapper": chain("TimeDistributed: {layer: {Dense: {units: 2, name: dense}}}", DENSE),
    "as what is inside": chain("TimeDistributed: {layer: {Dense: {units: 2, name: own}}, name: own}"),
    "in a branch that leads nowhere": branches(OWN, DENSE, OWN, ["a"]),
}  # fmt: skip


@pytest.mark.parametrize("what", [*TWICE, *ONCE])
def test_names_that_keras_refuses_are_those_that_the_file_is_refused_for(what: str) -> None:
    if what in ONCE:
        assert built(ONCE[what]) and not [*doubled(job_of(ONCE[what]))]
        return
    assert [*doubled(job_of(TWICE[what]))]
    with pytest.raises((TrainerError, ValueError), match="unique"):
        built(TWICE[what])


# States


@pytest.mark.parametrize(
    ("kinds", "arrays"),
    [
        (("GRU", "LSTM"), ["both_forward_h", "both_backward_h", "both_backward_c"]),
        (("LSTM", "GRU"), ["both_forward_h", "both_forward_c", "both_backward_h"]),
        (("LSTM", "LSTM"), ["both_forward_h", "both_forward_c", "both_backward_h", "both_backward_c"]),
    ],
)
def test_each_direction_has_its_own_states(kinds: tuple[str, str], arrays: list[str]) -> None:
    """Of cells of another kind, and of another size, too; against the cells in numpy."""
    names = ["both"]
    model = built(chain(BACK % (*kinds, ", name: both"), "Dense: {units: 1}"))
    made = state_model(model, names)
    random = np.random.default_rng(3)
    model.set_weights([random.normal(size=one.shape) for one in model.get_weights()])
    put_weights(made, model, names)
    x = random.normal(size=(5, 4, 3)).astype(np.float32)
    found = made.predict(x, verbose=0)
    assert [*found] == arrays
    both = model.get_layer("both")
    expected: list[Any] = []
    for kind, layer, read in zip(
        kinds, (both.forward_layer, both.backward_layer), (x, cells.reversed_in_time(x)), strict=True
    ):
        expected += getattr(cells, kind.lower())(read, *layer.get_weights())[1:]
    for name, values in zip(arrays, expected, strict=True):
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-5)


def test_states_are_asked_for_by_the_names_that_keras_gives() -> None:
    both = BOTH.replace("units: 3", "units: 2") % ("GRU", "GRU", "")
    text = (
        f"data: {{train: d.npz}}\nmodel: {{layers: [{both}, GRU: {{units: 2}}]}}\n"
        "training: {loss: mse}\npredict: [{source: train, states: [%s]}]\n"
    )
    load("a.yaml", text % "bidirectional, gru_2")
    with pytest.raises(JobFileError, match="gru_1 is not a recurrent layer of the model; did you mean gru_2"):
        load("a.yaml", text % "gru_1")
