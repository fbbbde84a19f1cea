"""How many parameters a layer has, by the textbook's formula: from its arguments and the shape of its input.

Without Keras; tests/integration/trainer/test_counting.py proves it equal to Keras's own count.
Sources: LSTM, Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000, four gates; GRU, Cho et al.
2014, three; `reset_after`, the form of cuDNN, has a second bias. ConvLSTM: Shi et al. 2015, eq. 3, without peepholes.
LoRA: Hu et al. 2021, section 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

Shape = tuple[int | None, ...]
"""(batch, ...), as Keras gives it."""


@dataclass(frozen=True, slots=True)
class Formula:
    """`text`: the product with its numbers. `count`: what it comes to."""

    text: str
    count: int

    def __str__(self) -> str:
        return f"{self.text} = {self.count:,}"

    def plus(self, other: Formula) -> Formula:
        """Of two products."""
        text = f"2 × {self.text}" if self.text == other.text else f"{self.text} + {other.text}"
        return Formula(text, self.count + other.count)


def formula(kind: str, arguments: Mapping[str, Any], shape: Shape) -> Formula | None:
    """Of a layer of Keras's class `kind`; None for one without parameters, or without a formula here.

    `arguments`: as a job file or Keras's `get_config` has them; those left out have Keras's defaults. `shape`: of
    its input, (batch, ...).
    """
    if kind in WRAPPERS:
        return _wrapped(kind, arguments, shape)
    found = FORMULAS.get(kind)
    return None if found is None else found(arguments, shape)


class Inner(NamedTuple):
    """The layer that computes, which a wrapper has inside: Keras's class, and its arguments."""

    kind: str
    arguments: Mapping[str, Any]


def inner_of(layer: Mapping[str, Any]) -> Inner:
    """Of the layer in a wrapper: as a job file writes it, {Name: arguments}, or as Keras does."""
    if "class_name" in layer:
        return Inner(str(layer["class_name"]), dict(layer["config"]))
    ((kind, arguments),) = layer.items()
    return Inner(str(kind), dict(arguments or {}))


WRAPPERS = ("Bidirectional", "TimeDistributed")


def _wrapped(kind: str, arguments: Mapping[str, Any], shape: Shape) -> Formula | None:
    inner = inner_of(arguments["layer"])
    if kind == "TimeDistributed":  # the same weights at each step
        return formula(*inner, (shape[0], *shape[2:]))
    backward = inner_of(arguments.get("backward_layer") or arguments["layer"])
    one, other = formula(*inner, shape), formula(*backward, shape)
    return None if one is None or other is None else one.plus(other)


def _width(shape: Shape) -> int:
    return int(shape[-1] or 0)


def _channels(arguments: Mapping[str, Any], shape: Shape, dimensions: int) -> int:
    """Of an image, or of each of a sequence of them."""
    is_first = arguments.get("data_format") == "channels_first"
    return int(shape[-1 - dimensions if is_first else -1] or 0)


def _gated(gates: int) -> Callable[[Mapping[str, Any], Shape], Formula]:
    """Of `gates` gates, each with a kernel, a recurrent kernel and its biases."""

    def found(arguments: Mapping[str, Any], shape: Shape) -> Formula:
        inputs, units = _width(shape), int(arguments["units"])
        biases = 0
        if arguments.get("use_bias", True):
            biases = 2 if gates == 3 and arguments.get("reset_after", True) else 1
        text = f"{units} × ({inputs} + {units}{f' + {biases}' if biases else ''})"
        return Formula(
            f"{gates} × {text}" if gates > 1 else text,
            gates * units * (inputs + units + biases),
        )

    return found


def _dense(arguments: Mapping[str, Any], shape: Shape) -> Formula:
    inputs, units = _width(shape), int(arguments["units"])
    bias = bool(arguments.get("use_bias", True))
    found = Formula(f"({inputs} + 1) × {units}" if bias else f"{inputs} × {units}", (inputs + bias) * units)
    return _with_lora(found, arguments, inputs, units)


def _embedding(arguments: Mapping[str, Any], shape: Shape) -> Formula:
    ids, width = int(arguments["input_dim"]), int(arguments["output_dim"])
    return _with_lora(Formula(f"{ids} × {width}", ids * width), arguments, ids, width)


def _with_lora(found: Formula, arguments: Mapping[str, Any], inputs: int, outputs: int) -> Formula:
    """And the two matrices of low rank that are added to a kernel of shape (inputs, outputs)."""
    rank = int(arguments.get("lora_rank") or 0)
    return (
        found.plus(Formula(f"{rank} × ({inputs} + {outputs})", rank * (inputs + outputs))) if rank else found
    )


def _conv(dimensions: int) -> Callable[[Mapping[str, Any], Shape], Formula]:
    def found(arguments: Mapping[str, Any], shape: Shape) -> Formula:
        filters, size = int(arguments["filters"]), _kernel(arguments, dimensions)
        inputs = _channels(arguments, shape, dimensions) // int(arguments.get("groups") or 1)
        bias = bool(arguments.get("use_bias", True))
        text = f"{size} × {inputs}"
        of_kernel = Formula(
            f"({text} + 1) × {filters}" if bias else f"{text} × {filters}", (size * inputs + bias) * filters
        )
        return _with_lora(of_kernel, arguments, size * inputs, filters)

    return found


def _conv_lstm(dimensions: int) -> Callable[[Mapping[str, Any], Shape], Formula]:
    """Four gates, each with a kernel over the input, one over the state, and a bias."""

    def found(arguments: Mapping[str, Any], shape: Shape) -> Formula:
        filters, size = int(arguments["filters"]), _kernel(arguments, dimensions)
        inputs = _channels(arguments, shape, dimensions)
        bias = bool(arguments.get("use_bias", True))
        return Formula(
            f"4 × {filters} × ({size} × ({inputs} + {filters}){' + 1' if bias else ''})",
            4 * filters * (size * (inputs + filters) + bias),
        )

    return found


def _kernel(arguments: Mapping[str, Any], dimensions: int) -> int:
    """The cells of a kernel, whose size is a number or one for each dimension."""
    size = arguments["kernel_size"]
    return size**dimensions if isinstance(size, int) else math.prod(size)


def _normalization(
    vectors: Callable[[Mapping[str, Any]], int],
) -> Callable[[Mapping[str, Any], Shape], Formula | None]:
    """So many vectors of the width."""

    def found(arguments: Mapping[str, Any], shape: Shape) -> Formula | None:
        axis = arguments.get("axis", -1)
        if axis not in (-1, len(shape) - 1, [-1], [len(shape) - 1]):
            return None
        count = vectors(arguments)
        return Formula(f"{count} × {_width(shape)}", count * _width(shape)) if count else None

    return found


def _trained_vectors(arguments: Mapping[str, Any]) -> int:
    """One each for center and scale; with `rms_scaling` one whatever these say."""
    if arguments.get("rms_scaling"):
        return 1
    return sum(bool(arguments.get(name, True)) for name in ("center", "scale"))


def _batch_vectors(arguments: Mapping[str, Any]) -> int:
    """And moving averages, which are not trained: two, and with `renorm` (Ioffe 2017) three more."""
    return _trained_vectors(arguments) + (5 if arguments.get("renorm") else 2)


FORMULAS: dict[str, Callable[[Mapping[str, Any], Shape], Formula | None]] = {
    "LSTM": _gated(4),
    "GRU": _gated(3),
    "SimpleRNN": _gated(1),
    "Dense": _dense,
    "Embedding": _embedding,
    **{f"Conv{n}D": _conv(n) for n in (1, 2, 3)},
    **{f"ConvLSTM{n}D": _conv_lstm(n) for n in (1, 2, 3)},
    "LayerNormalization": _normalization(_trained_vectors),
    "BatchNormalization": _normalization(_batch_vectors),
}
