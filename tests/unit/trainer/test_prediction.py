"""What predictions.npz says in the user's terms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpujobs.trainer.data import Preprocessing, Samples
from gpujobs.trainer.data.fitting.classes import Classes
from gpujobs.trainer.data.fitting.scaling import Scale
from gpujobs.trainer.decision import Decision, decision
from gpujobs.trainer.prediction import arrays

KIND = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]], np.float32)
LEVEL = np.array([[0.1, 0.8, 0.1], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]], np.float32)
SPARSE = "sparse_categorical_crossentropy"


def told(units: int) -> Decision:
    return decision("classification", SPARSE, "softmax", units)


@pytest.mark.parametrize("names", [("cat", "dog"), (-1, 1)])
def test_each_of_several_outputs_has_its_own_classes(names: tuple[Any, ...]) -> None:
    """Those of `kind` have names; those of `level` are the numbers that its file has."""
    learned = Preprocessing("several", classes={"kind": Classes(names)})
    truth = {"kind": np.array([0, 1, 0]), "level": np.array([1, 2, 2])}
    found = arrays(
        {"kind": KIND, "level": LEVEL},
        Samples({}, {}, 3),
        truth,
        learned,
        {"kind": told(2), "level": told(3)},
        None,
    )
    low, high = names
    assert found["y_class_kind"].tolist() == [low, high, high]
    assert found["y_true_kind"].tolist() == [low, high, low]
    assert found["classes_kind"].tolist() == [*names]
    assert found["y_class_level"].tolist() == [1, 2, 0]
    assert found["y_true_level"].tolist() == [1, 2, 2]
    assert "classes_level" not in found


def test_the_only_output_may_be_called_otherwise_than_its_target() -> None:
    learned = Preprocessing("classification", classes={"y": Classes(("cat", "dog"))})
    found = arrays(KIND, Samples({}, {}, 3), {}, learned, {"head": told(2)}, None)
    assert found["y_class"].tolist() == ["cat", "dog", "dog"]


def test_numbers_come_back_in_the_targets_units_each_in_its_own() -> None:
    scales = {
        name: Scale(np.array([center], np.float32), np.array([width], np.float32))
        for name, center, width in (("near", 10, 2), ("far", -5, 100))
    }
    outputs = {name: np.array([[0.0], [1.5]], np.float32) for name in scales}
    truth = {name: np.zeros((2, 1), np.float32) for name in scales}
    decisions: dict[str, Decision | None] = dict.fromkeys(outputs)
    found = arrays(outputs, Samples({}, {}, 2), truth, Preprocessing("several", y=scales), decisions, None)
    assert found["y_pred_near"].tolist() == [[10.0], [13.0]]
    assert found["y_pred_far"].tolist() == [[-5.0], [145.0]]
    assert found["y_pred"].tolist() == found["y_pred_near"].tolist()
