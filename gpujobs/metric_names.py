"""Whether more or less of a metric is better, as its name tells: for the trainer, and for ranking results."""

from __future__ import annotations

SMALLER = ("loss", "error", "mae", "mse", "mape", "msle", "crossentropy", "divergence", "hinge", "log_cosh")
LARGER = ("acc", "auc", "precision", "recall", "f1", "fbeta", "iou", "r2", "cosine", "positives", "negatives",
          "sensitivity", "specificity", "score")  # fmt: skip


def smaller_is_better(name: str) -> bool | None:
    """None where the name does not tell."""
    if any(word in name for word in SMALLER) or "false_" in name:
        return True
    return False if any(word in name for word in LARGER) else None
