"""Variables that Keras does not track among a model's own, or its optimizer's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras


def states_of(model: keras.Model) -> Iterator[tuple[Any, Any]]:
    """(layer, variable) of each state that a stateful layer carries from batch to batch, in the layers' order."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.RNN) and layer.stateful:
            for state in keras.tree.flatten(layer.states):
                yield layer, state


def untracked_of(optimizer: Any) -> Iterator[Any]:
    """What Nadam multiplies up from step to step."""
    product = getattr(getattr(optimizer, "inner_optimizer", optimizer), "_u_product", None)
    if product is not None:
        yield product
