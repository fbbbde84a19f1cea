"""The memory that a training needs on its device, estimated from its layers (docs/check.md, Memory).

The coefficients are numbers of tensors that TensorFlow keeps for the backward pass, counted with its own allocator
(`scripts/bench memory` measures again), of the general loop over time steps, which is what runs where cuDNN does not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpujobs.trainer.checking.chain import RECURRENT, LayerInfo
from gpujobs.trainer.counting import Inner, Shape

FLOAT_BYTES = 4
PARALLEL_STEPS = 32
"""`parallel_iterations` of a TensorFlow loop: as many steps' gradients of the weights may wait to be added up."""

OTHER_BYTES = 14_000
"""Metrics, counters and constants: 12 to 26 kB in the sample jobs."""

GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}
STATES = {"LSTM": 7.0, "GRU": 6.0, "SimpleRNN": 1.0}
"""Tensors of a step, each (batch, units), that the backward pass needs: of an LSTM the four gates, the cell state
before, its tanh, and the output."""

STACKED = 0.5
"""Of such a tensor more: the outputs of all steps are stacked, and in some runs still there when their gradient is."""

RESET_BEFORE = 1.5
"""More of them in a GRU without `reset_after`."""

RECURRENT_DROPOUT = {"LSTM": 6.0, "GRU": 4.6, "SimpleRNN": 1.0}
"""More of them with recurrent dropout, which masks the output of each gate's step."""

SPLIT_GRADIENTS = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}
"""With recurrent dropout each gate multiplies by its own part of the kernel: as many gradients, each of the whole."""

KEPT_OUTPUTS = {"BatchNormalization": 2.0, "LayerNormalization": 3.0, "GroupNormalization": 3.0,
                "RMSNormalization": 2.0, "Embedding": 2.0}  # fmt: skip
"""Tensors of the output's size that a layer keeps; others keep one, if any."""

VIEWS = ("Flatten", "Reshape", "Identity", "RepeatVector")
DROPOUTS = ("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout",
            "GaussianDropout", "GaussianNoise")  # fmt: skip
INDIFFERENT = (*VIEWS, *DROPOUTS, "Activation", "ReLU", "Softmax", "Add", "Average", "Concatenate")
"""Layers whose backward pass does not look at their input."""


@dataclass(frozen=True, slots=True)
class Load:
    """Of one layer, in bytes. `kept`: for the backward pass. `passing`: a gradient of its output, while it is in use.
    `per_step`: what each step of its loop leaves to be added up; `steps`: how many there are."""

    kept: float
    passing: float = 0.0
    per_step: float = 0.0
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Parts:
    """In bytes, at the moment of the peak."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    step_gradients: int
    batch: int
    other: int = OTHER_BYTES

    @property
    def total(self) -> int:
        return sum(getattr(self, name) for name in self.__dataclass_fields__)


def estimate(
    links: Sequence[LayerInfo], *, slots: int, batch_size: int, timesteps: int, batch_bytes: int, half: bool
) -> Parts:
    """Of the worst run: in which order TensorFlow runs the operations of a loop differs from step to step.

    `slots`: see `optimizers`. `timesteps`: of sequences of different length, the longest. `half`: computed in 16 bits.
    """
    item = FLOAT_BYTES / 2 if half else FLOAT_BYTES
    loads = [load(link, batch_size, timesteps, item) for link in links]
    kept, piled = peak(loads)
    weights = FLOAT_BYTES * sum(link.parameters for link in links)
    trained = FLOAT_BYTES * sum(link.trainable for link in links)
    return Parts(
        weights=weights + (weights // 2 if half else 0),
        gradients=trained,
        optimizer=trained * slots,
        activations=round(kept),
        step_gradients=round(piled),
        batch=batch_bytes,
    )


def peak(loads: Sequence[Load]) -> tuple[float, float]:
    """(activations, gradients of steps) where their sum is largest: when the backward pass begins, or within the
    loop of some layer, where steps give their activations back and leave gradients instead."""
    passing = max((one.passing for one in loads), default=0.0)
    best = (sum(one.kept for one in loads) + passing, 0.0)
    before = 0.0
    for one in loads:
        waiting = min(one.steps, PARALLEL_STEPS)
        if waiting:
            left = before + one.kept * (one.steps - waiting) / one.steps
            best = max(best, (left, one.per_step * waiting), key=sum)
        before += one.kept
    return best


def load(link: LayerInfo, batch_size: int, timesteps: int, item: float) -> Load:
    """`item`: bytes of a value."""
    size, output = batch_size * item, _count(link.output_shape, timesteps)
    if link.is_recurrent:
        return _recurrent(link, size, timesteps, item)
    kind, arguments = link.inner
    passing = size * output
    if kind in DROPOUTS:  # the mask is a byte for each value
        return Load(size * output * _is_read(link) + batch_size * output, passing)
    if kind in VIEWS:
        return Load(0.0)
    keeps_own = arguments.get("activation", "linear") not in ("linear", None)
    kept = KEPT_OUTPUTS.get(kind, float(keeps_own or _is_read(link)))
    return Load(kept * size * output, passing)


def _is_read(link: LayerInfo) -> bool:
    """Whether a layer after it needs its output for its own backward pass, or it is compared with the target."""
    return not link.feeds or any(kind not in INDIFFERENT for kind in link.feeds)


def _recurrent(link: LayerInfo, size: float, timesteps: int, item: float) -> Load:
    """Bidirectional layers have two loops at once."""
    loops = [_loop(link, one, size, timesteps, item) for one in link.directions]
    return Load(
        kept=sum(one.kept for one in loops),
        per_step=sum(one.per_step for one in loops),
        steps=max(one.steps for one in loops),
    )


def _loop(link: LayerInfo, direction: Inner, size: float, timesteps: int, item: float) -> Load:
    kind, arguments = direction
    base = kind if kind in GATES else "LSTM"  # a ConvLSTM has the gates of one, at each place
    steps = int(link.input_shape[0] or timesteps)
    inputs = _count(link.input_shape[1:], timesteps)
    units = _units(kind, arguments, link.output_shape)
    drops, drops_recurrent = bool(arguments.get("dropout")), bool(arguments.get("recurrent_dropout"))
    states = STATES[base] + STACKED
    if kind == "GRU" and not arguments.get("reset_after", True):
        states += RESET_BEFORE
    if drops_recurrent:
        states += RECURRENT_DROPOUT[base]
    per_step = units * (states + 0.5 * link.is_masked)
    if not any(source in RECURRENT for source in link.fed_by):  # else it takes the steps as they are
        per_step += inputs
    if drops:
        per_step += inputs * (3 if drops_recurrent else 1)
    if arguments.get("return_sequences") and not any(reader in RECURRENT for reader in link.feeds):
        per_step += 2 * units
    weights = link.trainable * item / len(link.directions)
    # In 16 bits each step makes its own copy of the kernels, and keeps it.
    casts = weights if item < FLOAT_BYTES else 0.0
    waiting = (
        weights * (SPLIT_GRADIENTS[base] if drops_recurrent else 1) + size * units * GATES.get(kind, 4) / 2
    )
    return Load(
        kept=(size * per_step + casts) * steps,
        per_step=0.0 if arguments.get("unroll") else waiting,
        steps=0 if arguments.get("unroll") else steps,
    )


def _units(kind: str, arguments: Mapping[str, Any], output: Shape) -> int:
    """Values of a state."""
    if kind in GATES:
        return int(arguments["units"])
    places = output[1:-1] if arguments.get("return_sequences") else output[:-1]
    return int(arguments["filters"]) * math.prod(int(one or 1) for one in places)


def _count(shape: Shape, timesteps: int) -> int:
    return math.prod(timesteps if one is None else one for one in shape)
