"""What was learned from the training part, and is stored with the model: scales and classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gpujobs.trainer.data.fitting import scaling
from gpujobs.trainer.data.fitting.classes import Classes
from gpujobs.trainer.data.fitting.scaling import Scale
from gpujobs.trainer.data.reading.loaded import NumberFormat

FILE = "preprocessing.json"


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """`x`, `y`: scales by input and by output. `classes`: by output, where labels were not numbers already.
    `shapes`: of a sample of each input; None: any length."""

    task: str
    x: Mapping[str, Scale] = field(default_factory=dict)
    y: Mapping[str, Scale] = field(default_factory=dict)
    classes: Mapping[str, Classes] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    truths: tuple[str, ...] = ()
    """The features that are yes and no."""

    target_names: tuple[str, ...] = ()
    shapes: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    step: str | None = None
    """Of the rows of a series, by its name, where they have one."""

    number_format: NumberFormat | None = None
    """Of the csv files of a table."""

    date_order: str | None = None
    """Of days and months in the times of the csv files of a table, where they show one, such as %d/%m."""

    def to_json(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "x": {name: scale.to_json() for name, scale in self.x.items()},
            "y": {name: scale.to_json() for name, scale in self.y.items()},
            "classes": {name: list(one.names) for name, one in self.classes.items()},
            "words": [name for name, one in self.classes.items() if one.are_words],
            "features": list(self.features),
            "truths": list(self.truths),
            "target": list(self.target_names),
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "step": self.step,
            "number_format": None if self.number_format is None else asdict(self.number_format),
            "date_order": self.date_order,
        }


def from_json(value: Mapping[str, Any]) -> Preprocessing:
    return Preprocessing(
        value["task"],
        {name: scaling.from_json(scale) for name, scale in value["x"].items()},
        {name: scaling.from_json(scale) for name, scale in value["y"].items()},
        {
            name: Classes(tuple(names), are_words=name in value.get("words", ()))
            for name, names in value["classes"].items()
        },
        tuple(value["features"]),
        tuple(value.get("truths", ())),
        tuple(value["target"]),
        {name: tuple(shape) for name, shape in value["shapes"].items()},
        value.get("step"),
        NumberFormat(**value["number_format"]) if value.get("number_format") else None,
        value.get("date_order"),
    )
