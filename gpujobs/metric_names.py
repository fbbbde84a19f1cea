"""Whether more or less of a metric is better, as its name tells: for the trainer, and for ranking results."""

from __future__ import annotations

import re
from functools import lru_cache

SMALLER = ("loss", "error", "mae", "mse", "mape", "msle", "crossentropy", "divergence", "hinge", "log_cosh")
LARGER = ("acc", "auc", "precision", "recall", "f1", "fbeta", "iou", "r2", "cosine", "positives", "negatives",
          "sensitivity", "specificity", "score")  # fmt: skip


def smaller_is_better(name: str) -> bool | None:
    """None where the name does not tell. `MeanSquaredError`, as a file may write it, tells as its snake case does."""
    name = snake_case(name)
    if any(word in name for word in SMALLER) or "false_" in name:
        return True
    return False if any(word in name for word in LARGER) else None


@lru_cache(maxsize=1024)
def snake_case(name: str) -> str:
    """As Keras names an object of a class."""
    first = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", first).lower()
