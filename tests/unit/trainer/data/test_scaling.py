"""Scaling against numpy, back to original units, and fitted on nothing but the training part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from gpujobs.trainer.data.fitting import scaling
from gpujobs.trainer.data.fitting.preprocessing import from_json
from gpujobs.trainer.failures import DataError

from .making import alone, csv, everything, prepared

FLOATS = st.floats(-1e6, 1e6, width=32)
TABLES = arrays_of.arrays(np.float32, st.tuples(st.integers(1, 60), st.integers(1, 3)), elements=FLOATS)


def in_pieces(values: Any, size: int = 7) -> scaling.Pieces:
    return lambda: (values[begin : begin + size] for begin in range(0, len(values), size))


@settings(max_examples=60)
@given(TABLES, st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_quantiles_are_those_of_numpy(values: Any, shares: list[float]) -> None:
    expected = np.quantile(values.astype(np.float64), shares, axis=0)
    np.testing.assert_allclose(scaling.quantiles(in_pieces(values), shares), expected, rtol=1e-9, atol=1e-9)


def test_quantiles_of_what_is_hard_to_order() -> None:
    values = np.array([-0.0, 0.0, -1e-45, 1e-45, -3e38, 3e38, 1, 1, 1, -1, 2, 2**24 + 1], np.float32)[:, None]
    shares = np.linspace(0, 1, 12)
    expected = np.quantile(values.astype(np.float64), shares, axis=0)
    np.testing.assert_allclose(scaling.quantiles(in_pieces(values), shares.tolist()), expected)


@given(TABLES, st.sampled_from(["standard", "minmax", "robust"]))
def test_each_method(values: Any, method: str) -> None:
    scale = scaling.fit(method, in_pieces(values), "t.csv")
    wide = values.astype(np.float64)
    low, middle, high = np.quantile(wide, [0.25, 0.5, 0.75], axis=0)
    center, width = {
        "standard": (wide.mean(axis=0), wide.std(axis=0)),
        "minmax": (wide.min(axis=0), np.ptp(wide, axis=0)),
        "robust": (middle, high - low),
    }[method]
    np.testing.assert_allclose(scale.center, center, rtol=1e-5, atol=1e-2)
    sure = width > 1e-3
    np.testing.assert_allclose(scale.width[sure], width[sure], rtol=1e-4, atol=1e-3)
    assert (scale.width > 0).all()
    np.testing.assert_allclose(scale.invert(scale.apply(values)), values, rtol=1e-5, atol=1e-1)


def test_more_columns_than_are_counted_at_once() -> None:
    values = np.random.default_rng(0).normal(size=(50, 150)).astype(np.float32)
    scale = scaling.fit("robust", in_pieces(values), "t.csv")
    np.testing.assert_allclose(scale.center, np.median(values, axis=0), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("method", ["standard", "minmax", "robust"])
@pytest.mark.parametrize("value", [5, 0.1, -1e-30, 1e30, 0])
def test_a_constant_column_becomes_zero(method: str, value: float) -> None:
    """Also where its mean in float64 is not quite the value."""
    scale = scaling.fit(method, in_pieces(np.full((9, 1), value, np.float32)), "t.csv")
    np.testing.assert_allclose(scale.apply(np.full((2, 1), value, np.float32)), 0, atol=abs(value) * 1e-6)
    assert scale.width.tolist() == [1.0]


@pytest.mark.parametrize("width", [1e-30, 1e-25, 1e-15, 1e-6, 1.0, 1e6])
@pytest.mark.parametrize("method", ["standard", "minmax", "robust"])
def test_a_narrow_column_is_scaled_as_a_wide_one(method: str, width: float) -> None:
    unit = np.linspace(0, 1, 11)
    low, middle, high = np.quantile(unit, [0.25, 0.5, 0.75])
    expected = {
        "standard": (unit - unit.mean()) / unit.std(),
        "minmax": unit,
        "robust": (unit - middle) / (high - low),
    }[method]
    values = (unit * width).astype(np.float32)[:, None]
    scaled = scaling.fit(method, in_pieces(values), "t.csv").apply(values)
    np.testing.assert_allclose(scaled[:, 0], expected, atol=1e-5)


def poisoned(columns: dict[str, Any], first: int) -> dict[str, Any]:
    """Everything from a row on is absurd."""
    return {
        name: np.where(np.arange(len(one)) < first, one, one * -1e6 + 1e9) for name, one in columns.items()
    }


@pytest.mark.parametrize("method", ["standard", "minmax", "robust"])
def test_scaling_never_sees_what_comes_after_the_training_part(tmp_path: Path, method: str) -> None:
    random = np.random.default_rng(0)
    columns = {"a": random.normal(size=300).round(3), "b": random.normal(3, 5, 300).round(3)}
    data = (
        f"{{train: t.csv, target: a, window: {{length: 8, horizon: 2}}, scaling: {method}, "
        "split: {method: chronological, validation: 0.1, test: 0.2}}"
    )
    rest = "model: {layers: [LSTM: {units: 2}, Dense: {units: 2}]}\ntraining: {loss: mse}\n"
    found = [
        prepared(tmp_path, data, {"t.csv": csv(given)}, rest=rest)
        for given in (columns, poisoned(columns, 210))
    ]
    one, other = (prepared.preprocessing.to_json() for prepared in found)
    assert one == other
    first, second = (prepared.train.samples.batch(np.arange(200)) for prepared in found)
    for a, b in zip(first[:2], second[:2], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("split", ["random", "group", "chronological"])
def test_scaling_of_samples_sees_the_training_part_alone(tmp_path: Path, split: str) -> None:
    """Also where the parts lie in between each other: the scale is that of the training rows."""
    random = np.random.default_rng(1)
    given = {"x": random.normal(size=(40, 3, 2)), "y": random.normal(size=40), "g": np.arange(40) % 8}
    data = f"{{train: t.npz, group: g, scaling: standard, split: {{method: {split}, test: 0.25, seed: 3}}}}"
    found = prepared(tmp_path, data, {"t.npz": given})
    numbers = found.train.samples.numbers
    x, y = given["x"][numbers].astype(np.float32), given["y"][numbers]
    scale = found.preprocessing.x["x"]
    np.testing.assert_allclose(scale.center, x.mean(axis=(0, 1)), rtol=1e-5)
    np.testing.assert_allclose(scale.width, x.std(axis=(0, 1)), rtol=1e-5)
    np.testing.assert_allclose(found.preprocessing.y["y"].center, [y.mean()], rtol=1e-5)


def test_scales_are_the_same_after_they_were_stored(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    given = {"x": random.normal(size=(40, 3, 2)), "y": random.normal(size=40)}
    learned = prepared(tmp_path, "{train: t.npz, scaling: robust}", {"t.npz": given}).preprocessing
    again = from_json(learned.to_json())
    assert again.to_json() == learned.to_json()
    assert (again.x["x"].apply(given["x"]) == learned.x["x"].apply(given["x"])).all()


def test_whole_numbers_are_scaled_too(tmp_path: Path) -> None:
    given = {"x": np.arange(24).reshape(4, 3, 2), "y": np.array([100, 200, 300, 400])}
    found = prepared(tmp_path, "{train: t.npz, scaling: minmax}", {"t.npz": given})
    assert found.train.samples.target("y").tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert found.train.truth.target("y").tolist() == [100, 200, 300, 400]


def test_ids_are_not_scaled(tmp_path: Path) -> None:
    rest = (
        "model: {layers: [Embedding: {input_dim: 9, output_dim: 2}, LSTM: {units: 2}, Dense: {units: 1}]}\n"
        "training: {loss: mse}\n"
    )
    given = {"x": np.arange(8).reshape(4, 2), "y": np.arange(4.0)}
    found = prepared(tmp_path, "{train: t.npz, scaling: standard}", {"t.npz": given}, rest=rest)
    x = alone(found.train.samples.x(np.arange(4)))
    assert x.dtype == np.int32 and x.tolist() == given["x"].tolist()


MASKED = "model: {layers: [Masking: {mask_value: %s}, LSTM: {units: 2}, Dense: {units: 1}]}\ntraining: {loss: mse}\n"


@pytest.mark.parametrize("method", ["standard", "minmax", "robust"])
@pytest.mark.parametrize("value", [0.0, -9.5])
def test_masked_steps_are_neither_fitted_on_nor_scaled(tmp_path: Path, method: str, value: float) -> None:
    """A step is masked where all its features are the value; the smallest of each feature, which minmax makes 0, and
    the median stay there."""
    x = np.random.default_rng(1).normal(5, 2, (9, 4, 2)).astype(np.float32)
    x[2:5, 3] = value
    x[7, 1:] = value
    x[8, 0] = value, 1.0  # one feature only
    x[0, 0] = x.min(axis=(0, 1)) - 1  # the smallest of both, so that minmax makes a row of zeros of it
    masked = (x == np.float32(value)).all(axis=2)
    data = f"{{train: t.npz, scaling: {{x: {method}}}}}"
    found = prepared(tmp_path, data, {"t.npz": {"x": x, "y": np.zeros(9)}}, rest=MASKED % value)
    real = x[~masked].astype(np.float64)
    center, width = {
        "standard": (real.mean(axis=0), real.std(axis=0)),
        "minmax": (real.min(axis=0), np.ptp(real, axis=0)),
        "robust": (np.median(real, axis=0), np.subtract(*np.quantile(real, [0.75, 0.25], axis=0))),
    }[method]
    np.testing.assert_allclose(found.preprocessing.x["x"].center, center, rtol=1e-5)
    np.testing.assert_allclose(found.preprocessing.x["x"].width, width, rtol=1e-5)
    scaled = everything(found.train.samples)
    assert (scaled[masked] == np.float32(value)).all()
    assert ((scaled == np.float32(value)).all(axis=2) == masked).all()
    np.testing.assert_allclose(scaled[~masked], (real - center) / width, atol=3e-6)


def test_masked_rows_of_a_series_are_neither_fitted_on_nor_scaled(tmp_path: Path) -> None:
    values = np.arange(20.0)
    values[[3, 4, 11]] = -99
    data = "{train: t.csv, target: w, features: [v], window: {length: 3, horizon: 0}, scaling: {x: standard}}"
    given = {"v": values, "w": np.arange(20)}
    found = prepared(tmp_path, data, {"t.csv": csv(given)}, rest=MASKED % -99.0)
    real = values[values != -99]
    assert found.preprocessing.x["x"].center.tolist() == pytest.approx([real.mean()])
    assert found.preprocessing.x["x"].width.tolist() == pytest.approx([real.std()])
    windows = np.lib.stride_tricks.sliding_window_view(values, 3)
    expected = np.where(windows == -99, -99, (windows - real.mean()) / real.std())
    np.testing.assert_allclose(everything(found.train.samples)[..., 0], expected, rtol=1e-5, atol=1e-6)


def test_arrays_with_nothing_but_masked_steps_are_refused(tmp_path: Path) -> None:
    given = {"x": np.zeros((4, 3, 2)), "y": np.zeros(4)}
    with pytest.raises(DataError, match=r"^t.npz: array x: every step is 0, which Masking skips"):
        prepared(tmp_path, "{train: t.npz, scaling: standard}", {"t.npz": given}, rest=MASKED % 0.0)


@pytest.mark.parametrize(
    ("center", "is_said"), [(0.0, False), (1013.0, False), (101325.0, True), (1.7e9, True)]
)
def test_a_column_that_float32_rounds_is_said(
    tmp_path: Path, capsys: Any, center: float, is_said: bool
) -> None:
    v = center + np.random.default_rng(0).normal(0, 0.5, 60)
    data = "{train: t.csv, target: v, window: {length: 4}, scaling: standard}"
    part = prepared(tmp_path, data, {"t.csv": csv({"v": [f"{one:.6f}" for one in v], "w": range(60)})}).train
    exact = ((v - v.mean()) / v.std())[:4]
    off = np.abs(everything(part.samples)[0, :, 0] - exact).max()
    said = capsys.readouterr().out
    assert (off > 1e-3) == is_said == ("column v: " in said and "numbers of 32 bits" in said)
    assert "column w: " not in said


@pytest.mark.parametrize("wide", [0.0, 1.0])
def test_values_that_are_1_apart_are_not_called_all_the_same(
    tmp_path: Path, capsys: Any, wide: float
) -> None:
    v = 101325 + wide * (np.arange(60) % 2)
    data = "{train: t.csv, target: v, window: {length: 4}, scaling: minmax}"
    scale = prepared(tmp_path, data, {"t.csv": csv({"v": v, "w": range(60)})}).preprocessing.x["x"]
    assert scale.width[0] == 1.0, "that of a constant column too"
    assert (
        "column v: all its values are 101325, or nearer to it than can be told, or spread by 1 about it: "
        in (capsys.readouterr().out)
    )
