"""From the resolved job file to a compiled Keras model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from gpujobs.trainer.failures import TrainerError


def build(jobfile: Mapping[str, Any], input_shape: tuple[int, ...]) -> keras.Model:
    """A compiled model with all its variables: Keras traces its step twice where the optimizer's are missing.

    input_shape: (timesteps, features). Raises TrainerError naming the layer that Keras refuses.
    """
    model = keras.Sequential(name=_identifier(str(jobfile.get("name") or "model")))
    model.add(keras.Input(input_shape))
    for entry in jobfile["model"]["layers"]:
        ((kind, arguments),) = entry.items()
        try:
            model.add(_named(keras.layers, kind)(**(arguments or {})))
        except (TypeError, ValueError) as error:
            raise TrainerError(f"model.layers: {kind}: {error}") from error
    training = jobfile["training"]
    model.compile(
        loss=_part(keras.losses, training["loss"]),
        optimizer=_part(keras.optimizers, training["optimizer"]),
        metrics=[_part(keras.metrics, metric) for metric in training.get("metrics", [])],
    )
    model.optimizer.build(model.trainable_variables)
    return model


def loss_name(jobfile: Mapping[str, Any]) -> str:
    """Snake case, whichever way the job file names it."""
    loss = jobfile["training"]["loss"]
    name = loss if isinstance(loss, str) else next(iter(loss))
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_").replace("__", "_")


def _part(module: Any, entry: Any) -> Any:
    """Keras's string, or an instance from {Name: arguments}."""
    if isinstance(entry, str):
        return entry
    ((kind, arguments),) = entry.items()
    return _named(module, kind)(**(arguments or {}))


def _named(module: Any, name: str) -> Any:
    found = getattr(module, name, None)
    if not isinstance(found, type):
        raise TrainerError(f"Keras {keras.__version__} has no {module.__name__}.{name}")
    return found


def _identifier(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)
