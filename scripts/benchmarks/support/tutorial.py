"""jobs/tutorial.yaml as the plain Keras script that people write: `python tutorial.py DIRECTORY [THREADS]`.

The references import its functions, so that all contenders train the same model on the same data.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import tensorflow as tf

DATA = Path(__file__).resolve().parents[3] / "jobs" / "data" / "tutorial.npz"
EPOCHS = 20


def use_threads(count: int) -> None:
    """As gpujobs does on a CPU slot; 0 leaves it to TensorFlow. Before the first operation."""
    if count:
        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(count)


def read() -> tuple[np.ndarray, np.ndarray]:
    with np.load(DATA) as data:
        return data["x"], np.eye(4, dtype=np.float32)[data["y"]]


def build() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 1)),
            keras.layers.LSTM(128, dropout=0.2, recurrent_dropout=0.2, name="first_lstm"),
            keras.layers.Dense(4, activation="sigmoid"),
        ]
    )
    optimizer = keras.optimizers.Adam(learning_rate=0.001)
    model.compile(loss="binary_crossentropy", optimizer=optimizer, metrics=["accuracy"])
    return model


def build_dense() -> keras.Model:
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense
    model = keras.Sequential(
        [
            keras.Input((6, 1)),
            keras.layers.Flatten(),
            dense(64, activation="relu"),
            dense(4, activation="sigmoid"),
        ]
    )
    optimizer = keras.optimizers.Adam(learning_rate=0.001)
    model.compile(loss="binary_crossentropy", optimizer=optimizer, metrics=["accuracy"])
    return model


SHAPES = {"LSTM": build, "Dense": build_dense}


def fit_predict_save(model: keras.Model, directory: Path, epochs: int = EPOCHS) -> None:
    """Writes model.keras, predictions.npz and, when all is there, `done`."""
    x, y = read()
    directory.mkdir(parents=True, exist_ok=True)
    model.fit(x, y, epochs=epochs, verbose=0)
    y_pred = model.predict(x, verbose=0)
    model.save(directory / "model.keras")
    np.savez(directory / "predictions.npz", y_pred=y_pred, y_class=y_pred.argmax(axis=1))
    (directory / "done").touch()


class Resident:
    """A model that is built once, its step and its forward pass traced once. Each job begins as the first one does."""

    def __init__(self, shape: str = "LSTM") -> None:
        self.model = SHAPES[shape]()
        self.x, self.y = (tf.constant(values) for values in read())
        self.model.optimizer.build(self.model.trainable_variables)
        self._step = tf.function(lambda x, y: self.model.train_step((x, y)))
        self._forward = tf.function(lambda x: self.model(x, training=False))
        begin = [*self.model.variables, *self.model.optimizer.variables]
        self._begin = [(variable, variable.numpy().copy()) for variable in begin]

    def run(self, directory: Path, seed: int, epochs: int = EPOCHS, batch_size: int = 32) -> np.ndarray:
        """Writes what `fit_predict_save` does. Returns the predictions."""
        keras.utils.set_random_seed(seed)
        for variable, value in self._begin:
            variable.assign(value)
        order = np.random.default_rng(seed)
        for _ in range(epochs):
            self.model.reset_metrics()
            chosen = order.permutation(len(self.x))
            for first in range(0, len(chosen), batch_size):
                own = chosen[first : first + batch_size]
                self._step(tf.gather(self.x, own), tf.gather(self.y, own))
            self.model.get_metrics_result()
        predicted: np.ndarray = self._forward(self.x).numpy()
        directory.mkdir(parents=True, exist_ok=True)
        self.model.save(directory / "model.keras")
        np.savez(directory / "predictions.npz", y_pred=predicted, y_class=predicted.argmax(axis=-1))
        (directory / "done").touch()
        return predicted


if __name__ == "__main__":
    use_threads(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    fit_predict_save(build(), Path(sys.argv[1]))
