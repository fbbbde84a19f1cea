"""What Keras would refuse no sooner than in the first step of a training: tried on zeros, or on nothing but shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import keras
import numpy as np
from keras.src.backend import compute_output_spec
from keras.src.backend.common.variables import AutocastScope

from gpujobs.jobfile.consistency import outputs_of
from gpujobs.trainer import building
from gpujobs.trainer.checking.chain import RECURRENT
from gpujobs.trainer.data import Samples
from gpujobs.trainer.decision import Decision, decisions, output_tensors
from gpujobs.trainer.failures import TrainerError, of_keras
from gpujobs.trainer.layer_inputs import input_of, inputs_of

SLOW = (*RECURRENT, "Bidirectional")
"""Their loops take long to trace, and Keras looks at all that they are told when it makes them."""

ROWS = 2

BY_LOSS = ("accuracy", "acc", "crossentropy", "ce")
"""Names of which Keras finds out when it sees the loss which metric is meant."""


def require(jobfile: Mapping[str, Any], model: keras.Model, train: Samples) -> None:
    """Raises TrainerError with the place in the job file. `train`: targets as the loss wants them."""
    for place, layer in _placed(jobfile, model):
        if type(layer).__name__ not in SLOW:
            _try(place, partial(_first_step, layer))
        for attempt in _of_weights(layer):
            _try(place, attempt)
        _try_added(place, layer)
    _try_schedule(jobfile["training"]["optimizer"])
    _try_losses(jobfile, model, train)


def _placed(jobfile: Mapping[str, Any], model: keras.Model) -> Iterator[tuple[str, keras.Layer]]:
    """The place of each layer of a job file, and the layer."""
    branches = jobfile["model"].get("branches") or {}
    if not branches:
        for number, (entry, layer) in enumerate(zip(jobfile["model"]["layers"], model.layers, strict=True)):
            yield building.place_of(f"model.layers[{number}]", entry), layer
    waiting, seen = list(output_tensors(jobfile, model).items()), set()
    while waiting:
        name, tensor = waiting.pop()
        if name in seen or name not in branches:
            continue
        seen.add(name)
        for number, entry in reversed([*enumerate(branches[name]["layers"])]):
            layer = tensor._keras_history.operation
            yield building.place_of(f"model.branches.{name}.layers[{number}]", entry), layer
            tensor = input_of(layer)
        inputs = branches[name]["inputs"]
        waiting += zip(
            inputs, inputs_of(tensor._keras_history.operation) if len(inputs) > 1 else [tensor], strict=True
        )


def _try(place: str, attempt: Callable[[], object]) -> None:
    """An error of the backend's own is a refusal here: nothing that is tried takes memory or a device."""
    try:
        attempt()
    except TrainerError:
        raise
    except Exception as error:
        raise TrainerError(f"{place}: {of_keras(error)}") from error


def _try_added(place: str, layer: keras.Layer) -> None:
    """What is added to the loss for what a layer gives is of the layer's type, and the loss is float32. A regularizer
    may be for matrices alone."""
    for one in _called(layer):
        half = one.compute_dtype
        if half != "float32" and one.activity_regularizer is not None:
            parts = [keras.ops.zeros((), "float32"), keras.ops.zeros((), half)]
            _try_in(half, place, partial(keras.ops.sum, parts), "no regularizer of what a layer gives")
    if layer.activity_regularizer is not None:
        for given in keras.tree.flatten(layer.output):
            some = keras.KerasTensor((ROWS, *given.shape[1:]), given.dtype)
            _try(place, partial(compute_output_spec, layer.activity_regularizer, some))


def _called(layer: keras.Layer) -> Iterator[keras.Layer]:
    """The layer and those inside of it, but for what a TimeDistributed one has: it computes that without calling
    it, and Keras adds nothing to the loss."""
    within = list(layer._flatten_layers())
    uncalled = [one.layer for one in within if isinstance(one, keras.layers.TimeDistributed)]
    yield from (one for one in within if not any(one is other for other in uncalled))


def _try_in(half: str, place: str, attempt: Callable[[], object], instead: str) -> None:
    """What Keras can in float32, and some of it not in the halves of mixed precision."""
    try:
        attempt()
    except Exception as error:
        raise TrainerError(
            f"{place}: Keras cannot compute it in {half} ({of_keras(error)}); expected "
            f"training.precision: float32, or {instead}"
        ) from error


def _first_step(layer: keras.Layer) -> None:
    """On shapes alone, with what Keras adds to a call: the mask, and numbers of the layer's own precision."""
    read = input_of(layer)
    given: dict[str, Any] = {"training": True} if layer._call_has_training_arg else {}
    mask = getattr(read, "_keras_mask", None)
    if mask is not None and layer._call_has_mask_arg:
        given["mask"] = mask

    def call(read: Any, **given: Any) -> Any:
        with AutocastScope(layer.compute_dtype):
            return layer.call(keras.tree.map_structure(partial(_as_read, layer), read), **given)

    compute_output_spec(call, read, **given)


def _as_read(layer: keras.Layer, value: Any) -> Any:
    is_cast = layer.autocast and keras.backend.is_float_dtype(value.dtype)
    return keras.ops.cast(value, layer.compute_dtype) if is_cast else value


def _of_weights(layer: keras.Layer) -> Iterator[Callable[[], object]]:
    for variable in layer.trainable_variables:
        shape = keras.KerasTensor(variable.shape, variable.dtype)
        for change in (variable.constraint, variable.regularizer):
            if change is not None:
                yield partial(compute_output_spec, change, shape)


def _try_schedule(optimizer: Any) -> None:
    kind, arguments = next(iter(optimizer.items())) if isinstance(optimizer, dict) else (optimizer, {})
    rate = (arguments or {}).get("learning_rate")
    if isinstance(rate, dict):
        place = building.place_of(f"training.optimizer.{kind}.learning_rate", rate)
        _try(place, lambda: building.part("schedules", rate)(0))


def _try_losses(jobfile: Mapping[str, Any], model: keras.Model, train: Samples) -> None:
    """Of each output by itself, with labels and predictions of 0."""
    training, told, names = jobfile["training"], decisions(jobfile, model), sorted(outputs_of(jobfile))
    y = train.batch(np.arange(min(ROWS, len(train)))).y
    if len(names) < 2:
        _try_output(training, "", training["loss"], model.outputs[0], y, next(iter(told.values()), None))
        return
    assert isinstance(y, dict)
    for name, output in zip(names, model.outputs, strict=True):
        _try_output(training, f".{name}", training["loss"][name], output, y[name], told.get(name))


def _try_output(
    training: Mapping[str, Any], name: str, loss: Any, output: Any, y: Any, decision: Decision | None
) -> None:
    zeros = building.zeros_like(output, y)[: len(y)]  # a stateful model has as many as a batch
    target = np.zeros_like(y[: len(zeros)])
    place = building.place_of(f"training.loss{name}", loss)
    _try(place, lambda: keras.losses.get(building.part("losses", loss))(target, zeros))
    for place, entry, metric in building.metrics_of(training, decision):
        _require_class(place, entry, output)
        if not isinstance(metric, str):
            _try(place, partial(metric.update_state, target, zeros))
            _try(place, partial(_in_graph, metric, target, zeros))
        if output.dtype != "float32":
            _try_half(place, metric, target, keras.ops.cast(zeros, output.dtype))


def _in_graph(metric: keras.Metric, target: Any, given: Any) -> None:
    """As a step computes it: what asks for a value has none there."""

    def whole(y: Any, y_pred: Any) -> Any:
        metric.update_state(y, y_pred)
        return metric.result()

    shapes = [
        keras.KerasTensor(one.shape, keras.backend.standardize_dtype(one.dtype)) for one in (target, given)
    ]
    compute_output_spec(whole, *shapes)


def _try_half(place: str, metric: Any, target: Any, given: Any) -> None:
    if isinstance(metric, str):
        if metric in BY_LOSS:
            return
        metric = keras.metrics.get(metric)
    attempt = metric.update_state if isinstance(metric, keras.metrics.Metric) else metric
    try:
        attempt(target, keras.ops.cast(given, "float32"))
    except Exception:  # noqa: BLE001 - it is not the half that is wrong
        return
    half = keras.backend.standardize_dtype(given.dtype)
    _try_in(half, place, partial(attempt, target, given), "another metric")


def _require_class(place: str, entry: Any, output: Any) -> None:
    """A class that there is: JAX takes the last one for it, TensorFlow fails."""
    arguments = next(iter(entry.values())) or {} if isinstance(entry, dict) else {}
    units, given = int(output.shape[-1] or 1), arguments.get("class_id")
    if given is not None and given >= units:
        has = f"{units} unit{'s' if units > 1 else ''}"
        raise TrainerError(
            f"{place}.class_id: is {given}, and the model has {has}; expected 0 to {units - 1}"
        )
