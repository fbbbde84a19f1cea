"""What a loss is, whichever way a job file names it: a name, or {Name: {arguments}}."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

ALIASES = {"bce": "binary_crossentropy", "ctc": "ctc"}
FOR_CLASSES = ("crossentropy", "hinge", "dice", "tversky", "circle")
FROM_LOGITS = "from_logits"


def kind(loss: Any) -> str:
    """Keras's name of it in snake case; `bce` is `binary_crossentropy`."""
    return _kind(loss if isinstance(loss, str) else next(iter(loss)))


@lru_cache(256)
def _kind(name: str) -> str:
    """Kept, since each look at a job asks several times."""
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_").replace("__", "_")
    return ALIASES.get(name.lower(), snake)


def arguments(loss: Any) -> Mapping[str, Any]:
    return {} if isinstance(loss, str) else next(iter(loss.values())) or {}


def is_for_classes(loss: Any) -> bool:
    return _is_for_classes(kind(loss))


@lru_cache(256)
def _is_for_classes(kind: str) -> bool:
    return any(word in kind for word in FOR_CLASSES)


def is_hinge(loss: Any) -> bool:
    """The loss of labels -1 and 1."""
    return kind(loss) in ("hinge", "squared_hinge")


def ignored(loss: Any) -> int | None:
    """The label of what has none (`ignore_class`), which counts nowhere."""
    found = arguments(loss).get("ignore_class")
    return None if found is None else int(found)


def of_output(job: Mapping[str, Any], output: str) -> Any:
    """The loss of one of the outputs, or of the only one, which need not be called so."""
    loss = job["training"]["loss"]
    is_by_output = isinstance(loss, dict) and output in loss and _has_several(job)
    return loss[output] if is_by_output else loss


def _has_several(job: Mapping[str, Any]) -> bool:
    return len(job["model"].get("outputs") or ()) > 1
