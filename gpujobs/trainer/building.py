"""From the resolved job file to a compiled Keras model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

import keras
import numpy as np

from gpujobs.jobfile.consistency import is_stateful, outputs_of
from gpujobs.jobfile.keras_names import catalogue
from gpujobs.jobfile.losses import kind
from gpujobs.trainer import metrics
from gpujobs.trainer.data.arrays import Batch
from gpujobs.trainer.decision import Decision, decisions
from gpujobs.trainer.failures import TrainerError, of_keras
from gpujobs.trainer.layer_inputs import input_of

SECTIONS = {
    "layer": "layers",
    "initializer": "initializers",
    "regularizer": "regularizers",
    "constraint": "constraints",
    "learning_rate": "schedules",
}
"""The arguments that are Keras objects themselves, by the catalogue's name of their type."""

WHOLE = ("steps", "boundaries")
"""How the names of a schedule's arguments end that count steps."""

MODEL = "model"
"""What Keras calls it. A job may have names that Keras refuses."""

REFUSALS = (TypeError, ValueError, AttributeError, ArithmeticError, LookupError, NotImplementedError)
"""How Keras's constructors fail. What a machine lacks fails otherwise."""

TENSORFLOWS = "InvalidArgumentError"
"""Its name, as a trainer with JAX has not loaded it."""


Shapes = Mapping[str, tuple[int | None, ...]]
"""(timesteps, features) of each input, by name."""


def build(jobfile: Mapping[str, Any], shapes: Shapes, *, masked: bool = False) -> Any:
    """A compiled model with all its variables: Keras traces its step twice where the optimizer's are missing.

    `masked`: the metrics leave out what has no weight.
    Raises TrainerError naming the layer that Keras refuses.
    """
    model = untrained(jobfile, shapes)
    compile_model(model, jobfile, optimizer_of(jobfile["training"]), masked=masked)
    model.optimizer.build(model.trainable_variables)
    return model


def compile_model(
    model: keras.Model, jobfile: Mapping[str, Any], optimizer: keras.Optimizer, *, masked: bool = False
) -> None:
    """With the job's loss and metrics. `masked`: see `build`."""
    training, outputs, told = jobfile["training"], outputs_of(jobfile), decisions(jobfile, model)
    if len(outputs) > 1:
        found: Any = {name: _metrics(training, told.get(name)) for name in outputs}
    else:
        found = _metrics(training, next(iter(told.values()), None))
    model.compile(
        loss=_loss(training["loss"], outputs),
        optimizer=optimizer,
        steps_per_execution=int(training.get("steps_per_execution") or 1),
        **{"weighted_metrics" if masked else "metrics": found},
    )


def metrics_of(training: Mapping[str, Any], decision: Decision | None) -> Iterator[tuple[str, Any, Any]]:
    """The place of each, the job file's entry, and what Keras takes for it."""
    for number, entry in enumerate(training.get("metrics", [])):
        place = f"training.metrics[{number}]"
        yield place_of(place, entry), entry, _metric(entry, place, decision)


def _metrics(training: Mapping[str, Any], decision: Decision | None) -> list[Any]:
    return [metric for _, _, metric in metrics_of(training, decision)]


def _metric(entry: Any, place: str, decision: Decision | None) -> Any:
    entry, is_shown = metrics.adapted(entry, decision)
    if decision is None or not is_shown:
        return _named_part("metrics", entry, place)
    metric = keras.metrics.get(_named_part("metrics", entry, place))
    if isinstance(entry, str):
        metric.name = entry
    return metrics.showing_probabilities(metric, decision)


def make_metrics(model: keras.Model, jobfile: Mapping[str, Any], batch: Batch) -> None:
    """Makes the metrics' variables before the first step would: TensorFlow traces twice a step that makes some.

    `batch`: as Keras's own step takes it. The metrics see predictions of 0 and are reset.
    """
    x, y, weight = batch
    names = sorted(outputs_of(jobfile))
    if len(names) > 1:  # each has a loss, and a mean of it, of its own
        assert isinstance(y, dict)
        zeros = {name: zeros_like(one, y[name]) for name, one in zip(names, model.outputs, strict=True)}
        model.compute_loss(x, y, zeros, weight, training=False)
    else:  # without a metric, too: Keras asks those that there are, and a step that was traced elsewhere builds none
        zeros = zeros_like(model.outputs[0], y)
    model.compute_metrics(x, y, zeros, weight)
    model.reset_metrics()


def zeros_like(output: Any, y: Any) -> Any:
    """A prediction of an output's shape, with y's lengths where the model takes any."""
    shape = tuple(have if size is None else size for size, have in zip_longest(output.shape, y.shape))
    return np.zeros(shape[: len(output.shape)], np.float32)


def optimizer_of(training: Mapping[str, Any]) -> Any:
    """Keras would scale the loss of float16 by itself, and then could not load what it has saved."""
    with _Naming(place_of("training.optimizer", training["optimizer"])):
        optimizer = keras.optimizers.get(part("optimizers", training["optimizer"]))
    if training.get("precision") != "mixed_float16":
        return optimizer
    return keras.optimizers.LossScaleOptimizer(optimizer)


def rate_of(optimizer: Any) -> float | None:
    """The learning rate that a job file gives as a number."""
    arguments = {} if isinstance(optimizer, str) else next(iter(optimizer.values())) or {}
    rate = arguments.get("learning_rate")
    return float(rate) if isinstance(rate, (int, float)) else None


def untrained(jobfile: Mapping[str, Any], shapes: Shapes, *, batch_size: int | None = None) -> Any:
    if batch_size is None and is_stateful(jobfile):
        batch_size = int(jobfile["training"]["batch_size"])
    if jobfile["model"].get("branches"):
        return _branched(jobfile, shapes, batch_size)
    ((_, shape),) = shapes.items()
    try:
        return _sequential(jobfile, (batch_size, *shape), names_refused=False)
    except Exception as error:
        if not is_refusal(error):
            raise
        _sequential(jobfile, (batch_size, *shape), names_refused=True)
        raise  # a model of a second try would have other names and seeds than that of the first


def _sequential(
    jobfile: Mapping[str, Any], batch_shape: tuple[int | None, ...], *, names_refused: bool
) -> Any:
    """Keras builds all layers anew for each that is added, or once, and then does not say which one it refused."""
    model = keras.Sequential(name=MODEL)
    model.add(keras.Input(batch_shape=batch_shape, dtype=_dtype(jobfile["model"]["layers"])))
    for number, entry in enumerate(jobfile["model"]["layers"]):
        place = place_of(f"model.layers[{number}]", entry)
        if names_refused:
            _require_axes(place, entry, batch_shape if number == 0 else model.output_shape)
        with _Naming(place):
            model.add(part("layers", entry), rebuild=names_refused)
    if not names_refused:
        model.build(batch_shape)
        for number, (entry, layer) in enumerate(zip(jobfile["model"]["layers"], model.layers, strict=True)):
            _require_axes(place_of(f"model.layers[{number}]", entry), entry, input_of(layer).shape)
    return model


def _branched(jobfile: Mapping[str, Any], shapes: Shapes, batch_size: int | None) -> Any:
    branches = jobfile["model"]["branches"]
    tokens = {name for branch in branches.values() for name in branch["inputs"] if _dtype(branch["layers"])}
    inputs = {
        name: keras.Input(shape, name=name, batch_size=batch_size, dtype="int32" if name in tokens else None)
        for name, shape in shapes.items()
    }
    tensors: dict[str, Any] = dict(inputs)
    for name, branch in branches.items():
        given = [tensors[one] for one in branch["inputs"]]
        with _Naming(f"model.branches.{name}: {branch.get('merge', 'Concatenate')}"):
            merged = given[0] if len(given) == 1 else getattr(keras.layers, branch["merge"])()(given)
        for number, entry in enumerate(branch["layers"]):
            place = place_of(f"model.branches.{name}.layers[{number}]", entry)
            _require_axes(place, entry, merged.shape)
            with _Naming(place):
                merged = part("layers", entry)(merged)
        tensors[name] = merged
    names = outputs_of(jobfile)
    outputs = {name: tensors[name] for name in names} if len(names) > 1 else tensors[names[0]]
    given_inputs = inputs if len(inputs) > 1 else next(iter(inputs.values()))
    return keras.Model(given_inputs, outputs, name=MODEL)


def _require_axes(place: str, entry: Any, shape: tuple[int | None, ...]) -> None:
    """Raises TrainerError for an axis that what the layer reads does not have, of which Keras says little, or nothing
    before the first step. `shape`: with the batch, which is no axis to go along."""
    arguments = next(iter(entry.values())) or {} if isinstance(entry, dict) else {}
    last = len(shape) - 1
    for name in ("axis", "shared_axes"):
        given = arguments.get(name)
        for axis in given if isinstance(given, list) else [given]:
            if axis is None or 1 <= axis <= last or (name == "axis" and -last <= axis <= -1):
                continue
            below = f", or -{last} to -1" if name == "axis" else ""
            raise TrainerError(
                f"{place}.{name}: is {axis}, and what the layer reads has the shape "
                f"({', '.join('any' if size is None else str(size) for size in shape)}), of which axis 0 is the batch; "
                f"expected 1 to {last}{below}"
            )


class _Naming:
    """Says which entry of the job file it was that Keras refused."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None and is_refusal(error):
            raise TrainerError(f"{self._place}: {of_keras(error)}") from error


def is_refusal(error: BaseException) -> bool:
    return isinstance(error, REFUSALS) or type(error).__name__ == TENSORFLOWS


def place_of(place: str, entry: Any) -> str:
    """With the name of what stands there: model.layers[0].LSTM."""
    return f"{place}.{next(iter(entry))}" if isinstance(entry, dict) else place


def _dtype(layers: list[Any]) -> str | None:
    return "int32" if layers and next(iter(layers[0])) == "Embedding" else None


def losses(jobfile: Mapping[str, Any], outputs: list[str]) -> dict[str, str]:
    """The kind of each output's loss, whichever way the job file names it."""
    loss = jobfile["training"]["loss"]
    if len(outputs) == 1:
        return {outputs[0]: kind(loss)}
    return {name: kind(loss[name]) for name in outputs}


def _loss(loss: Any, outputs: list[str]) -> Any:
    if len(outputs) <= 1:
        return _named_part("losses", loss, "training.loss")
    return {name: _named_part("losses", loss[name], f"training.loss.{name}") for name in outputs}


def _named_part(section: str, entry: Any, place: str) -> Any:
    with _Naming(place_of(place, entry)):
        return part(section, entry)


def part(section: str, entry: Any) -> Any:
    """Keras's string, or an instance from {Name: arguments}."""
    if isinstance(entry, str):
        return entry
    ((kind, arguments),) = entry.items()
    module = keras.optimizers.schedules if section == "schedules" else getattr(keras, section)
    found = getattr(module, kind, None)
    if not isinstance(found, type):
        raise TrainerError(f"Keras {keras.__version__} has no {module.__name__}.{kind}")
    types = catalogue()[section]["classes"].get(kind, {})
    given = {name: _argument(types.get(name), value) for name, value in (arguments or {}).items()}
    return found(**(_with_fractions(given) if section == "schedules" else given))


def _argument(rule: Mapping[str, Any] | None, value: Any) -> Any:
    section = SECTIONS.get((rule or {}).get("type", ""))
    if section and isinstance(value, dict):
        return part(section, value)
    return float(value) if _is_integer(value) and _takes_fractions(rule or {}) else value


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _takes_fractions(rule: Mapping[str, Any]) -> bool:
    """Where Keras makes a tensor of a 0 that is meant as 0.0, it has the wrong type."""
    return rule.get("type") in ("rate", "share", "learning_rate") or isinstance(rule.get("default"), float)


def _with_fractions(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a schedule: rates and factors as such, which are not whole numbers of steps."""
    return {name: value if name.endswith(WHOLE) else _fraction(value) for name, value in given.items()}


def _fraction(value: Any) -> Any:
    if isinstance(value, list):
        return [_fraction(one) for one in value]
    return float(value) if _is_integer(value) else value
