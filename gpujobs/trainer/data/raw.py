"""What a data file holds, as arrays, before it is cut, split and scaled."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpujobs.trainer.spec import Spec

CLASSES = ("classification", "multilabel", "labelling")


@dataclass(frozen=True, slots=True)
class Arrays:
    """The content of one file.

    `inputs`, `targets`: arrays by name, one row per sample, or, of a `series`, one row per time step.
    `lengths`: of the sequences, which are then concatenated in `inputs`, or padded to one length.
    `group`, `time`: of each row; the rows of one series stand together, in time order.
    """

    file: str
    inputs: dict[str, Any]
    targets: dict[str, Any]
    lengths: Any = None
    weight: Any = None
    group: Any = None
    time: Any = None
    features: tuple[str, ...] = ()
    x_columns: tuple[int, ...] | None = None
    """The columns of the only input that are features; None: all."""

    y_columns: tuple[int, ...] | None = None
    """The columns of the only input that are the target; None: the target is in `targets`."""

    target_names: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values()))) if self.lengths is None else len(self.lengths)


def place(spec: Spec, path: str) -> Path:
    return Path(spec.data[path]["path"])
