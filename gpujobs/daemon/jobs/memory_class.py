"""Jobs that need the same memory: the same model, batch, length, precision and backend."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from gpujobs.store.records import DataReference

KEYS = ("batch_size", "precision", "backend", "optimizer", "steps_per_execution")
"""Of `training`: what its memory depends on."""


def memory_class_of(resolved: Mapping[str, Any], data: Sequence[DataReference]) -> str | None:
    """A name for all jobs like this one; None for those that train nothing.

    Where windows are cut, they say how long a sample is; else the data does, so its hashes stand for its shape.
    """
    training = resolved.get("training")
    if training is None:
        return None
    window = resolved["data"].get("window")
    length = window if window else sorted(reference.sha256 for reference in data)
    what = {
        "model": resolved["model"],
        "training": {key: training.get(key) for key in KEYS},
        "length": length,
        "features": resolved["data"].get("features"),
    }
    text = json.dumps(what, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
