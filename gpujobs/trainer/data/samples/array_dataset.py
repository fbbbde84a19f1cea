"""What samples that lie in arrays one after the other share: parting them, and reading them in pieces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gpujobs.trainer.data.arrays import Integers
from gpujobs.trainer.data.notices import Account
from gpujobs.trainer.data.reading.loaded import LoadedData
from gpujobs.trainer.data.samples import splits
from gpujobs.trainer.data.samples.samples import Samples


@dataclass(frozen=True, slots=True)
class ArrayDataset(ABC):
    """`samples` before scaling, with their values as the file has them."""

    raw: LoadedData
    samples: Samples
    account: Account

    def split(self, settings: Mapping[str, Any], labels: Integers | None) -> dict[str, Self]:
        chosen = self.samples.at(np.arange(len(self.samples)))
        groups = None if self.raw.group is None else self.of_samples(self.raw.group.codes)[chosen]
        times = None if self.raw.time is None else self.of_samples(self.raw.time)[chosen]
        parts = splits.split(settings, len(self.samples), labels=labels, groups=groups, times=times)
        return {name: replace(self, samples=self.samples.only(numbers)) for name, numbers in parts.items()}

    def first(self, count: int) -> tuple[Self, Self]:
        """The first `count` samples, and the rest."""
        everything = np.arange(len(self.samples))
        one, two = self.samples.only(everything[:count]), self.samples.only(everything[count:])
        return replace(self, samples=one), replace(self, samples=two)

    def x_pieces(self, name: str) -> Callable[[], Iterable[NDArray[Any]]]:
        return self.read_in_pieces(self.samples.inputs[name])

    def y_pieces(self, name: str) -> Callable[[], Iterable[NDArray[Any]]]:
        return self.read_in_pieces(self.samples.targets[name])

    @abstractmethod
    def of_samples(self, values: Any) -> Any:
        """One value for each sample of the file, where there may be one for each step."""

    @abstractmethod
    def read_in_pieces(self, rows: Any) -> Callable[[], Iterable[NDArray[Any]]]:
        """The values of an array, shape (values, features), from the beginning each time it is called."""
