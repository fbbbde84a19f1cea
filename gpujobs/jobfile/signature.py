"""Which jobs may share a built and traced model: all that the graph may depend on, as one hash.

What changes values only is named here; whatever is not, a new key too, counts as part of the graph.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from gpujobs.jobfile.consistency import is_stateful

VALUES: tuple[str, ...] = (
    "name",
    "data.train",
    "data.validation",
    "data.test",
    "data.split",
    "data.scaling",
    "data.missing",
    "data.season",
    "predict",
    "resources",
    "retries",
    "priority",
    "preemptible",
    "share",
    "notify",
    "training.epochs",
    "training.seed",
    "training.shuffle",
    "training.validation_split",
    "training.class_weight",
    "training.early_stopping",
    "training.reduce_lr_on_plateau",
    "training.best_weights",
)
"""Keys that change values and no graph, each with all that is below it. What they change of the shapes of batches,
or of whether samples have weights, the trainer finds in the data, and builds anew."""

LEARNING_RATE = "learning_rate"


def signature(resolved: Mapping[str, Any]) -> str:
    """Of a resolved job file, 64 hexadecimal digits. Jobs of one signature are built and traced alike where their
    data have the same shapes. The order of keys is part of it: the last branch may be the output, and weights are drawn
    and layers named as they come."""
    text = json.dumps(graph_of(resolved), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def graph_of(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """What of a job file the graph may depend on."""
    found = _without(resolved, [tuple(key.split(".")) for key in VALUES])
    training = found.get("training")
    if training is None:
        return found
    training["optimizer"] = _without_rate(training["optimizer"])
    if not is_stateful(resolved):  # whose states have a row for each of the batch
        training.pop("batch_size", None)
    return found


def _without(tree: Mapping[str, Any], paths: list[tuple[str, ...]]) -> dict[str, Any]:
    found = {}
    for key, value in tree.items():
        below = [path[1:] for path in paths if path[0] == key]
        if () in below:
            continue
        found[key] = _without(value, below) if isinstance(value, Mapping) and below else value
    return found


def _without_rate(optimizer: Any) -> Any:
    """A rate that is a number is a variable's value; a schedule is part of the graph."""
    if not isinstance(optimizer, Mapping):
        return optimizer
    ((kind, arguments),) = optimizer.items()
    given = dict(arguments or {})
    if isinstance(given.get(LEARNING_RATE), (int, float)):
        given[LEARNING_RATE] = "a number"
    return {kind: given}
