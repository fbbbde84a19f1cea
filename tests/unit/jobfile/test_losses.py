"""Which losses are for classes."""

from __future__ import annotations

import json
from importlib import resources

import pytest

from gpujobs.jobfile import losses
from gpujobs.jobfile.consistency import implied_task

OF_NUMBERS = [
    *("CosineSimilarity", "Huber", "KLDivergence", "LogCosh", "Poisson"),
    *("MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredError", "MeanSquaredLogarithmicError"),
]


def named() -> list[str]:
    """The classes of Keras's losses."""
    catalogue = json.loads((resources.files("gpujobs.jobfile") / "catalogue.json").read_text())
    return sorted(name for name in catalogue["losses"]["classes"] if name != "CTC")


@pytest.mark.parametrize("name", named())
def test_a_loss_is_for_classes_or_for_numbers(name: str) -> None:
    job = {"model": {"layers": []}, "data": {}, "training": {"loss": {name: {}}}}
    assert losses.is_for_classes(name) is (name not in OF_NUMBERS)
    assert implied_task(job) == ("regression" if name in OF_NUMBERS else "classification")


@pytest.mark.parametrize("name", ["dice", "tversky", "bce", "categorical_crossentropy", "squared_hinge"])
def test_short_names_are_those_of_their_classes(name: str) -> None:
    assert losses.is_for_classes(name)
