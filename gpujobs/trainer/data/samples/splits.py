"""Which samples train, validate and test. Every split is a function of its seed and the samples alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpujobs.trainer.data.arrays import Integers, Times
from gpujobs.trainer.data.samples.windows import WindowIndex
from gpujobs.trainer.failures import DataError

PARTS = ("train", "validation", "test")
Numbers = dict[str, Integers]
"""The numbers of the samples of each part."""


def shares(count: int, validation: float, test: float) -> tuple[int, int]:
    """How many of `count` train, and how many train or validate."""
    return count - round(count * validation) - round(count * test), count - round(count * test)


def split(
    settings: Mapping[str, Any],
    count: int,
    *,
    labels: NDArray[Any] | None,
    groups: Integers | None,
    times: Times | None,
) -> Numbers:
    """`labels`, `groups` and `times` have a value for each sample, or are None where the method needs none."""
    method, seed = settings["method"], int(settings["seed"])
    validation, test = float(settings["validation"]), float(settings["test"])
    random = np.random.default_rng(seed)
    if method == "group":
        assert groups is not None
        return _by_group(groups, validation, test, random)
    if method == "stratified":
        assert labels is not None
        return _stratified(labels, validation, test, random)
    order: Integers = np.arange(count, dtype=np.int32 if count < 1 << 31 else np.int64)
    if method == "random":
        random.shuffle(order)
    elif times is not None:
        order = order[np.argsort(times, kind="stable")]
    a, b = shares(count, validation, test)
    return _parts(order[:a], order[a:b], order[b:])


def _parts(train: Integers, validation: Integers, test: Integers) -> Numbers:
    """In the data's order, sorted in place: the training's own shuffling is another matter."""
    for part in (train, validation, test):
        part.sort()
    return dict(zip(PARTS, (train, validation, test), strict=True))


def _by_group(groups: Integers, validation: float, test: float, random: np.random.Generator) -> Numbers:
    names, codes = np.unique(groups, return_inverse=True)
    order = random.permutation(len(names))
    a, b = shares(len(names), validation, test)
    chosen = (order[:a], order[a:b], order[b:])
    return _parts(*(np.flatnonzero(np.isin(codes, part)) for part in chosen))


def _stratified(labels: NDArray[Any], validation: float, test: float, random: np.random.Generator) -> Numbers:
    """Each class is split by itself."""
    parts: list[list[Any]] = [[], [], []]
    for label in np.unique(labels):
        order = random.permutation(np.flatnonzero(labels == label))
        a, b = shares(len(order), validation, test)
        for part, chosen in zip(parts, (order[:a], order[a:b], order[b:]), strict=True):
            part.append(chosen)
    return _parts(*(np.concatenate(part) for part in parts))


def require_some(file: str, parts: Mapping[str, int], settings: Mapping[str, Any]) -> None:
    """Raises DataError for a part that is asked for and empty. `parts`: the number of samples of each."""
    total = sum(parts.values())
    for name in PARTS:
        if parts[name] == 0 and (name == "train" or settings[name] > 0):
            share = "" if name == "train" else f" ({settings[name]:g} of {total} samples)"
            raise DataError(
                f"{file}: the {name} part is empty{share}; expected at least one sample: give more data, or another "
                "data.split"
            )


def windows(segments: Integers, length: int, reach: int, stride: int) -> WindowIndex:
    """All windows within segments, an array of (first row, end) rows. A window's target ends `reach` rows
    after its start."""
    first, end = segments[:, 0], segments[:, 1]
    counts = np.maximum(0, (end - first - max(length, reach)) // stride + 1)
    return WindowIndex(first[counts > 0], counts[counts > 0], end[counts > 0], stride)


def chronological_spans(
    series: Integers,
    segments: Integers,
    reaches_back: int,
    settings: Mapping[str, Any],
    seen: Integers | None = None,
) -> dict[str, Integers]:
    """The (first, end) rows of each part, in each segment: the first rows of a series train, the next validate,
    the last test. `segments` lie within `series`.

    A window belongs to the part that has all rows of its target, `reaches_back` rows after its start. Its
    inputs may reach back into the part before, as they will when the model is used; its target may not.

    `seen`: of each series, the row that has the first value of some feature, with which the rows before it were filled:
    where it is in a later part, a part has no rows of the series.
    """
    of = np.searchsorted(series[:, 0], segments[:, 0], side="right") - 1
    begin, end = series[of].T
    a, b = np.array([shares(int(n), settings["validation"], settings["test"]) for n in end - begin]).T + begin
    borders = {"train": (begin, a), "validation": (a - reaches_back, b), "test": (b - reaches_back, end)}
    if seen is not None:
        borders = {
            name: (low, np.where(seen[of] >= high, begin, high)) for name, (low, high) in borders.items()
        }
    return {
        name: np.stack([np.maximum(segments[:, 0], low), np.minimum(segments[:, 1], high)], axis=1)
        for name, (low, high) in borders.items()
    }


def some(spans: Integers) -> Integers:
    """Those of the (first, end) rows that are not empty."""
    return spans[spans[:, 1] > spans[:, 0]]
