"""Arrays with a number for each step, and facts beside sequences: what pads them is nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpujobs.trainer.data.fitting.counted import labels
from gpujobs.trainer.data.fitting.targets import Output, shaped
from gpujobs.trainer.failures import DataError

from .making import alone, prepared

EACH = (
    "model: {layers: [LSTM: {units: 2, return_sequences: true}, Dense: {units: 1}]}\ntraining: {loss: mse}\n"
)
LENGTHS = np.array([2, 4, 1, 3])
STEPS = np.random.default_rng(7).normal(size=(10, 2))
NUMBERS = STEPS[:, 0] * 3 + 20


def in_rows(values: Any, fill: float) -> Any:
    """As users pad them, one step longer than the longest."""
    ends = np.cumsum(LENGTHS)[:-1]
    width = [(0, 0)] * (values.ndim - 1)
    return np.stack(
        [np.pad(one, [(0, 5 - len(one)), *width], constant_values=fill) for one in np.split(values, ends)]
    )


@pytest.mark.parametrize("fill", [0.0, 99.0, np.nan])
@pytest.mark.parametrize("form", ["padded", "in one"])
def test_a_number_for_each_step_of_arrays_counts_where_the_step_is_there(
    tmp_path: Path, form: str, fill: float
) -> None:
    x, y = (in_rows(STEPS, fill), in_rows(NUMBERS, fill)) if form == "padded" else (STEPS, NUMBERS)
    given = {"x": x, "y": y, "n": LENGTHS}
    made = prepared(tmp_path, "{train: t.npz, lengths: n, scaling: standard}", {"t.npz": given}, rest=EACH)
    scale = made.preprocessing.y["y"]
    assert scale.center.tolist() == pytest.approx([NUMBERS.mean()], rel=1e-5)
    assert scale.width.tolist() == pytest.approx([NUMBERS.std()], rel=1e-5)
    batch = made.train.samples.batch(np.arange(4))
    there = np.arange(4) < LENGTHS[:, None]
    np.testing.assert_array_equal(alone(batch.weight) >= 0, there)
    expected = (NUMBERS - NUMBERS.mean()) / NUMBERS.std()
    np.testing.assert_allclose(alone(batch.y)[there][:, 0], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(alone(made.train.truth.x(np.arange(4)))[there], STEPS, rtol=1e-5)


def test_one_number_for_a_sequence_is_no_number_for_each_of_its_steps(tmp_path: Path) -> None:
    """Keras would lay it over all of them, those that are padded too."""
    given = {"x": STEPS, "y": np.arange(4.0), "n": LENGTHS}
    part = prepared(tmp_path, "{train: t.npz, lengths: n}", {"t.npz": given}, rest=EACH).train
    outputs = {"y": Output("regression", (None, None, 1), "mean_squared_error")}
    with pytest.raises(DataError) as error:
        shaped(part.samples, outputs, part.assembled.raw, {})
    assert str(error.value) == (
        "t.npz: array y: has 1 number for each sequence, and the model's output 1 number for each step; expected as "
        "many for each step, or return_sequences: false in the last recurrent layer"
    )


def test_what_pads_a_label_need_be_no_class(tmp_path: Path) -> None:
    given = {"x": STEPS, "y": in_rows(np.arange(10) % 3 * 10 + 10, 0), "n": LENGTHS}
    data = "{train: t.npz, lengths: n, classes: [10, 20, 30]}"
    rest = "task: labelling\n" + EACH.replace("units: 1", "units: 3").replace(
        "mse", "sparse_categorical_crossentropy"
    )
    part = prepared(tmp_path, data, {"t.npz": given}, rest=rest).train
    assert labels(part.truth, "y", "labelling").tolist() == (np.arange(10) % 3).tolist()


def test_a_scale_for_all_steps_of_arrays_of_one_length(tmp_path: Path) -> None:
    y = np.random.default_rng(0).normal(size=(6, 4)) * [1, 10, 100, 1000]
    given = {"x": np.zeros((6, 4, 2)), "y": y}
    scale = prepared(tmp_path, "{train: t.npz, scaling: {y: standard}}", {"t.npz": given}, rest=EACH)
    assert scale.preprocessing.y["y"].width.tolist() == pytest.approx([y.std()], rel=1e-5)


def test_few_facts_beside_long_sequences(tmp_path: Path) -> None:
    facts = np.arange(8.0).reshape(4, 2)
    given = {"x": STEPS, "facts": facts, "y": np.arange(4.0), "n": LENGTHS}
    rest = (
        "model: {branches: {r: {inputs: course, layers: [LSTM: {units: 2}]}, o: {inputs: [r, facts], layers: "
        "[Dense: {units: 1}]}}}\ntraining: {loss: mse}\n"
    )
    data = "{train: t.npz, lengths: n, x: {course: x, facts: facts}}"
    part = prepared(tmp_path, data, {"t.npz": given}, rest=rest).train
    assert part.truth.x(np.arange(4))["facts"].tolist() == facts.tolist()
