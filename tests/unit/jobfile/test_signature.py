"""Which keys of a job file change the graph, over the whole schema."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from gpujobs.jobfile import load
from gpujobs.jobfile.signature import VALUES, signature
from tests.unit.jobfile.keys import leaves, with_value

TEXT = """
name: small
data: {train: t.npz, split: {method: random, validation: 0.2}}
model: {layers: [LSTM: {units: 2, dropout: 0.1}, Dense: {units: 1}]}
training:
  loss: mean_squared_error
  optimizer: {Adam: {learning_rate: 0.01, beta_1: 0.8}}
  early_stopping: {patience: 3}
  reduce_lr_on_plateau: {patience: 3}
  best_weights: {monitor: val_loss}
"""


ANOTHER = {
    "model.layers": [{"LSTM": {"units": 2}}],
    "model.branches": {"both": {"inputs": ["x"], "layers": []}},
}
"""Where no text can stand."""


def resolved(text: str = TEXT) -> dict[str, Any]:
    return load("job.yaml", text).resolved


@pytest.mark.parametrize("key", leaves())
def test_a_key_that_is_not_said_to_change_values_only_is_part_of_the_graph(key: str) -> None:
    changed = signature(with_value(resolved(), key, ANOTHER.get(key, "another")))
    is_value = key == "training.batch_size" or any(f"{key}.".startswith(f"{one}.") for one in VALUES)
    assert (changed == signature(resolved())) is is_value


@pytest.mark.parametrize(
    "key",
    ["data.window", "data.sequence", "data.x", "data.target", "data.sample_weight", "model.layers", "training.loss",
     "training.metrics", "training.optimizer", "training.precision", "task"],
)  # fmt: skip
def test_what_a_model_is_built_of_or_compiled_with_is_part_of_the_graph(key: str) -> None:
    assert signature(with_value(resolved(), key, ANOTHER.get(key, "another"))) != signature(resolved())


def test_what_no_schema_knows_is_part_of_the_graph() -> None:
    for key in ("news", "training.novelty", "data.novelty", "model.novelty"):
        assert signature(with_value(resolved(), key, 1)) != signature(resolved())


def test_every_key_that_changes_values_is_a_key_of_the_schema() -> None:
    assert all(any(f"{leaf}.".startswith(f"{key}.") for leaf in leaves()) for key in VALUES)


def test_a_rate_is_a_value_and_a_schedule_a_graph() -> None:
    def of(optimizer: str) -> str:
        text = TEXT.replace("{Adam: {learning_rate: 0.01, beta_1: 0.8}}", optimizer)
        return signature(resolved(text.replace("  reduce_lr_on_plateau: {patience: 3}\n", "")))

    adam = of("{Adam: {learning_rate: 0.01}}")
    assert of("{Adam: {learning_rate: 1.0}}") == adam
    schedule = "{Adam: {learning_rate: {ExponentialDecay: {%s}}}}"
    numbers = "initial_learning_rate: %s, decay_steps: 5, decay_rate: 0.5"
    others = [
        "{Adam: {learning_rate: 0.01, beta_1: 0.8}}", "{Adam: {learning_rate: 0.01, clipnorm: 1.0}}",
        "{AdamW: {learning_rate: 0.01}}", "adam", schedule % numbers % 0.01, schedule % numbers % 0.02,
    ]  # fmt: skip
    assert len({adam, *map(of, others)}) == 1 + len(others)


def test_rates_of_dropout_are_part_of_the_graph() -> None:
    assert signature(resolved(TEXT.replace("dropout: 0.1", "dropout: 0.2"))) != signature(resolved())


def test_the_order_of_branches_is_part_of_the_graph() -> None:
    """Two that are the same but for what they read: in which order their layers are named and drawn."""
    layers = "layers: [LSTM: {units: 2}]"
    one, other = f"a: {{inputs: [x1], {layers}}}", f"b: {{inputs: [x2], {layers}}}"

    def of(*branches: str) -> str:
        text = f"""
data: {{train: t.npz, x: {{x1: x1, x2: x2}}}}
model: {{branches: {{{", ".join(branches)}, c: {{inputs: [a, b], layers: [Dense: {{units: 1}}]}}}}}}
training: {{loss: mse}}
"""
        return signature(resolved(text))

    assert of(one, other) != of(other, one)


def test_a_stateful_models_batch_is_part_of_the_graph() -> None:
    stateful = deepcopy(resolved())
    stateful["model"]["layers"][0]["LSTM"]["stateful"] = True
    assert signature(with_value(stateful, "training.batch_size", 2)) != signature(stateful)
