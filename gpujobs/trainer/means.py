"""The loss and the metrics as means over what counts: real steps, and samples that have a label.

Keras's own are means over a batch, padding included, and of an epoch the mean of its batches. Here a batch's loss is
the mean over what counts in it, whatever a layer masks, and an epoch's the mean over all that counts in the epoch.
Only the objects are changed, not their classes, so that the model is saved as Keras's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import keras
from keras import ops
from keras.src.backend.common.masking import set_keras_mask

from gpujobs.jobfile import losses

Step = Callable[..., Any]


class Means:
    """`outputs`: the names of the model's outputs, of which each has a weight of its own in a batch."""

    def __init__(self, model: keras.Model, job: Mapping[str, Any], outputs: Sequence[str]) -> None:
        self._model, self._names = model, list(outputs)
        kinds = {name: losses.arguments(losses.of_output(job, name)).get("reduction") for name in outputs}
        self._is_sum = {name: kind == "sum" for name, kind in kinds.items()}
        self._counts: dict[str, Any] = {}
        """Of the step that is being traced: how many count in each output, and which (bool)."""
        self._there: dict[str, Any] = {}

    def install(self) -> None:
        """Before the steps are made."""
        self._compute_loss, self._compute_metrics = self._model.compute_loss, self._model.compute_metrics
        self._model.compute_loss, self._model.compute_metrics = self._loss, self._metrics
        self._model.train_step = self._told(self._model.train_step)
        self._model.test_step = self._told(self._model.test_step)

    def track(self) -> None:
        """Once the trackers of the outputs' losses are there."""
        total, parts = self._model._loss_tracker, self._model._compile_loss.metrics
        if not parts:
            _weigh(total, partial(self._counts.__getitem__, self._names[0]))
            return
        by_name = {part.name.removesuffix("_loss"): part for part in parts}
        lasts = [_weigh(by_name[name], partial(self._counts.__getitem__, name)) for name in self._names]
        _sum_up(total, parts, lasts)

    def batch(self, data: Any) -> Any:
        """(x, y, weights) with weights that make Keras's mean one over what counts."""
        x, y, given = data
        weights = given if isinstance(given, dict) else {self._names[0]: given}
        return x, y, self._like(given, {name: self._weight(name, one) for name, one in weights.items()})

    def _weight(self, name: str, given: Any) -> Any:
        there = ops.convert_to_tensor(given) >= 0
        count = ops.sum(ops.cast(there, "float32"))
        self._there[name], self._counts[name] = there, count
        share = ops.divide_no_nan(ops.cast(ops.size(given), "float32"), count)
        return ops.where(there, given, 0.0) * (1.0 if self._is_sum[name] else share)

    def _like(self, given: Any, by_name: dict[str, Any]) -> Any:
        return by_name if isinstance(given, dict) else by_name[self._names[0]]

    def _told(self, step: Step) -> Step:
        """JAX's steps take the variables' values before the data."""

        def told(*arguments: Any) -> Any:
            *state, data = arguments
            return step(*state, self.batch(data))

        return told

    def _loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:  # fmt: skip
        for one in keras.tree.flatten(y_pred):
            set_keras_mask(one, None)  # what a layer masks is not there already
        return self._compute_loss(x, y, y_pred, self._aligned(sample_weight, y_pred), training=training)

    def _aligned(self, weight: Any, y_pred: Any) -> Any:
        """Of each step where the loss has more than one value for it."""
        if isinstance(weight, dict):
            return {name: _expanded(one, y_pred[name]) for name, one in weight.items()}
        return _expanded(weight, y_pred)

    def _metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Steps are samples here; what does not count has no weight, and all else the same."""
        if isinstance(y_pred, dict):
            flat = {name: _flat(y[name], y_pred[name], self._there[name]) for name in y_pred}
            of_all = _Flat(
                *({name: getattr(one, field) for name, one in flat.items()} for field in _Flat._fields)
            )
            return self._compute_metrics(x, *of_all)
        return self._compute_metrics(x, *_flat(y, y_pred, self._there[self._names[0]]))


class OutputMeans:
    """Of a model with several outputs, all of whose samples count: the loss of each, of an epoch, as the mean over its
    samples, as that of all together is. Keras weighs batches there by a size that a traced step does not know, and so
    takes a short last batch for a whole one."""

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._count: Any = None
        """Of the step that is being traced: the samples of the batch."""

    def install(self) -> None:
        """Before the steps are made."""
        self._compute_loss = self._model.compute_loss
        self._model.compute_loss = self._loss

    def track(self) -> None:
        """Once the trackers of the outputs' losses are there."""
        for part in self._model._compile_loss.metrics:
            part.update_state = self._weighed(part.update_state)

    def _weighed(self, update: Callable[..., None]) -> Callable[..., None]:
        return lambda values, sample_weight=None: update(values, sample_weight=self._count)

    def _loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:  # fmt: skip
        self._count = ops.shape(keras.tree.flatten(y_pred)[0])[0]
        return self._compute_loss(x, y, y_pred, sample_weight, training=training)


def _expanded(weight: Any, y_pred: Any) -> Any:
    missing = len(y_pred.shape) - 1 - len(weight.shape)
    for _ in range(missing if len(weight.shape) > 1 else 0):
        weight = ops.expand_dims(weight, -1)
    return weight


class _Flat(NamedTuple):
    """What metrics are given, a row for each step; or each by the name of its output."""

    y: Any
    y_pred: Any
    weight: Any


def _flat(y: Any, y_pred: Any, there: Any) -> _Flat:
    weight = ops.cast(there, "float32")
    if len(there.shape) < 2:
        return _Flat(y, y_pred, weight)
    y, y_pred = (ops.reshape(one, (-1, *one.shape[2:])) for one in (ops.convert_to_tensor(y), y_pred))
    return _Flat(y, y_pred, ops.reshape(weight, (-1,)))


def _weigh(tracker: Any, count: Callable[[], Any]) -> Any:
    """Weighs a batch by what counts in it. Returns the variable with the last batch's value."""
    update = tracker.update_state
    last = tracker.add_variable((), "zeros", name="last")

    def update_state(values: Any, sample_weight: Any = None) -> None:
        last.assign(values)
        update(values, sample_weight=count())

    tracker.update_state = update_state
    return last


def _sum_up(total: Any, parts: Sequence[Any], lasts: Sequence[Any]) -> None:
    """The loss of several outputs is the sum of theirs; what it has beside them (penalties of weights) is a mean
    over batches."""
    update, result = total.update_state, total.result

    def update_state(values: Any, sample_weight: Any = None) -> None:
        update(values - sum(ops.convert_to_tensor(one) for one in lasts), sample_weight=sample_weight)

    total.update_state = update_state
    total.result = lambda: result() + sum(part.result() for part in parts)
