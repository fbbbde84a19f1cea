"""Predictions in the user's terms: original units, class names, the time and group of each row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from gpujobs.trainer.backends import active as backend
from gpujobs.trainer.data import Preprocessing, Samples
from gpujobs.trainer.data.arrays import as_float32
from gpujobs.trainer.data.samples.rows import RaggedRows
from gpujobs.trainer.decision import Decision
from gpujobs.trainer.layer_inputs import input_of

SHOWN = 20


def predict(model: keras.Model, samples: Samples, batch_size: int) -> Any:
    """The outputs, shape (samples, ...), by name where there are several."""
    count = len(samples)
    begins = range(0, max(count, 1), batch_size)
    outputs = backend.predictor(model, len(begins))
    parts = [
        keras.tree.map_structure(
            as_float32, outputs(samples.x(np.arange(begin, min(begin + batch_size, count))))
        )
        for begin in begins
    ]
    return keras.tree.map_structure(lambda *some: np.concatenate(some), *parts)


def arrays(
    outputs: Any, samples: Samples, raw_targets: Mapping[str, Any], learned: Preprocessing,
    decisions: Mapping[str, Decision | None], horizon: int | None,
) -> dict[str, Any]:  # fmt: skip
    """The arrays of predictions.npz. `raw_targets`: what is expected, in original units, by output. `decisions`: of
    the outputs that tell classes, by output; None of numbers.

    With several outputs each has arrays of its own, `y_pred_NAME`, and `y_pred` is the first's.
    """
    by_name = outputs if isinstance(outputs, dict) else {next(iter(decisions)): outputs}
    result: dict[str, Any] = {}
    for number, (name, y_pred) in enumerate(by_name.items()):
        of_own = learned if len(by_name) == 1 else _own(learned, name)
        own = _of_output(name, y_pred, raw_targets.get(name), of_own, decisions[name], horizon)
        counted = (
            samples.counted.get(name) if len(by_name) > 1 else next(iter(samples.counted.values()), None)
        )
        if counted is not None and _fits(there := samples.all_of(counted), y_pred):
            own["counted"] = there
        if number == 0:
            result |= own
        if len(by_name) > 1:
            result |= {f"{key}_{name}": value for key, value in own.items()}
    for key, rows in samples.labels.items():
        result[key] = _plain(samples.all_of(rows))
    lengths = _lengths(samples)
    if lengths is not None:
        result["lengths"] = lengths
    return result


def _fits(there: NDArray[np.bool_], y_pred: Any) -> bool:
    """Whether there is a value for each: a layer may have made fewer steps of those that went in."""
    return bool(there.shape == y_pred.shape[: there.ndim])


def only(found: Mapping[str, Any], output: str) -> dict[str, Any]:
    """The arrays of one of several outputs, as if it were the only one."""
    own = {key: f"{key}_{output}" for key in ("y_pred", "y_class", "y_true", "classes", "counted")}
    return {key: found[name] for key, name in own.items() if name in found}


def counts(found: Mapping[str, NDArray[Any]], values: NDArray[Any]) -> NDArray[np.bool_]:
    """bool, of the first axes of `values`, some of the arrays of an output: what counts."""
    counted = found.get("counted")
    return np.ones(values.shape[:1], bool) if counted is None else counted


def _of_output(
    name: str, y_pred: Any, y_true: Any, learned: Preprocessing, decision: Decision | None, horizon: int | None
) -> dict[str, Any]:  # fmt: skip
    if decision is not None:
        found = {"y_pred": y_pred, "y_class": decision.classes(y_pred)}
        names = _named(learned.classes, name)
        if y_true is not None:
            found["y_true"] = true_classes(y_true, found["y_class"])
        if decision.is_each:
            labels = learned.target_names if names is None else names.names
            return {**found, "classes": np.asarray(labels)} if labels else found
        if names is not None:
            found = {key: value if key == "y_pred" else names.decode(value) for key, value in found.items()}
            found["classes"] = np.asarray(names.names)
        return found
    scale = _named(learned.y, name)
    y_pred = in_units(y_pred, scale, y_true, horizon)
    return (
        {"y_pred": y_pred} if y_true is None else {"y_pred": y_pred, "y_true": y_true.reshape(y_pred.shape)}
    )


def _own(learned: Preprocessing, output: str) -> Preprocessing:
    """Without the scales and classes of other outputs."""
    scales = {name: one for name, one in learned.y.items() if name == output}
    classes = {name: one for name, one in learned.classes.items() if name == output}
    return replace(learned, y=scales, classes=classes)


def _named(by_target: Mapping[str, Any], output: str) -> Any:
    """Of the output of this name; a model's only output may be named otherwise than its target."""
    return by_target.get(output) or (next(iter(by_target.values())) if len(by_target) == 1 else None)


def in_units(y_pred: Any, scale: Any, y_true: Any, horizon: int | None) -> Any:
    """Unscaled. Several steps ahead: shape (samples, horizon, columns)."""
    columns = len(scale.center) if scale is not None else None
    if columns is None and horizon and horizon > 1:
        if y_true is not None:
            columns = y_true.shape[-1]
        elif y_pred.ndim == 2 and y_pred.shape[1] % horizon == 0:
            columns = y_pred.shape[1] // horizon
    if columns is None:
        return y_pred
    shape = y_pred.shape
    if horizon and horizon > 1:
        shape = (len(y_pred), horizon, columns)
    flat = y_pred.reshape(-1, columns)
    return (flat if scale is None else scale.invert(flat)).reshape(shape)


def true_classes(y: np.ndarray, y_class: np.ndarray) -> Any:
    """Labels or one-hot rows as labels, of y_class's shape."""
    return y.reshape(y_class.shape).astype(np.int64) if y.size == y_class.size else y.argmax(axis=-1)


def _lengths(samples: Samples) -> Any:
    for rows in samples.inputs.values():
        if isinstance(rows, RaggedRows):
            return rows.lengths[samples.at(np.arange(len(samples)))]
    return None


def _plain(values: Any) -> Any:
    """Text as text: an array of objects would be a pickle."""
    return values.astype(str) if values.dtype == object else values


def state_model(model: keras.Model, names: Iterable[str]) -> keras.Model:
    """A model of the same inputs whose outputs are the states of these recurrent layers after the last step, each
    of shape (samples, units), by their arrays' names: `NAME_h`, of an LSTM `NAME_c` too; of a Bidirectional layer
    those of both directions."""
    outputs: dict[str, Any] = {}
    for name in names:
        layer = model.get_layer(name)
        read = input_of(layer)  # the mask comes with it
        for label, one in _directions(layer).items():
            outputs |= _states(label, one, read)
    inputs = {one.name: one for one in model.inputs} if len(model.inputs) > 1 else model.inputs[0]
    return keras.Model(inputs, outputs)


def put_weights(model: keras.Model, source: keras.Model, names: Iterable[str]) -> None:
    """Those that a `state_model` of `source` has of its own, once its source's have changed."""
    for name in names:
        for label, one in _directions(source.get_layer(name)).items():
            model.get_layer(f"{label}_states").set_weights(one.get_weights())


def _directions(layer: keras.Layer) -> dict[str, keras.Layer]:
    """The layers that have states, by how their arrays are called: two of a Bidirectional one, which may differ."""
    if not hasattr(layer, "forward_layer"):
        return {layer.name: layer}
    return {f"{layer.name}_forward": layer.forward_layer, f"{layer.name}_backward": layer.backward_layer}


def _states(label: str, layer: keras.Layer, read: Any) -> dict[str, Any]:
    twin = type(layer).from_config({**layer.get_config(), "name": f"{label}_states", "return_state": True})
    if hasattr(layer, "use_cudnn"):  # Keras leaves it out of what it says of a layer
        twin.use_cudnn = layer.use_cudnn
    tensors = list(twin(read)[1:])
    twin.set_weights(layer.get_weights())
    letters = ["h", "c"] if "lstm" in type(layer).__name__.lower() else ["h"]
    return {f"{label}_{one}": tensor for one, tensor in zip(letters, tensors, strict=True)}


def summary(result: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The first 20 predictions beside what was expected, of how many, the share of classes that is right, and
    the shape of every array. What does not count, such as padding, is left out."""
    shown = "y_class" if "y_class" in result else "y_pred"
    there = counts(result, result[shown])
    values = result[shown][there]
    found: dict[str, Any] = {shown: _first(values), "count": int(values.size)}
    if "y_true" in result:
        found["y_true"] = _first(result["y_true"][there])
        if shown == "y_class" and values.size:
            found["accuracy"] = float((values == result["y_true"][there]).mean())
    return {**found, "arrays": {name: list(values.shape) for name, values in result.items()}}


def _first(values: Any) -> list[Any]:
    """20 values: one of each sample, or, where a sample has several, those of the first samples; None for NaN."""
    listed: list[Any] = values.reshape(-1)[:SHOWN].tolist()
    return [None if value != value else value for value in listed]
