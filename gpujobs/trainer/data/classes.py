"""Labels as people write them, and the classes of a model: 0, 1, 2, ..."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from gpujobs.trainer.failures import DataError


@dataclass(frozen=True, slots=True)
class Classes:
    """`names[i]` is what class i is called, text or a number."""

    names: tuple[Any, ...]

    def encode(self, place: str, labels: Any) -> Any:
        """int64 of the labels' shape; one-hot and multi-label rows, and numbers of named classes, are what they
        are. Raises DataError for one that is no class."""
        if labels.ndim > 1 and labels.shape[-1] == len(self.names) and not is_text(labels):
            return labels
        if not is_text(labels) and all(isinstance(name, str) for name in self.names):
            return require_numbers(place, labels, len(self.names))
        table = {_key(name): number for number, name in enumerate(self.names)}
        unique, inverse = np.unique(labels, return_inverse=True)
        unknown = [label for label in unique.tolist() if _key(label) not in table]
        if unknown:
            near = get_close_matches(str(unknown[0]), [str(name) for name in self.names], n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            some = ", ".join(map(str, self.names[:20]))
            raise DataError(
                f"{place}: holds the label {unknown[0]!r}, which is no class{hint} (classes: {some})"
            )
        return np.array([table[_key(label)] for label in unique.tolist()])[inverse].reshape(labels.shape)

    def decode(self, numbers: Any) -> Any:
        return np.asarray(self.names)[numbers]


def _key(name: Any) -> str:
    """A class written as 1, 1.0 or "1" is one class."""
    return str(int(name)) if isinstance(name, float) and name.is_integer() else str(name)


def is_text(labels: Any) -> bool:
    return labels.dtype.kind in "USO"


def find(labels: Any, given: Sequence[Any] | None) -> Classes | None:
    """Those given in the job file; for text the words of the training part in their order; None for numbers,
    which are the classes' numbers already."""
    if given is not None:
        return Classes(tuple(given))
    return Classes(tuple(np.unique(labels).tolist())) if is_text(labels) else None


def is_one_hot(y: Any) -> bool:
    """Rows of zeros with a single one."""
    return y.ndim >= 2 and y.shape[-1] > 1 and bool(is_binary(y) and (y.sum(axis=-1) == 1).all())


def is_binary(y: Any) -> bool:
    return y.dtype.kind in "fiub" and bool(((y == 0) | (y == 1)).all())


def require_numbers(place: str, labels: Any, units: int) -> Any:
    """int64. Raises DataError where a label is not a whole number from 0 to units - 1."""
    whole = labels.astype(np.int64)
    if (whole != labels).any() or whole.min() < 0 or whole.max() >= max(units, 2):
        raise DataError(
            f"{place}: holds labels {labels.min()} to {labels.max()}; expected integers from 0 to "
            f"{max(units, 2) - 1}, as the last layer has {units} unit{'s' if units > 1 else ''}; data.classes "
            "can name them"
        )
    return whole


def require_several(place: str, labels: Any) -> None:
    """Raises DataError where the training part has one class only: there is nothing to tell apart."""
    found = np.unique(labels)
    if len(found) < 2:
        raise DataError(
            f"{place}: the training part has one class only, {found.tolist()[0]!r}; expected several"
        )


def one_hot(labels: Any, units: int) -> Any:
    """float32, shape (*labels.shape, units)."""
    return np.eye(units, dtype=np.float32)[labels]
