"""What a job file may say in Keras's words, beside what Keras makes of it: no more is refused, and no less."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

from gpujobs.jobfile.keras_names import UNFIT, KerasCheck, catalogue
from gpujobs.trainer import building
from gpujobs.trainer.checking import first_step
from gpujobs.trainer.data import Samples
from gpujobs.trainer.data.samples.rows import ArrayRows
from gpujobs.trainer.failures import TrainerError

X = np.random.default_rng(0).random((6, 4, 3), np.float32)
ONE_HOT = np.eye(3, dtype=np.float32)[[0, 1, 2, 2, 1, 0]]
SAMPLES = Samples({"x": ArrayRows(X)}, {"y": ArrayRows(ONE_HOT)}, len(X))
SHARES = np.random.default_rng(1).dirichlet([1, 1, 1], 6).astype(np.float32)


# Arguments


FORMS: list[tuple[str, dict[str, Any]]] = [
    ("losses", {"CategoricalFocalCrossentropy": {"alpha": [0.2, 0.3, 0.5]}}),
    ("losses", {"CategoricalFocalCrossentropy": {"alpha": [1, 2, 3]}}),
    ("optimizers", {"Muon": {"rms_rate": None}}),
    ("layers", {"Normalization": {"mean": 0.5, "variance": 2.0, "axis": None}}),
    ("layers", {"LayerNormalization": {"rms_scaling": True}}),
    ("layers", {"LeakyReLU": {"alpha": 0.2}}),
    ("layers", {"LSTM": {"units": 2, "implementation": 1}}),
    ("layers", {"Embedding": {"input_dim": 5, "output_dim": 2, "input_length": 4}}),
    ("layers", {"Dropout": {"rate": 0.5, "activity_regularizer": {"L2": {"l2": 0.1}}}}),
    ("layers", {"TimeDistributed": {"layer": {"Dense": {"units": 2}}, "activity_regularizer": "l2"}}),
]  # fmt: skip


@pytest.mark.parametrize(("section", "entry"), FORMS)
@pytest.mark.filterwarnings("ignore:You passed `rms_scaling", "ignore:Argument `")
def test_forms_that_keras_takes_are_taken(section: str, entry: dict[str, Any]) -> None:
    check = KerasCheck()
    assert check.named(section, entry, (section,)) == entry and not check.problems
    made = building.part(section, entry)
    if section == "layers":
        x = np.ones((6, 4), np.int32) if "Embedding" in entry else X
        again = type(made).from_config(made.get_config())  # as the saved model is read
        assert again(x).shape == made(x).shape
        again.set_weights(made.get_weights())
        again(x)
        assert [float(one) for one in again.losses] == pytest.approx([float(one) for one in made.losses])


def test_a_weight_for_each_class_is_that_of_its_term() -> None:
    """Lin et al. 2017, eq. 5, over several classes."""
    loss = building.part("losses", {"CategoricalFocalCrossentropy": {"alpha": [1, 2, 3]}})
    terms = np.array([1, 2, 3]) * (1 - SHARES) ** 2 * -ONE_HOT * np.log(SHARES)
    assert float(loss(ONE_HOT, SHARES)) == pytest.approx(float(terms.sum(axis=1).mean()), rel=1e-5)


# Shapes


def test_activations_that_no_layer_can_use_are_those_that_keras_cannot_or_that_change_its_width() -> None:
    for name in catalogue()["activations"]["ids"]:
        check = KerasCheck()
        check.layers([{"Dense": {"units": 4, "activation": name}}], ("model", "layers"))
        assert keeps_its_width(name) == (not check.problems) == (name not in UNFIT), name


def keeps_its_width(activation: str) -> bool:
    layer = keras.layers.Dense(4, activation=activation)
    try:
        return bool(layer(X).shape == layer.compute_output_shape(X.shape))
    except TypeError:
        return False


def test_directions_of_different_width_are_not_what_keras_counts_on() -> None:
    """As tests/hostile/layer_directions.yaml is refused."""
    for units, is_same in ((2, True), (3, False)):
        layer = keras.layers.Bidirectional(
            keras.layers.LSTM(2), backward_layer=keras.layers.GRU(units, go_backwards=True)
        )
        assert (layer(X).shape == layer.compute_output_shape(X.shape)) == is_same


# The first step


@pytest.fixture
def half() -> Iterator[None]:
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


DENSE = {"Dense": {"units": 3, "activity_regularizer": "l2"}}
GRU = {"GRU": {"units": 3, "return_sequences": True, "activity_regularizer": "l2"}}
ADDING: dict[str, tuple[dict[str, Any], bool]] = {
    "a layer": (DENSE, False),
    "one that only adds": ({"ActivityRegularization": {"l2": 0.1}}, False),
    "in float32": ({"Dense": {**DENSE["Dense"], "dtype": "float32"}}, True),
    "at each step": ({"TimeDistributed": {"layer": DENSE}}, True),
    "only adding at each step": ({"TimeDistributed": {"layer": {"ActivityRegularization": {"l2": 0.1}}}}, True),
    "of all steps": ({"TimeDistributed": {"layer": {"Dense": {"units": 3}}, "activity_regularizer": "l2"}}, False),
    "called at each step": ({"TimeDistributed": {"layer": {"SpectralNormalization": {"layer": DENSE}}}}, False),
    "in both directions": ({"Bidirectional": {"layer": GRU}}, False),
}  # fmt: skip
"""Layers with what they add to the loss, and whether Keras trains them in halves."""


@pytest.mark.parametrize("what", ADDING)
def test_what_a_layer_adds_to_the_loss_in_halves(what: str, half: None) -> None:
    entry, trains = ADDING[what]
    job = job_of(entry, {"Flatten": {}}, {"Dense": {"units": 3}})
    shape = (4, 3, 2) if what == "called at each step" else (4, 3)
    x = np.ones((6, *shape), np.float32)
    model = building.build(job, {"x": shape})
    if trains:
        first_step.require(job, model, SAMPLES)
        assert np.isfinite(model.train_on_batch(x, ONE_HOT))
        return
    with pytest.raises(TrainerError, match=r"model\.layers\[0\]\..*Keras cannot compute it in bfloat16"):
        first_step.require(job, model, SAMPLES)
    with pytest.raises(TypeError, match="Cannot convert a list containing a tensor of dtype"):
        model.train_on_batch(x, ONE_HOT)


def test_a_regularizer_for_matrices_is_refused_where_a_layer_gives_more() -> None:
    entry = {"Dense": {"units": 3, "activity_regularizer": "OrthogonalRegularizer"}}
    flat = job_of({"Flatten": {}}, entry)
    first_step.require(flat, building.build(flat, {"x": (4, 3)}), SAMPLES)
    job = job_of(entry, {"Flatten": {}}, {"Dense": {"units": 3}})
    model = building.build(job, {"x": (4, 3)})
    said = "Inputs to OrthogonalRegularizer must have rank 2"
    with pytest.raises(TrainerError, match=rf"model\.layers\[0\]\.Dense: {said}"):
        first_step.require(job, model, SAMPLES)
    with pytest.raises(ValueError, match=said):
        model.train_on_batch(X, ONE_HOT)


def test_a_metric_that_asks_for_a_value_within_a_step_is_refused() -> None:
    """Its sums are made without one; the job file has a rule for this one, and not for the next."""
    job = job_of({"Flatten": {}}, {"Dense": {"units": 3}}, metrics=[{"R2Score": {"num_regressors": 1}}])
    model = building.build(job, {"x": (4, 3)})
    with pytest.raises(TrainerError, match=r"training\.metrics\[0\]\.R2Score: "):
        first_step.require(job, model, SAMPLES)
    with pytest.raises(Exception, match=r"symbolic `tf\.Tensor` as a Python `bool`"):
        model.train_on_batch(X, ONE_HOT)


def job_of(*layers: dict[str, Any], metrics: list[Any] | None = None) -> dict[str, Any]:
    training = {"loss": "mse", "optimizer": {"SGD": {}}, "batch_size": 6, "metrics": metrics or []}
    return {"model": {"layers": [*layers]}, "data": {"x": "x"}, "training": training}
