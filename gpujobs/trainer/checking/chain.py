"""The layers of a built Keras model with what the report's parts ask of each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpujobs.trainer.counting import WRAPPERS, Inner, Shape, inner_of
from gpujobs.trainer.layer_inputs import inputs_of

if TYPE_CHECKING:
    import keras

RECURRENT = ("LSTM", "GRU", "SimpleRNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """`arguments`: all that Keras's `get_config` has, with their values; `use_cudnn` is not among them.
    `input_shape`, `output_shape`: without the batch; None: any length. `inner`: the layer that
    computes, which a wrapper has inside. `feeds`: the kinds that read its output; `fed_by`: those that it reads."""

    name: str
    kind: str
    arguments: Mapping[str, Any]
    input_shape: Shape
    output_shape: Shape
    parameters: int
    trainable: int
    is_masked: bool
    use_cudnn: Any
    feeds: tuple[str, ...]
    fed_by: tuple[str, ...]

    @property
    def inner(self) -> Inner:
        is_wrapper = self.kind in WRAPPERS
        return inner_of(self.arguments["layer"]) if is_wrapper else Inner(self.kind, self.arguments)

    @property
    def directions(self) -> tuple[Inner, ...]:
        """The layers that compute: two of a Bidirectional one, forward and backward."""
        is_both = self.kind == "Bidirectional"
        return (self.inner, inner_of(self.arguments["backward_layer"])) if is_both else (self.inner,)

    @property
    def is_recurrent(self) -> bool:
        return self.inner.kind in RECURRENT and self.kind != "TimeDistributed"


def links(model: keras.Model) -> list[LayerInfo]:
    """Of every layer but the inputs, those that are read before those that read them."""
    layers = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    readers: dict[str, list[str]] = {}
    for layer in layers:
        for source in _sources(layer):
            readers.setdefault(source.name, []).append(_core(layer))
    return [_link(layer, tuple(readers.get(layer.name, ()))) for layer in layers]


def _link(layer: keras.Layer, feeds: tuple[str, ...]) -> LayerInfo:
    inputs = inputs_of(layer)
    output = _tensors(layer.output)[0]
    return LayerInfo(
        name=str(layer.name),
        kind=type(layer).__name__,
        arguments=layer.get_config(),
        input_shape=tuple(inputs[0].shape[1:]),
        output_shape=tuple(output.shape[1:]),
        parameters=int(layer.count_params()),
        trainable=sum(math.prod(one.shape) for one in layer.trainable_variables),
        is_masked=getattr(inputs[0], "_keras_mask", None) is not None,
        use_cudnn=getattr(_inner(layer), "use_cudnn", "auto"),
        feeds=feeds,
        fed_by=tuple(_core(source) for source in _sources(layer)),
    )


def _tensors(one_or_more: Any) -> list[Any]:
    return list(one_or_more) if isinstance(one_or_more, list | tuple) else [one_or_more]


def _sources(layer: keras.Layer) -> Iterator[Any]:
    """The layers whose outputs it reads."""
    for tensor in inputs_of(layer):
        operation = tensor._keras_history.operation
        if type(operation).__name__ != "InputLayer":
            yield operation


def _core(layer: keras.Layer) -> str:
    """The kind of a layer; of both directions of a recurrent one, that of the recurrent one."""
    return type(_inner(layer)).__name__


def _inner(layer: keras.Layer) -> Any:
    return layer.forward_layer if type(layer).__name__ == "Bidirectional" else layer
