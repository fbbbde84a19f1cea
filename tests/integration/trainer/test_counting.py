"""The formulas for parameters beside Keras's own count, over models that chance has made."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from typing import Any

import keras
import pytest

from gpujobs.trainer import building
from gpujobs.trainer.checking import fused, layers
from gpujobs.trainer.checking.chain import links
from gpujobs.trainer.counting import FORMULAS, WRAPPERS, formula

MODELS = 50
FEATURES = (1, 7)
STEPS = 6


def recurrent(chance: random.Random, *, sequences: bool) -> dict[str, Any]:
    """An LSTM, GRU or SimpleRNN, in one direction or in both."""
    kind = chance.choice(["LSTM", "GRU", "SimpleRNN"])
    arguments: dict[str, Any] = {"units": chance.randint(1, 9), "return_sequences": sequences}
    if chance.random() < 0.5:
        arguments["use_bias"] = chance.random() < 0.5
    if kind == "GRU" and chance.random() < 0.7:
        arguments["reset_after"] = chance.random() < 0.5
    layer = {kind: arguments}
    return {"Bidirectional": {"layer": layer}} if chance.random() < 0.3 else layer


def stepwise(chance: random.Random) -> dict[str, Any]:
    """A layer that keeps the time steps."""
    bias, units = chance.random() < 0.5, chance.randint(1, 9)
    return chance.choice(
        [
            {"Dense": {"units": units, "use_bias": bias}},
            {"TimeDistributed": {"layer": {"Dense": {"units": units, "use_bias": bias}}}},
            {"Conv1D": {"filters": units, "kernel_size": chance.randint(1, 4), "padding": "same", "use_bias": bias}},
            {"BatchNormalization": {"center": bias, "scale": chance.random() < 0.5}},
            {"LayerNormalization": {"center": bias}},
            {"Dropout": {"rate": 0.1}},
            recurrent(chance, sequences=True),
        ]
    )  # fmt: skip


def drawn(number: int) -> tuple[dict[str, Any], tuple[int, ...]]:
    """A job's model, and the shape of a sample."""
    chance = random.Random(number)
    found: list[dict[str, Any]] = []
    shape: tuple[int, ...] = (STEPS, chance.randint(*FEATURES))
    if chance.random() < 0.25:
        found.append({"Embedding": {"input_dim": chance.randint(2, 30), "output_dim": chance.randint(1, 9)}})
        shape = (STEPS,)
    found += [stepwise(chance) for _ in range(chance.randint(0, 3))]
    found += [recurrent(chance, sequences=False), {"Dense": {"units": chance.randint(1, 5)}}]
    return {"model": {"layers": found}, "training": {"batch_size": 4}}, shape


@pytest.mark.parametrize("number", range(MODELS))
def test_the_formula_is_what_check_shows_and_what_keras_counts(number: int) -> None:
    job, shape = drawn(number)
    model = building.untrained(job, {"x": shape})
    rows = layers.rows(links(model))
    assert len(rows) == len(model.layers)
    for entry, row, layer in zip(job["model"]["layers"], rows, model.layers, strict=True):
        ((kind, arguments),) = entry.items()
        own = formula(kind, arguments, layer.input.shape)  # from the job file alone
        count = layer.count_params()
        assert row["parameters"] == count
        if count:
            assert own is not None and own.count == count and row["formula"] == str(own)
            assert multiplied_out(row["formula"]) == count
    assert sum(row["parameters"] for row in rows) == model.count_params()


@pytest.mark.parametrize(
    ("kind", "shape"), [("Conv1D", (3, 8)), ("Conv2D", (3, 8, 9)), ("ConvLSTM2D", (5, 3, 8, 9))]
)
def test_channels_that_come_first(kind: str, shape: tuple[int, ...]) -> None:
    layer = getattr(keras.layers, kind)(4, 2, data_format="channels_first")
    layer.build((None, *shape))
    own = formula(kind, layer.get_config(), (None, *shape))
    assert own is not None and own.count == layer.count_params()


def multiplied_out(text: str) -> int:
    """What the product in the text comes to, which must be what it says itself."""
    product, _, result = text.partition(" = ")
    assert re.fullmatch(r"[\d ()+×]+", product), text
    value = int(eval(product.replace("×", "*")))
    assert value == int(result.replace(",", ""))
    return value


def test_the_models_have_what_they_are_drawn_for() -> None:
    text = " ".join(str(drawn(number)) for number in range(MODELS))
    for wanted in ("LSTM", "GRU", "SimpleRNN", "Bidirectional", "Embedding", "TimeDistributed", "Conv1D"):
        assert wanted in text
    assert "'reset_after': False" in text and "'use_bias': False" in text


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (keras.layers.ConvLSTM1D(3, 2), (None, 5, 8, 2)),
        (keras.layers.ConvLSTM2D(3, (2, 3), use_bias=False), (None, 5, 8, 8, 2)),
        (keras.layers.Conv2D(4, (2, 3), groups=2), (None, 8, 8, 4)),
        (keras.layers.Bidirectional(keras.layers.GRU(5, reset_after=False)), (None, 4, 3)),
    ],
)
def test_layers_of_more_dimensions(layer: Any, shape: tuple[int | None, ...]) -> None:
    layer.build(shape)
    found = formula(type(layer).__name__, layer.get_config(), shape)
    assert found is not None and multiplied_out(str(found)) == layer.count_params()


def test_the_tutorials_lstm_as_the_notebook_has_it() -> None:
    assert str(formula("LSTM", {"units": 128}, (None, 6, 1))) == "4 × 128 × (1 + 128 + 1) = 66,560"


def test_a_layer_without_parameters_has_no_formula() -> None:
    assert formula("Dropout", {"rate": 0.5}, (None, 4)) is None
    assert formula("LayerNormalization", {"center": False, "scale": False}, (None, 4)) is None


CATALOGUE: dict[str, list[dict[str, Any]]] = {
    "LSTM": [{"units": 3}, {"units": 3, "use_bias": False}],
    "GRU": [{"units": 3}, {"units": 3, "reset_after": False}, {"units": 3, "use_bias": False}],
    "SimpleRNN": [{"units": 3}, {"units": 3, "use_bias": False}],
    "Dense": [{"units": 3}, {"units": 3, "lora_rank": 2}, {"units": 3, "lora_rank": 1, "use_bias": False}],
    "Embedding": [{"input_dim": 9, "output_dim": 3}, {"input_dim": 9, "output_dim": 3, "lora_rank": 2}],
    **{
        f"Conv{n}D": [
            {"filters": 4, "kernel_size": 2},
            {"filters": 4, "kernel_size": 2, "groups": 2, "lora_rank": 3},
            {"filters": 4, "kernel_size": [2] * n, "use_bias": False, "lora_rank": 1},
        ]
        for n in (1, 2, 3)
    },
    **{f"ConvLSTM{n}D": [{"filters": 2, "kernel_size": 2}] for n in (1, 2, 3)},
    "LayerNormalization": [{}, {"scale": False}, {"rms_scaling": True, "scale": False}],
    "BatchNormalization": [{}, {"renorm": True}, {"renorm": True, "center": False, "scale": False}],
    "Bidirectional": [
        {"layer": {"GRU": {"units": 3}}, "backward_layer": {"LSTM": {"units": 3, "go_backwards": True}}},
        {"layer": {"LSTM": {"units": 3}}, "backward_layer": {"LSTM": {"units": 5, "go_backwards": True}}},
        {"layer": {"LSTM": {"units": 3}}, "backward_layer": {"LSTM": {"units": 3, "go_backwards": True}}},
    ],
    "TimeDistributed": [
        {"layer": {"Dense": {"units": 3, "lora_rank": 2}}},
        {"layer": {"BatchNormalization": {"renorm": True}}},
    ],
}  # fmt: skip
"""Of each layer with a formula, the arguments that change how many parameters it has."""

RANKS = {"Embedding": 1, "Conv2D": 3, "Conv3D": 4, "ConvLSTM1D": 3, "ConvLSTM2D": 4, "ConvLSTM3D": 5}
"""Dimensions of a sample that are not two."""


def test_each_formula_is_among_those_that_are_looked_at() -> None:
    assert set(CATALOGUE) == {*FORMULAS, *WRAPPERS}


@pytest.mark.parametrize(
    ("kind", "arguments"), [(kind, one) for kind, some in CATALOGUE.items() for one in some]
)
@pytest.mark.filterwarnings("ignore:You passed `rms_scaling")
def test_arguments_that_change_how_many_parameters_there_are(kind: str, arguments: dict[str, Any]) -> None:
    shape = (6,) * (RANKS.get(kind, 2) - 1) + (4,)
    layer = building.part("layers", {kind: arguments})
    layer(keras.Input(shape))
    for given in (arguments, layer.get_config()):  # as a job file has them, and as check sees them
        found = formula(kind, given, (None, *shape))
        assert found is not None and multiplied_out(str(found)) == layer.count_params()


def test_check_shows_both_directions_where_they_differ() -> None:
    layer = keras.layers.Bidirectional(
        keras.layers.GRU(3), backward_layer=keras.layers.LSTM(3, go_backwards=True, recurrent_dropout=0.1)
    )
    (link,) = links(keras.Sequential([keras.Input((4, 2)), layer]))
    (row,) = layers.rows([link])
    assert row["class"] == "Bidirectional(GRU, LSTM)"
    assert row["formula"] == "3 × 3 × (2 + 3 + 2) + 4 × 3 × (2 + 3 + 1) = 135"
    assert row["parameters"] == layer.count_params() == 135
    (verdict,) = fused.verdicts([link], "tensorflow", 0)
    assert verdict["class"] == "GRU, LSTM" and verdict["why"] == "backward: recurrent_dropout is 0.1"
    same = keras.layers.Bidirectional(keras.layers.LSTM(4))
    (link,) = links(keras.Sequential([keras.Input((4, 2)), same]))
    assert layers.rows([link])[0]["class"] == "Bidirectional(LSTM)"


def test_a_count_of_keras_that_is_not_the_formulas_is_shown_without_it() -> None:
    """As of a layer with an argument of a newer Keras: a job that Keras trains is not refused for it."""
    model = keras.Sequential([keras.Input((3, 2)), keras.layers.LSTM(4)])
    (link,) = links(model)
    assert layers.rows([link])[0]["parameters"] == 4 * (2 + 4 + 1) * 4
    (row,) = layers.rows([replace(link, parameters=113)])
    assert (row["parameters"], row["formula"]) == (113, None)
