"""What a layer of a built model reads."""

from __future__ import annotations

from typing import Any

import keras


def inputs_of(layer: keras.Layer) -> list[Any]:
    """The tensors whose values it reads: one, or those that it merges. `layer.input` is a list with the mask, which is
    a tensor too, where the layer takes one."""
    tensors = keras.tree.flatten(layer.input)
    return [tensor for tensor in tensors if keras.backend.standardize_dtype(tensor.dtype) != "bool"]


def input_of(layer: keras.Layer) -> Any:
    """As a call of the layer takes it: a tensor, or the list of those that it merges."""
    tensors = inputs_of(layer)
    return tensors[0] if len(tensors) == 1 else tensors
