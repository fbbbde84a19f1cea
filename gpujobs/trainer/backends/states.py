"""The states that stateful layers carry from batch to batch. Keras does not track them among their variables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras


def states_of(model: keras.Model) -> Iterator[tuple[Any, Any]]:
    """(layer, variable) of each state, in the layers' order."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.RNN) and layer.stateful:
            for state in keras.tree.flatten(layer.states):
                yield layer, state
