"""The same steps on either backend: losses, weights and states agree within rounding."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from .conftest import INSTALLATION, require_jax
from .members import UNOPTIMIZED
from .with_keras import python_with_keras

STEPS = """
import sys
import keras
import numpy as np
from gpujobs.trainer.backends import active
from gpujobs.trainer.backends.states import states_of

layers, arrays = keras.layers, {}
models = {
    "stateful": [layers.Bidirectional(layers.LSTM(4, stateful=True, return_sequences=True)),
                 layers.LSTM(3, stateful=True), layers.Dense(2)],
    "masked": [layers.Masking(-1.0), layers.GRU(4, return_sequences=True), layers.LSTM(3), layers.Dense(2)],
}
random = np.random.default_rng(0)
x = random.normal(size=(2, 6, 1)).astype("float32")
y = random.normal(size=(2, 2)).astype("float32")
for name, stack in models.items():
    model = keras.Sequential([keras.Input((6, 1), batch_size=2), *stack])
    model.compile(loss="mse", optimizer=keras.optimizers.SGD(0.1), metrics=["mae"])
    model.optimizer.build(model.trainable_variables)
    model.set_weights([random.normal(size=one.shape) / 2 for one in model.get_weights()])
    if name == "masked":
        x[0, 4:] = -1.0
    steps, weight = active.steps(model), np.array([0.5, 1.5], "float32")
    for number in range(3):
        logs = steps.train([(x, y, weight)])
        arrays |= {f"{name} step {number} {key}": float(value) for key, value in logs.items()}
    model.reset_metrics()
    steps.test((x, y, None))
    arrays |= {f"{name} test {key}": float(value) for key, value in model.get_metrics_result().items()}
    for calls in (1, 2):
        arrays[f"{name} predicted in {calls}"] = active.predictor(model, calls)(x)
    arrays |= {f"{name} weight {number}": one for number, one in enumerate(model.get_weights())}
    arrays |= {f"{name} state {number}": np.asarray(one) for number, (_, one) in enumerate(states_of(model))}
np.savez(sys.argv[1], **arrays)
"""


OF_JAX = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", **UNOPTIMIZED}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    require_jax()
    directory = tmp_path_factory.mktemp("backends")
    ours, theirs = directory / "tensorflow.npz", directory / "jax.npz"
    done = python_with_keras(STEPS, ours)
    assert done.returncode == 0, done.stderr
    environment = {**os.environ, **OF_JAX, "PYTHONPATH": str(INSTALLATION)}
    subprocess.run([sys.executable, "-c", STEPS, str(theirs)], env=environment, check=True, timeout=200)
    with np.load(ours) as tensorflow, np.load(theirs) as jax:
        return dict(tensorflow), dict(jax)


def test_backends_agree(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    tensorflow, jax = both
    assert tensorflow.keys() == jax.keys()
    for name, value in tensorflow.items():
        np.testing.assert_allclose(jax[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_states_go_on_from_batch_to_batch(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Keras's own step for JAX forgets them: a second call would predict what the first did."""
    for arrays in both:
        assert {name for name in arrays if name.startswith("stateful state")} != set()
        again, first = arrays["stateful predicted in 2"], arrays["stateful predicted in 1"]
        assert np.abs(again - first).max() > 1e-5


EPOCHS = """
import sys
import keras
import numpy as np
from gpujobs.trainer.backends import active

random = np.random.default_rng(0)
x, y = random.normal(size=(6, 4)).astype("float32"), random.integers(0, 2, (6, 1)).astype("float32")
for metrics in (["mae", "accuracy"], [], ["mae", keras.metrics.AUC()], [keras.metrics.R2Score()]):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1, activation="sigmoid")])
    model.compile(loss="mse", optimizer="sgd", metrics=metrics)
    steps, seen = active.steps(model), []
    for epoch in range(4):
        steps.reset()
        assert all(not np.asarray(one).any() for one in model.metrics_variables), (metrics, epoch)
        for rows in (slice(0, 3), slice(3, 6)):
            logs = steps.train([(x[rows], y[rows], None)])
        found = {name: np.asarray(value).tolist() for name, value in steps.figures(logs).items()}
        expected = {name: np.asarray(value).tolist() for name, value in model.get_metrics_result().items()}
        assert list(found.items()) == list(expected.items()), (metrics, epoch, found, expected)
        seen.append(found["loss"])
        steps.reset()
        logs = steps.test((x, y, None))
        told = model.evaluate(x, y, batch_size=6, verbose=0, return_dict=True)
        found = {name: np.asarray(value).tolist() for name, value in steps.figures(logs).items()}
        assert found.keys() == told.keys(), (found, told)
        assert all(np.allclose(found[name], told[name], rtol=1e-4) for name in told), (found, told)
    assert len(set(seen)) == 4, "it trains"
"""


def test_metrics_of_every_epoch_are_keras_s_and_begin_anew() -> None:
    done = python_with_keras(EPOCHS)
    assert done.returncode == 0, done.stderr
