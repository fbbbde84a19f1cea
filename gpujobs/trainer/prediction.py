"""Predictions: the model's outputs, and the classes they stand for."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

CLASSIFICATION = ("binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy")


def predict(model: keras.Model, x: Any, batch_size: int) -> Any:
    """y_pred, shape (samples, ...). One batch is called directly: cheaper than tracing a function for it."""
    if len(x) <= batch_size:
        return np.asarray(keras.ops.convert_to_numpy(model(x, training=False)))
    return np.asarray(model.predict(x, batch_size=batch_size, verbose=0))


def classes(y_pred: np.ndarray) -> Any:
    """argmax over the last axis; a single unit is compared with 0.5."""
    if y_pred.shape[-1] == 1:
        return (y_pred[..., 0] > 0.5).astype(np.int64)
    return np.asarray(y_pred.argmax(axis=-1))


def true_classes(y: np.ndarray, y_class: np.ndarray) -> Any:
    """Labels or one-hot rows as labels, of y_class's shape."""
    return y.reshape(y_class.shape).astype(np.int64) if y.size == y_class.size else y.argmax(axis=-1)


def arrays(y_pred: np.ndarray, y: np.ndarray | None, loss: str) -> dict[str, Any]:
    """The arrays of predictions.npz."""
    result = {"y_pred": y_pred}
    if loss in CLASSIFICATION:
        result["y_class"] = classes(y_pred)
        if y is not None:
            result["y_true"] = true_classes(y, result["y_class"])
    elif y is not None:
        result["y_true"] = y
    return result


def summary(result: dict[str, np.ndarray]) -> dict[str, Any]:
    """The first 20 classes beside the expected ones, and the share that is right."""
    found: dict[str, Any] = {}
    if "y_class" in result:
        found["y_class"] = result["y_class"][:20].tolist()
        if "y_true" in result:
            found["y_true"] = result["y_true"][:20].tolist()
            found["accuracy"] = float((result["y_class"] == result["y_true"]).mean())
    return found
