"""Models that gpujobs has trained, layer by layer, against the equations of their cells in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import yaml

from tests.reference import cells
from tests.unit.docs.cells import COUNTS
from tests.unit.trainer.data.making import csv

from .conftest import Launched
from .jobs import Ran, run

SAMPLES, LONGEST = 12, 7
MASKED = """
data: {train: t.npz, lengths: lengths}
model:
  layers:
    - Masking: {mask_value: 0.0}
    - LSTM: {units: 5, return_sequences: true, dropout: 0.2, recurrent_dropout: 0.2, name: first_lstm}
    - Bidirectional: {layer: {LSTM: {units: 3, return_sequences: true}}, name: both_ways}
    - GRU: {units: 4, return_sequences: true, name: cudnn_gru}
    - GRU: {units: 4, reset_after: false, return_sequences: true, name: paper_gru}
    - SimpleRNN: {units: 3, go_backwards: true, name: backwards}
    - Dense: {units: 3, activation: softmax, name: classes}
training:
  loss: sparse_categorical_crossentropy
  optimizer: {Adam: {learning_rate: 0.05}}
  epochs: 5
  batch_size: 5
predict: [{source: train, states: [first_lstm, both_ways, cudnn_gru, paper_gru, backwards]}]
"""
STATEFUL = """
data: {train: s.csv, target: v, window: {length: 5, stride: 5, horizon: 1}, scaling: standard}
model:
  layers:
    - LSTM: {units: 4, stateful: true, return_sequences: true, name: carried_lstm}
    - GRU: {units: 3, stateful: true, return_sequences: true, name: carried_gru}
    - SimpleRNN: {units: 3, stateful: true, name: carried_rnn}
    - Dense: {units: 1}
training:
  loss: mse
  optimizer: {Adam: {learning_rate: 0.05}}
  epochs: 3
  batch_size: 4
  shuffle: false
predict: [{source: train, states: [carried_lstm, carried_gru, carried_rnn]}]
"""


BRANCHED = """
data: {train: b.npz, x: {course: course, facts: facts}}
model:
  branches:
    reads: {inputs: course, layers: [LSTM: {units: 3, name: reader}]}
    answer: {inputs: [reads, facts], layers: [Dense: {units: 1}]}
training: {loss: mse, epochs: 1, batch_size: 4}
predict: [{source: train, states: [reader]}]
"""


def close(found: Any, expected: Any) -> None:
    assert np.shape(found) == np.shape(expected)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=1e-5)


def outputs_of(model: Any, x: Any) -> dict[str, Any]:
    """What each layer of the model gives for x, by its name. Masks go from layer to layer with the tensors."""
    found = {}
    for layer in model.layers:
        x = layer(x)
        found[layer.name] = np.asarray(x)
    return found


def was_trained(layer: Any) -> None:
    """The weights are none of the initial ones: biases begin as 0 and, at the forget gate, 1."""
    biases = np.concatenate([one.numpy().reshape(-1) for one in layer.weights if "bias" in one.path])
    assert (np.abs(biases - biases.round()) > 1e-6).all(), layer.name


def ragged() -> dict[str, Any]:
    random = np.random.default_rng(5)
    lengths = np.array([LONGEST, 1, 2, *random.integers(1, LONGEST + 1, SAMPLES - 3)])
    x = random.normal(size=(SAMPLES, LONGEST, 2)).astype(np.float32)
    x[np.arange(LONGEST) >= lengths[:, None]] = 0.0
    return {"x": x, "lengths": lengths, "y": np.digitize(x.sum(axis=(1, 2)), [-1, 1])}


@pytest.fixture(scope="module")
def masked(launcher: Launched) -> Ran:
    return run(launcher, MASKED, {"t.npz": ragged()})


@pytest.fixture(scope="module")
def stateful(launcher: Launched) -> Ran:
    return run(launcher, STATEFUL, {"s.csv": csv({"v": walk()})})


def walk() -> Any:
    return np.random.default_rng(7).normal(2, 3, 106).cumsum().round(3)


def test_outputs_and_states_with_a_mask_and_in_both_directions(masked: Ran) -> None:
    """Outputs as Keras computes them, states as gpujobs answers them; padded steps count for neither."""
    given, model, states = ragged(), masked.model(), masked.predictions()
    x, mask = given["x"], np.arange(LONGEST) < given["lengths"][:, None]
    back = cells.reversed_in_time
    found = outputs_of(model, x)
    layers = {layer.name: layer for layer in model.layers}
    for name in ("first_lstm", "both_ways", "cudnn_gru", "paper_gru", "backwards"):
        was_trained(layers[name])

    outputs, h, c = cells.lstm(x, *layers["first_lstm"].get_weights(), mask=mask)
    close(found["first_lstm"], outputs)
    close(states["first_lstm_h"], h)
    close(states["first_lstm_c"], c)

    x = found["first_lstm"]
    weights = layers["both_ways"].get_weights()
    forward, forward_h, forward_c = cells.lstm(x, *weights[:3], mask=mask)
    backward, backward_h, backward_c = cells.lstm(back(x), *weights[3:], mask=back(mask))
    outputs = np.concatenate([forward, back(backward)], axis=-1)
    close(found["both_ways"], np.where(mask[..., None], outputs, 0))
    close(states["both_ways_forward_h"], forward_h)
    close(states["both_ways_forward_c"], forward_c)
    close(states["both_ways_backward_h"], backward_h)
    close(states["both_ways_backward_c"], backward_c)

    outputs, h = cells.gru(found["both_ways"], *layers["cudnn_gru"].get_weights(), mask=mask)
    close(found["cudnn_gru"], outputs)
    close(states["cudnn_gru_h"], h)

    weights = layers["paper_gru"].get_weights()
    outputs, h = cells.gru(found["cudnn_gru"], *weights, mask=mask, reset_after=False)
    close(found["paper_gru"], outputs)
    close(states["paper_gru_h"], h)

    x = back(found["paper_gru"])
    _, h = cells.simple_rnn(x, *layers["backwards"].get_weights(), mask=back(mask))
    close(found["backwards"], h)
    close(states["backwards_h"], h)
    close(states["y_pred"], found["classes"])


def test_the_states_of_a_batch_are_where_the_next_one_begins(stateful: Ran) -> None:
    """In the loaded model, with the states carried from call to call in the reference."""
    model = stateful.model()
    layers = [model.get_layer(name) for name in ("carried_lstm", "carried_gru", "carried_rnn")]
    batches = np.random.default_rng(8).normal(size=(3, 4, 5, 1)).astype(np.float32)
    h, c, gru, rnn = (np.zeros((4, units)) for units in (4, 4, 3, 3))
    for layer in layers:
        was_trained(layer)
    for x in batches:
        found = outputs_of(model, x)
        outputs, h, c = cells.lstm(x, *layers[0].get_weights(), h=h, c=c)
        close(found["carried_lstm"], outputs)
        outputs, gru = cells.gru(outputs, *layers[1].get_weights(), h=gru)
        close(found["carried_gru"], outputs)
        outputs, rnn = cells.simple_rnn(outputs, *layers[2].get_weights(), h=rnn)
        close(found["carried_rnn"], rnn)
        for layer, expected in zip(layers, ([h, c], [gru], [rnn]), strict=True):
            for state, one in zip(layer.states, expected, strict=True):
                close(state, one)


def test_predictions_and_states_of_a_stateful_model_are_of_one_pass_over_the_series(stateful: Ran) -> None:
    learned, answer = stateful.json("preprocessing.json"), stateful.predictions()
    values = np.array(scaled(walk(), learned["x"]["x"]))
    lstm, gru, rnn, dense = (layer.get_weights() for layer in stateful.model().layers)
    ends = range(5, len(walk()), 5)
    outputs = {end: one_pass(values[:end], lstm, gru, rnn) for end in ends}
    expected = np.array([outputs[end]["rnn_h"] for end in ends]) @ dense[0] + dense[1]
    close(scaled(answer["y_pred"][:, 0], learned["y"]["y"]), expected[:, 0])
    for name in ("lstm_h", "lstm_c", "gru_h", "rnn_h"):
        close(answer[f"carried_{name}"], [outputs[end][name] for end in ends])


def test_states_where_a_model_has_several_inputs(launcher: Launched) -> None:
    random = np.random.default_rng(9)
    shapes = {"course": (10, 4, 2), "facts": (10, 3), "y": (10,)}
    files = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    ran = run(launcher, BRANCHED, {"b.npz": files})
    _, h, c = cells.lstm(files["course"], *ran.model().get_layer("reader").get_weights())
    close(ran.predictions()["reader_h"], h)
    close(ran.predictions()["reader_c"], c)


@pytest.mark.parametrize(("layer", "setting", "formula", "number"), COUNTS)
def test_parameters_are_as_many_as_the_page_says(layer: str, setting: str, formula: str, number: str) -> None:
    """docs/cells.md"""
    import keras

    made = getattr(keras.layers, layer)(128, **yaml.safe_load(setting or "{}"))
    made.build((None, 6, 1))
    assert made.count_params() == int(number), formula


def scaled(values: Any, scale: Any) -> Any:
    return (values - np.array(scale["center"])) / np.array(scale["width"])


def one_pass(values: Any, lstm: Sequence[Any], gru: Sequence[Any], rnn: Sequence[Any]) -> dict[str, Any]:
    """The states after the last of the values."""
    outputs, lstm_h, lstm_c = cells.lstm(values[None, :, None], *lstm)
    outputs, gru_h = cells.gru(outputs, *gru)
    _, rnn_h = cells.simple_rnn(outputs, *rnn)
    return {"lstm_h": lstm_h[0], "lstm_c": lstm_c[0], "gru_h": gru_h[0], "rnn_h": rnn_h[0]}
