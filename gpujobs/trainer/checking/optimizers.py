"""How many values an optimizer keeps for each weight (its slots), as Keras's `build` of each makes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

SLOTS = {
    "SGD": 0,
    "RMSprop": 1,
    "Adam": 2,
    "AdamW": 2,
    "Adamax": 2,
    "Nadam": 2,
    "Adagrad": 1,
    "Adadelta": 2,
    "Adafactor": 1,
    "Ftrl": 2,
    "Lion": 1,
    "Muon": 2,
    "ScheduleFreeAdamW": 2,
}
"""Without the options below. Adafactor has two vectors more for a matrix; Muon needs one slot for a matrix."""

OPTIONS = {
    "momentum": ("SGD", "RMSprop"),
    "centered": ("RMSprop",),
    "amsgrad": ("Adam", "AdamW"),
}
"""Arguments that each add a slot, to these."""


def slots(kind: str, arguments: Mapping[str, Any]) -> int:
    """`arguments`: all of the optimizer's, as `get_config` has them. Of an optimizer that is not known here, 2."""
    count = SLOTS.get(kind, 2)
    count += sum(bool(arguments.get(name)) for name, kinds in OPTIONS.items() if kind in kinds)
    count += bool(arguments.get("use_ema"))
    return count + bool(arguments.get("gradient_accumulation_steps"))


def slots_of(optimizer: keras.Optimizer) -> int:
    """Of a Keras optimizer, or of the one that a LossScaleOptimizer wraps."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return slots(type(optimizer).__name__, optimizer.get_config())
