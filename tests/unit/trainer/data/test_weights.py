"""class_weight and sample_weight as the weights of samples and steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpujobs.trainer.data.fitting.classes import Classes
from gpujobs.trainer.data.fitting.targets import Output
from gpujobs.trainer.data.fitting.weights import class_weights
from gpujobs.trainer.data.samples.rows import ArrayRows, ThereRows
from gpujobs.trainer.data.samples.samples import UNCOUNTED, Samples
from gpujobs.trainer.failures import DataError

from .making import alone, csv, prepared

LABELS = np.array([0, 0, 0, 1, 2, 2])


def samples(y: Any, weight: Any = None) -> Samples:
    return Samples({"x": ArrayRows(y, y.dtype)}, {"y": ArrayRows(y, y.dtype)}, len(y), None, weight)


def found(
    weights: Any, y: Any, units: int, known: Classes | None = None, weight: Any = None, counted: Any = None
) -> Any:
    has_units = y.dtype.kind == "f"
    loss = "categorical_crossentropy" if has_units else "sparse_categorical_crossentropy"
    output = Output("classification", (None, *y.shape[1 : -1 if has_units else None], units), loss)
    given = replace(samples(y, weight), counted=counted or {})
    weighted = class_weights(weights, given, output, known)
    assert weighted.weight is not None
    return weighted.batch(np.arange(len(y)))[2]


@pytest.mark.parametrize("y", [LABELS, np.eye(3, dtype=np.float32)[LABELS]], ids=["labels", "one-hot"])
def test_balanced_gives_each_class_the_same_sum(y: Any) -> None:
    """n / (classes * count): scikit-learn's compute_class_weight."""
    assert found("balanced", y, 3).tolist() == pytest.approx([2 / 3] * 3 + [2] + [1] * 2)


def test_a_class_that_is_not_named_has_weight_one() -> None:
    assert found({"1": 5.0}, LABELS, 3).tolist() == [1, 1, 1, 5, 1, 1]


def test_names_of_classes() -> None:
    known = Classes(("a", "b", "c"))
    assert found({"b": 5.0, "c": 2}, LABELS, 3, known).tolist() == [1, 1, 1, 5, 2, 2]
    assert found({"10": 5.0}, LABELS, 3, Classes((5, 10, 20))).tolist() == [1, 1, 1, 5, 1, 1]
    with pytest.raises(DataError, match=r"^training.class_weight: holds the label 'd', which is no class"):
        found({"d": 1.0}, LABELS, 3, known)
    with pytest.raises(
        DataError, match=r"^training.class_weight: 3 is no class; expected numbers from 0 to 2"
    ):
        found({"3": 1.0}, LABELS, 3)


def test_a_single_unit_has_two_classes() -> None:
    y = np.array([[0], [1], [1], [1]], np.float32)
    assert found("balanced", y, 1).tolist() == pytest.approx([2, 2 / 3, 2 / 3, 2 / 3])


def test_weights_of_samples_and_of_classes_are_multiplied() -> None:
    weight = ArrayRows(np.arange(6, dtype=np.float32))
    assert found({"2": 10.0}, LABELS, 3, None, weight).tolist() == [0, 1, 2, 3, 40, 50]


def test_of_steps_those_that_are_padding_do_not_count() -> None:
    y = np.array([[0, 1, 0], [1, 1, 1]])
    counted = {"y": ThereRows(np.array([2, 3]))}
    assert found("balanced", y, 2, counted=counted) == pytest.approx(
        np.array([[5 / 2, 5 / 8, UNCOUNTED], [5 / 8, 5 / 8, 5 / 8]])
    )


def test_a_weight_of_a_sample_is_that_of_its_steps() -> None:
    weight = ArrayRows(np.array([1.0, 2.0], np.float32))
    assert found({"1": 3.0}, np.array([[0, 1], [1, 1]]), 2, None, weight).tolist() == [[1, 3], [6, 6]]


def test_weights_of_a_file(tmp_path: Path) -> None:
    given = {"x": np.zeros((4, 2, 1)), "y": np.arange(4.0), "w": np.array([0, 1, 2, 0.5])}
    part = prepared(tmp_path, "{train: t.npz, sample_weight: w}", {"t.npz": given}).train
    assert alone(part.samples.batch(np.array([3, 1])).weight).tolist() == [0.5, 1]


def test_the_weight_of_a_window_is_that_of_its_target(tmp_path: Path) -> None:
    given = {"v": np.arange(6.0), "w": np.arange(6.0) / 10}
    data = "{train: t.csv, target: v, sample_weight: w, window: {length: 3}}"
    part = prepared(tmp_path, data, {"t.csv": csv(given)}).train
    x, y, weight = map(alone, part.samples.batch(np.arange(3)))
    assert x.shape == (3, 3, 1)  # the weight is no feature
    assert (weight * 10).tolist() == pytest.approx(y[:, 0].tolist()) == [3, 4, 5]


CLASSES = """model: {layers: [LSTM: {units: 2}, Dense: {units: 2, activation: softmax}]}
training: {loss: sparse_categorical_crossentropy}
"""


@pytest.mark.parametrize("horizon", [0, 1, 3])
def test_the_weight_of_a_windows_class_is_that_of_the_row_with_the_class(
    tmp_path: Path, horizon: int
) -> None:
    rows = np.arange(12)
    given = {"x": rows, "kind": rows % 2, "w": rows / 10}
    data = f"{{train: t.csv, target: kind, features: [x], sample_weight: w, window: {{length: 3, horizon: {horizon}}}}}"
    part = prepared(tmp_path, data, {"t.csv": csv(given)}, rest=CLASSES).train
    weight = alone(part.samples.batch(np.arange(9 - horizon)).weight)
    assert (weight * 10).tolist() == pytest.approx([start + 2 + horizon for start in range(9 - horizon)])


def test_the_weight_of_a_sequence_is_that_of_its_last_row(tmp_path: Path, capsys: Any) -> None:
    given = {"run": [1, 1, 2, 2, 3, 3], "x": range(6), "kind": [0, 0, 1, 1, 0, 0], "w": [1, 2, 3, 3, 5, 6]}
    data = "{train: t.csv, target: kind, features: [x], sample_weight: w, sequence: {by: run}}"
    part = prepared(tmp_path, data, {"t.csv": csv(given)}, rest=CLASSES).train
    assert alone(part.samples.batch(np.arange(3)).weight).tolist() == [2, 3, 6]
    assert (
        "t.csv: weights differ within 2 of 3 sequences: that of the last row counts."
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    "y", [LABELS[:, None], np.eye(3, dtype=np.float32)[LABELS][:, None]], ids=["labels", "one-hot"]
)
@pytest.mark.parametrize("lengths", [1, 2])
def test_steps_of_sequences_of_one_step_have_a_weight_each(y: Any, lengths: int) -> None:
    """Shape (samples, steps), also of one step: a weight too few axes would be spread over the whole batch."""
    y = np.repeat(y, lengths, axis=1)
    loss = "categorical_crossentropy" if y.dtype.kind == "f" else "sparse_categorical_crossentropy"
    given = np.full((6, lengths), 2, np.float32)
    weighted = class_weights(
        {"1": 5.0},
        samples(y, ArrayRows(given, given.dtype)),
        Output("labelling", (None, lengths, 3), loss),
        None,
    )
    assert alone(weighted.batch(np.arange(6)).weight).tolist() == [[w] * lengths for w in (2, 2, 2, 10, 2, 2)]
