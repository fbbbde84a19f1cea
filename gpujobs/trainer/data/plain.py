"""Arrays that are samples already: one row each, of any shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpujobs.trainer.data import missing, splits
from gpujobs.trainer.data.raw import Arrays
from gpujobs.trainer.data.rows import ArrayRows
from gpujobs.trainer.data.samples import CHUNK, Samples


@dataclass(frozen=True, slots=True)
class Plain:
    """`samples` before scaling, with their values as the file has them."""

    raw: Arrays
    samples: Samples

    def split(self, settings: Mapping[str, Any], labels: Any) -> dict[str, Plain]:
        of = {"groups": _chosen(self.raw.group, self), "times": _chosen(self.raw.time, self)}
        parts = splits.split(settings, len(self.samples), labels=labels, **of)
        return {name: replace(self, samples=self.samples.only(numbers)) for name, numbers in parts.items()}

    def first(self, count: int) -> tuple[Plain, Plain]:
        """The first `count` samples, and the rest."""
        everything = np.arange(len(self.samples))
        one, two = self.samples.only(everything[:count]), self.samples.only(everything[count:])
        return replace(self, samples=one), replace(self, samples=two)

    def x_pieces(self, name: str) -> Callable[[], Iterable[Any]]:
        return self._pieces(self.samples.inputs[name])

    def y_pieces(self, name: str) -> Callable[[], Iterable[Any]]:
        return self._pieces(self.samples.targets[name])

    def _pieces(self, rows: Any) -> Callable[[], Iterable[Any]]:
        def pieces() -> Iterable[Any]:
            for begin in range(0, len(self.samples), CHUNK):
                positions = np.arange(begin, min(begin + CHUNK, len(self.samples)))
                taken = rows.take(self.samples.at(positions))
                yield taken.reshape(-1, taken.shape[-1] if taken.ndim > 1 else 1)

        return pieces


def _chosen(values: Any, plain: Plain) -> Any:
    return None if values is None else values[plain.samples.at(np.arange(len(plain.samples)))]


def assemble(raw: Arrays, handling: str, tokens: frozenset[str]) -> Plain:
    """`tokens`: the inputs that are ids, which stay integers. Raises DataError for values that are missing."""
    inputs = dict(raw.inputs)
    keep: Any = np.ones(len(raw), bool)
    for name, x in inputs.items():
        place = f"{raw.file}: array {name}"
        if handling == "error":
            missing.refuse(place, x)
            continue
        missing.refuse_infinite(place, x)
        wrong = missing.rows_with(x)
        if handling == "drop":
            keep &= ~wrong
        elif wrong.any():
            inputs[name] = _filled(x, wrong)
    for name, y in raw.targets.items():
        wrong = missing.rows_with(y)
        if handling != "drop":
            missing.refuse(f"{raw.file}: array {name}", y)
        keep &= ~wrong
    if not keep.all():
        print(
            f"{raw.file}: {int((~keep).sum())} of {len(keep)} samples have missing values and are left out."
        )
    targets = {name: ArrayRows(y, y.dtype) for name, y in raw.targets.items()}
    dtypes = {name: np.int32 if name in tokens else np.float32 for name in inputs}
    samples = Samples(
        {name: ArrayRows(x, dtypes[name]) for name, x in inputs.items()},
        targets,
        len(raw),
        None if keep.all() else np.flatnonzero(keep),
        None if raw.weight is None else ArrayRows(raw.weight, np.float32),
        {key: ArrayRows(one, one.dtype) for key, one in (("time", raw.time), ("group", raw.group)) if one is not None},
        None if raw.group is None else ArrayRows(raw.group, raw.group.dtype),
    )  # fmt: skip
    return Plain(raw, samples)


def _filled(x: Any, wrong: Any) -> Any:
    filled = np.array(x)
    for sample in np.flatnonzero(wrong):
        missing.fill_forward(filled[sample].reshape(len(filled[sample]), -1))
    return filled
