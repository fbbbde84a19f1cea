"""Whether more or less of a metric is better, as its name tells: for the trainer, and for ranking results."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

SMALLER = ("loss", "error", "mae", "mse", "mape", "msle", "crossentropy", "bce", "divergence", "hinge", "log_cosh",
           "logcosh", "poisson")  # fmt: skip
LARGER = ("acc", "accuracy", "auc", "precision", "recall", "f1", "fbeta", "iou", "io_u", "r2", "cosine", "similarity",
          "correlation", "positives", "negatives", "sensitivity", "specificity", "score")  # fmt: skip

Kinds = Mapping[str, str]
"""Keras's classes of metrics by the names that a job file gives them."""

NONE: Kinds = MappingProxyType({})


def smaller_is_better(name: str, kinds: Kinds = NONE) -> bool | None:
    """None where the name does not tell. `MeanSquaredError`, as a file may write it, tells as its snake case does.

    Of several words the last one tells: `error_accuracy` is the accuracy of an output that is called error, and
    `accuracy_loss` a loss.
    """
    name = snake_case(_kind(name, kinds))
    places = [(name.rfind(word) + len(word), len(word), word) for word in (*SMALLER, *LARGER) if word in name]
    if not places:
        return None
    end, length, word = max(places)
    return word in SMALLER or name[: end - length].endswith("false_")


def _kind(name: str, kinds: Kinds) -> str:
    """The class of a metric that the job file has named, in a column of the history, where an output's name and that of
    the part may stand before it and a class's number behind; else the name itself."""
    bare = re.sub(r"_\d+$", "", name)
    known = [own for own in kinds if any(one == own or one.endswith(f"_{own}") for one in (name, bare))]
    return kinds[max(known, key=len)] if known else name


def kinds_of(metrics: Sequence[Any]) -> Kinds:
    """`metrics`: those of a job file's training."""
    entries = (next(iter(entry.items())) for entry in metrics if isinstance(entry, Mapping) and entry)
    named = ((kind, (arguments or {}).get("name")) for kind, arguments in entries)
    return {str(name): str(kind) for kind, name in named if name}


def direction(settings: Mapping[str, Any], training: Mapping[str, Any]) -> str | None:
    """min or max, of what `settings` (early_stopping and its like) watch; None where neither they nor the name tell."""
    if (mode := settings.get("mode", "auto")) != "auto":
        return str(mode)
    told = smaller_is_better(settings["monitor"], kinds_of(training.get("metrics") or ()))
    return None if told is None else "min" if told else "max"


@lru_cache(maxsize=1024)
def snake_case(name: str) -> str:
    """As Keras names an object of a class."""
    first = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", first).lower()
