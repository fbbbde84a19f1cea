"""Labels as people write them, and the classes of a model: 0, 1, 2, ..."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpujobs.trainer.data.arrays import Integers
from gpujobs.trainer.failures import DataError

SHOWN = 20


@dataclass(frozen=True, slots=True)
class Classes:
    """`names[i]` is what class i is called, text or a number. `are_words`: the labels that were learned from were
    these words, not numbers of classes."""

    names: tuple[Any, ...]
    are_words: bool = False

    @property
    def are_text(self) -> bool:
        return any(isinstance(name, str) for name in self.names)

    def encode(
        self, place: str, labels: NDArray[Any], words: Sequence[str] | None, *, is_one_hot: bool
    ) -> NDArray[Any]:
        """The numbers of the classes, of the labels' shape. `words`: what the labels are called, where the file
        has text; otherwise they are numbers that are names here, or, where names are text, those of the classes (of
        learned words of which some are numbers, these words).
        Rows of zeros and ones, one for each class, stay what they are where they may be one-hot. Raises DataError for
        what is no class."""
        if labels.dtype.kind == "f" and np.isnan(labels).any():  # what is missing is dealt with elsewhere
            there, encoded = ~np.isnan(labels), np.full(labels.shape, np.nan, np.float32)
            encoded[there] = self.encode(place, labels[there], words, is_one_hot=False)
            return encoded
        if words is not None:
            return self._numbers(place, list(words))[labels.astype(np.int64, copy=False)]
        if is_one_hot and labels.shape[-1] == len(self.names) and is_binary(labels):
            return labels
        if self.are_text and self.are_words and any(map(_is_number, self.names)):
            return self._by_value(place, labels)
        if self.are_text:
            return require_numbers(place, labels, len(self.names), "data.classes has that many names")
        found, inverse = np.unique(labels, return_inverse=True)
        return self._numbers(place, found.tolist())[inverse].reshape(labels.shape)

    def _by_value(self, place: str, labels: NDArray[Any]) -> Integers:
        """However the words write the numbers."""
        values = {float(name): number for number, name in enumerate(self.names) if _is_number(name)}
        found, inverse = np.unique(labels, return_inverse=True)
        numbers = [
            values[float(one)] if float(one) in values else self.number(place, one) for one in found.tolist()
        ]
        return np.array(numbers, np.int64)[inverse].reshape(labels.shape)

    def number(self, place: str, name: Any) -> int:
        """Raises DataError for one that is no class, with the nearest that is."""
        known = [_key(one) for one in self.names]
        for key in (_key(name), *([] if self.are_text else _whole(name))):
            if key in known:
                return known.index(key)
        near = get_close_matches(_key(name), known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        some = ", ".join(known[:SHOWN]) + (", ..." if len(known) > SHOWN else "")
        raise DataError(
            f"{place}: holds the label {name!r}, which is no class{hint} (expected any of {some})"
        )

    def _numbers(self, place: str, found: list[Any]) -> Integers:
        return np.array([self.number(place, name) for name in found], np.int64)

    def decode(self, numbers: Integers) -> NDArray[Any]:
        """The names; what is no class, such as a label that a loss ignores, has none (of numbers: stays)."""
        names = np.asarray(self.names)
        known = (numbers >= 0) & (numbers < len(names))
        found = names[np.where(known, numbers, 0)]
        return found if np.all(known) else np.where(known, found, "" if self.are_text else numbers)


def _key(name: Any) -> str:
    """A class written as 1, 1.0 or "1" is one class."""
    return str(int(name)) if isinstance(name, float) and name.is_integer() else str(name)


def _is_number(name: Any) -> bool:
    """Whether a number of a file may be this name."""
    with suppress(ValueError, OverflowError):
        return bool(np.isfinite(float(name)))
    return False


def _whole(name: Any) -> Iterator[str]:
    """Of a number that a file of words has: as a whole one is written."""
    with suppress(ValueError, OverflowError):
        if isinstance(name, str) and float(name).is_integer():
            yield str(int(float(name)))


def find(given: Sequence[Any] | None, words: Sequence[str] | None) -> Classes | None:
    """Those given in the job file; for text the words of the training file in their order; None for numbers,
    which are the classes' numbers already."""
    if given is not None:
        return Classes(tuple(given), are_words=words is not None)
    return Classes(tuple(words), are_words=True) if words is not None else None


def numbered(place: str, labels: NDArray[Any], words: Sequence[str]) -> NDArray[Any]:
    """What `words` have for labels, of a file in which some are none, as the numbers that the training's labels are.
    Raises DataError where one is none."""
    wrong = [word for word in words if not _is_number(word)]
    if wrong:
        some = ", ".join(map(repr, wrong[:SHOWN])) + (", ..." if len(wrong) > SHOWN else "")
        raise DataError(f"{place}: holds {some}; expected numbers, as the labels of the training file are")
    values = np.array([float(word) for word in words])
    there = labels == labels  # NaN: missing
    found = np.full(labels.shape, np.nan)
    found[there] = values[labels[there].astype(np.int64)]
    return found.astype(np.int64) if there.all() and (found == found.astype(np.int64)).all() else found


def is_one_hot(y: NDArray[Any]) -> bool:
    """Rows of zeros with a single one."""
    return y.ndim >= 2 and y.shape[-1] > 1 and bool(is_binary(y) and (y.sum(axis=-1) == 1).all())


def is_binary(y: NDArray[Any]) -> bool:
    return y.dtype.kind in "fiub" and bool(((y == 0) | (y == 1)).all())


def are_signs(y: NDArray[Any]) -> bool:
    """-1 and 1, as hinge losses have them."""
    return y.dtype.kind in "fi" and bool(((y == -1) | (y == 1)).all()) and bool((y == -1).any())


def are_numbers(labels: NDArray[Any], count: int) -> bool:
    """Whether all are whole numbers from 0 to count - 1."""
    whole = labels.astype(np.int64)
    return bool((whole == labels).all() and whole.min() >= 0 and whole.max() < count)


def require_numbers(place: str, labels: NDArray[Any], count: int, why: str) -> Integers:
    """int64. Raises DataError where a label is not a whole number from 0 to count - 1."""
    whole = labels.astype(np.int64)
    if not are_numbers(labels, count):
        wrong = int(((whole != labels) | (whole < 0) | (whole >= count)).sum())
        raise DataError(
            f"{place}: holds labels {labels.min():g} to {labels.max():g}, of which {wrong} are no class; expected "
            f"integers from 0 to {count - 1}, as {why}"
        )
    return whole


def require_several(place: str, labels: NDArray[Any], known: Classes | None = None) -> None:
    """Raises DataError where the training part has one class only: there is nothing to tell apart."""
    if is_one_hot(labels):
        labels = labels.argmax(axis=-1)
    found = np.unique(labels)
    if not len(found):
        raise DataError(f"{place}: no label of the training part counts: every step is padding, or masked")
    if len(found) < 2:
        (only,) = found.tolist()
        called = only if known is None else known.names[int(only)]
        raise DataError(
            f"{place}: the training part has one class only, {called!r}; expected several: give more data, or "
            "another data.split"
        )


def one_hot(labels: NDArray[Any], units: int) -> NDArray[np.float32]:
    """float32, shape (*labels.shape, units)."""
    return np.eye(units, dtype=np.float32)[labels]
