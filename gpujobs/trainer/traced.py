"""A compiled model with its steps, which are traced once, for one training after the other."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import keras
import numpy as np

from gpujobs.trainer import building, checkpoint
from gpujobs.trainer.backends import active as backend
from gpujobs.trainer.backends.interface import Steps
from gpujobs.trainer.data import Samples
from gpujobs.trainer.means import Means, OutputMeans
from gpujobs.trainer.shelf import Shelf

MANY = 8
"""Shapes of data that a process keeps functions for."""


class Derived:
    """Models that are made of one, for its predictions, once each."""

    def __init__(self) -> None:
        self._models: dict[Hashable, keras.Model] = {}

    def get(
        self, key: Hashable, make: Callable[[], keras.Model], again: Callable[[keras.Model], None]
    ) -> keras.Model:
        """`again`: gives one that was made before the weights of today."""
        if key in self._models:
            again(self._models[key])
        else:
            self._models[key] = make()
        return self._models[key]

    def __len__(self) -> int:
        return len(self._models)


class Traced:
    """Of a compiled model. It is of use once `ready` was called."""

    def __init__(self, model: keras.Model, jobfile: Mapping[str, Any], shelf: Shelf | None = None) -> None:
        """`shelf`: where other processes have left what they have traced, and find what this one leaves."""
        self.model, self._jobfile, self._shelf = model, jobfile, shelf
        self._means: Means | OutputMeans | None = None
        self._steps: Steps | None = None
        self._first: list[tuple[Any, Any]] = []
        """The variables that a model has while it is trained only, each with its first value; None of zeros, which an
        optimizer's are, as many as the weights."""
        self.derived = Derived()

    @property
    def steps(self) -> Steps:
        assert self._steps is not None, "it was made ready"
        return self._steps

    def ready(self, train: Samples, batch_size: int) -> None:
        """Makes the steps and all variables, once, before the first step."""
        if self._steps is not None:
            return
        targets, batch = list(train.targets), train.batch(np.arange(min(batch_size, len(train))))
        if train.counted:
            self._means = means = Means(self.model, self._jobfile, targets)
            means.install()
            batch = means.batch(batch)
        elif len(targets) > 1:
            self._means = OutputMeans(self.model)
            self._means.install()
        self._steps = backend.steps(self.model)
        building.make_metrics(self.model, self._jobfile, batch)
        if self._means is not None:
            self._means.track()
        variables = checkpoint.of_training(self.model)
        backend.wait_for(variables)
        self._first = [(one, _first_value(one)) for one in variables]
        if self._shelf is not None:
            self._steps.share(self._shelf, [*self.model.variables, *variables])

    def begin(self, fresh: keras.Model, training: Mapping[str, Any]) -> bool:
        """Sets all variables as they are before a first step. `fresh`: the model as it is built for this training,
        with weights of its own. False where that is not all that the steps depend on, or they were traced for too many
        shapes: they are of no use then."""
        if max(len(self.derived), self.steps.shapes) > MANY:
            return False
        own, others = self.model.variables, fresh.variables
        is_same = [(one.path, one.shape) for one in own] == [(one.path, one.shape) for one in others]
        variables = [variable for variable, _ in self._first]
        is_known = {id(one) for one in checkpoint.of_training(self.model)} <= set(map(id, variables))
        if not is_same or not is_known or not self.steps.depend_only_on([*own, *variables]):
            return False
        for variable, value in self._first:
            is_zero = value is None
            variable.assign(keras.ops.zeros(variable.shape, variable.dtype) if is_zero else value)
        self._begin_slots(fresh, training)
        for variable, other in zip(own, others, strict=True):
            variable.assign(other.value)
        rate = building.rate_of(training["optimizer"])
        if rate is not None:
            self.model.optimizer.learning_rate = rate
        return True

    def _begin_slots(self, fresh: keras.Model, training: Mapping[str, Any]) -> None:
        """Some optimizers begin with what the weights are (ScheduleFreeAdamW): where any slot is not zero at first, all
        are as those of an optimizer that is built for the new weights."""
        slots = set(map(id, self.model.optimizer.variables))
        if all(value is None or not value.ndim for one, value in self._first if id(one) in slots):
            return
        other = building.optimizer_of(training)
        other.build(fresh.trainable_variables)
        for variable, begun in zip(self.model.optimizer.variables, other.variables, strict=True):
            variable.assign(begun.value)


def _first_value(variable: Any) -> Any:
    value = np.asarray(variable)
    return value.copy() if value.any() else None
