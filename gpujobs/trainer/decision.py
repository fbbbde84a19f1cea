"""Which class a prediction is: the one place that says so, for every loss and activation of the last layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import keras
import numpy as np

from gpujobs.jobfile import losses
from gpujobs.jobfile.consistency import outputs_of, task_of_output
from gpujobs.trainer.data.reading.loaded import CLASS_TASKS
from gpujobs.trainer.layer_inputs import input_of, inputs_of

PROBABILITIES = ("sigmoid", "hard_sigmoid", "sparse_sigmoid", "softmax", "sparsemax")
"""Activations whose values are shares: from 0 to 1."""

PASSING = ("Reshape", "Flatten", "Dropout", "Permute", "Identity", "Cropping1D", "ActivityRegularization")
"""Layers after the last one that computes, which leave its values as they are."""


class Scale(StrEnum):
    """What an output's numbers are."""

    PROBABILITY = "probability"
    LOGIT = "logit"
    MARGIN = "margin"
    """Of hinge losses: the further from 0, the surer."""


@dataclass(frozen=True, slots=True)
class Decision:
    """How the classes of an output are told. `is_each`: each unit is a label for itself (multi-label)."""

    scale: Scale
    units: int
    is_each: bool
    is_categorical: bool
    """Whether a softmax makes probabilities of logits, not a sigmoid of each."""

    @property
    def threshold(self) -> float:
        """What a single unit, or each of multi-label, is compared with."""
        return 0.5 if self.scale is Scale.PROBABILITY else 0.0

    @property
    def is_compared(self) -> bool:
        return self.is_each or self.units == 1

    def classes(self, y_pred: Any) -> Any:
        """int64: 0 or 1 of what is compared with the threshold, else the number of the largest of the last axis."""
        if self.is_each:
            return (y_pred > self.threshold).astype(np.int64)
        if y_pred.shape[-1] == 1:
            return (y_pred[..., 0] > self.threshold).astype(np.int64)
        return np.asarray(y_pred.argmax(axis=-1))

    def probabilities(self, y_pred: Any) -> Any:
        """Of a backend's tensor."""
        if self.scale is Scale.PROBABILITY:
            return y_pred
        return keras.ops.softmax(y_pred) if self.is_categorical else keras.ops.sigmoid(y_pred)


def decision(task: str, loss: Any, activation: str, units: int) -> Decision:
    """`loss`: as the job file has it. An activation that makes probabilities is believed before `from_logits`."""
    kind, is_each = losses.kind(loss), task == "multilabel"
    if activation in PROBABILITIES:
        scale = Scale.PROBABILITY
    elif losses.arguments(loss).get(losses.FROM_LOGITS):
        scale = Scale.LOGIT
    else:
        scale = Scale.MARGIN if "hinge" in kind else Scale.PROBABILITY
    return Decision(scale, units, is_each, "categorical" in kind and units > 1)


def decisions(job: Mapping[str, Any], model: keras.Model) -> dict[str, Decision]:
    """Of each of the model's outputs that tells classes, by name (`y`: an only one that needs none)."""
    found = {}
    for name, tensor in output_tensors(job, model).items():
        task = task_of_output(job, name)
        if task in CLASS_TASKS:
            loss = losses.of_output(job, name)
            found[name] = decision(task, loss, activation_of(tensor), int(tensor.shape[-1] or 1))
    return found


def output_tensors(job: Mapping[str, Any], model: keras.Model) -> dict[str, Any]:
    """By the outputs' names; `y` where the only one needs none."""
    names = outputs_of(job)
    if len(names) > 1:
        by_name = dict(zip(sorted(names), model.outputs, strict=True))  # Keras sorts them
        return {name: by_name[name] for name in names}
    return {names[0] if names else "y": model.outputs[0]}


def activation_of(tensor: Any) -> str:
    """The name of the last activation before an output; of what merges several, that of all of them; empty text where
    the last layer has none to tell."""
    layer = tensor._keras_history.operation
    while type(layer).__name__ in PASSING:
        layer = input_of(layer)._keras_history.operation
    while type(layer).__name__ in ("TimeDistributed", "Bidirectional"):
        layer = layer.layer
    if type(layer).__name__ in ("Softmax", "ReLU", "Sigmoid"):
        return type(layer).__name__.lower()
    if hasattr(layer, "activation"):
        return str(getattr(layer.activation, "__name__", ""))
    merged = inputs_of(layer) if isinstance(getattr(layer, "input", None), list) else []
    found = {activation_of(one) for one in merged} if len(merged) > 1 else set()
    return found.pop() if len(found) == 1 else ""


def notices(job: Mapping[str, Any], model: keras.Model) -> Iterator[str]:
    """What of a loss and a last activation does not fit together, though both are what was asked for."""
    for name, tensor in output_tensors(job, model).items():
        if task_of_output(job, name) not in CLASS_TASKS:
            continue
        loss, activation = losses.of_output(job, name), activation_of(tensor)
        kind, is_probability = losses.kind(loss), activation in PROBABILITIES
        head = f"training.loss is {kind}"
        if losses.arguments(loss).get(losses.FROM_LOGITS):
            if is_probability:
                yield (
                    f"{head} with from_logits: true, and the last activation is {activation}, which makes "
                    "probabilities: they are taken as such (above 0.5, or the largest); leave one of the two out."
                )
        elif "crossentropy" in kind and activation and not is_probability:
            wanted = "softmax" if "categorical" in kind else "sigmoid"
            yield (
                f"{head}, which expects probabilities, and the last activation is {activation}; say activation: "
                f"{wanted} there, or from_logits: true in the loss."
            )
        elif "hinge" in kind and is_probability:
            yield f"{head}, whose labels are -1 and 1, and the last activation is {activation}; tanh or linear fits it."
