"""Where a fill, or a scale, has nothing to come from: an error that names the file, the column and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gpujobs.trainer.data import prepare
from gpujobs.trainer.data.fitting import scaling
from gpujobs.trainer.failures import DataError

from .making import alone, prepared, spec_of

SERIES = "{train: t.csv, time: hour, group: site, target: v, window: {length: 2}, missing: fill}"
SEQUENCES = "{train: t.csv, sequence: {by: site}, target: v, missing: fill}"
NUMBERS = "model: {layers: [LSTM: {units: 2}, Dense: {units: 1}]}\ntraining: {loss: mse}\n"


def frame() -> pd.DataFrame:
    hours = np.tile(np.arange(6), 2)
    held = {"site": ["a"] * 6 + ["b"] * 6, "hour": hours, "v": np.arange(12.0), "w": np.arange(12.0) ** 2}
    return pd.DataFrame(held)


def refused(root: Path, data: str, content: Any, name: str = "t.csv") -> str:
    with pytest.raises(DataError) as error:
        prepared(root, data, {name: content}, rest=NUMBERS)
    return str(error.value)


def test_a_column_without_a_value_is_not_filled_with_zeros(tmp_path: Path) -> None:
    empty = frame().assign(w=np.nan).to_csv(index=False)
    assert refused(tmp_path, SERIES, empty) == (
        "t.csv: column w: holds no value in series a (rows 2 to 7), series b (rows 8 to 13); expected one at least, "
        "which data.missing: fill could put into the others: leave the column out of data.features"
    )
    assert "t.csv: column w: holds no value in sequence a, sequence b; expected" in refused(
        tmp_path, SEQUENCES, empty
    )


def test_nor_is_one_of_a_single_series(tmp_path: Path) -> None:
    whole = frame()
    empty = whole.assign(w=whole["w"].where(whole["site"] == "a")).to_csv(index=False)
    assert refused(tmp_path, SERIES, empty) == (
        "t.csv: column w: holds no value in series b (rows 8 to 13); expected one at least, which data.missing: fill "
        "could put into the others: leave it out of the file, leave the column out of data.features, or say "
        "data.missing: drop"
    )
    assert "t.csv: column w: holds no value in sequence b; expected" in refused(tmp_path, SEQUENCES, empty)


def test_a_series_that_is_too_short_for_a_window_needs_none(tmp_path: Path) -> None:
    short = pd.DataFrame({"site": "c", "hour": [0, 1], "v": [1.0, 2.0], "w": [np.nan, np.nan]})
    data = SERIES.replace("missing: fill", "missing: fill, scaling: {x: standard}")
    text = pd.concat([frame(), short]).to_csv(index=False)
    found = prepared(tmp_path, data, {"t.csv": text}, rest=NUMBERS)
    assert len(found.train.samples) == 8
    whole = frame()["w"]
    scale = found.preprocessing.x["x"]
    assert scale.center[-1] == pytest.approx(whole.mean()) and scale.width[-1] == pytest.approx(
        whole.std(ddof=0)
    )
    assert [one.to_json() for one in found.accounts[0].left_out] == [
        {"what": "groups", "count": 1, "why": "shorter than a window of 3 rows", "where": ["c: 2 rows"]}
    ]


def test_the_last_value_seen_is_that_of_the_series_also_behind_a_gap_in_time(tmp_path: Path) -> None:
    """As pandas has it: `groupby("site")["w"].ffill()`. A stretch that has no value of its own is no error."""
    made = frame()
    made.loc[made["site"] == "b", "hour"] += np.array([0, 0, 0, 5, 5, 5])
    made.loc[[9, 10, 11], "w"] = [np.nan, np.nan, np.nan]
    found = prepared(tmp_path, SERIES, {"t.csv": made.to_csv(index=False)}, rest=NUMBERS).train
    expected = made.groupby("site")["w"].ffill().to_numpy()
    shown = alone(found.truth.x(np.arange(len(found.truth))))[:, :, -1]
    starts = [0, 1, 2, 3, 6, 9]
    np.testing.assert_allclose(shown, [expected[first : first + 2] for first in starts])


def test_nor_is_one_of_a_sample_of_an_array(tmp_path: Path) -> None:
    x = np.ones((4, 3, 2), np.float32)
    x[2, :, 1] = x[3, 0, 0] = np.nan
    given = {"x": x, "y": np.arange(4.0)}
    said = refused(tmp_path, "{train: t.npz, missing: fill}", given, "t.npz")
    assert "t.npz: array x: column 1: holds no value in sample 3; expected one at least" in said


def test_arrays_in_fortrans_order_are_filled_too(tmp_path: Path) -> None:
    x = np.asfortranarray(np.arange(48.0, dtype=np.float32).reshape(2, 3, 4, 2))
    x[1, 1, 2, 0] = np.nan
    rest = "model: {layers: [Flatten: {}, Dense: {units: 1}]}\ntraining: {loss: mse}\n"
    given = {"x": x, "y": np.arange(2.0)}
    found = prepared(tmp_path, "{train: t.npz, missing: fill}", {"t.npz": given}, rest=rest)
    assert alone(found.train.samples.x(np.arange(2)))[1, 1, 2, 0] == x[1, 0, 2, 0]


@pytest.mark.parametrize("method", ["standard", "minmax", "robust"])
def test_scales_of_nothing_are_an_error(method: str) -> None:
    with pytest.raises(DataError, match=r"t.csv: column v: holds no value that the training part may learn"):
        scaling.fit(method, lambda: iter([np.zeros((0, 2), np.float32)]), "t.csv: column v")


@pytest.mark.parametrize(("rows", "is_error"), [(3, True), (2, False)])
def test_a_series_of_just_a_window_needs_something_to_fill_with(
    tmp_path: Path, rows: int, is_error: bool
) -> None:
    """A window takes three rows here: two, and the target behind them."""
    short = pd.DataFrame({"site": "c", "hour": range(rows), "v": 1.0, "w": [np.nan] * rows})
    text = pd.concat([frame(), short]).to_csv(index=False)
    if is_error:
        assert "column w: holds no value in series c" in refused(tmp_path, SERIES, text)
    else:
        assert len(prepared(tmp_path, SERIES, {"t.csv": text}, rest=NUMBERS).train.samples) == 8


@pytest.mark.parametrize(
    ("name", "units", "place"),
    [("t.npz", 1, 3), ("t.npy", 2, 1)],  # of the latter two windows lack a target, which is never filled
)
def test_a_file_that_is_filled_stays_as_it_is(tmp_path: Path, name: str, units: int, place: int) -> None:
    """It is mapped, and others read it too."""
    values = np.arange(40, dtype=np.float32).reshape(20, 2)
    values[3:5, 1] = np.nan
    given = {"x": values, "y": np.arange(20.0)} if name == "t.npz" else values
    data = f"{{train: {name}, window: {{length: 2}}, missing: fill}}"
    spec = spec_of(tmp_path, data, {name: given}, rest=NUMBERS.replace("units: 1", f"units: {units}"))
    before = (tmp_path / name).read_bytes()
    shown = alone(prepare(spec).train.truth.x(np.arange(8)))
    assert not np.isnan(shown).any() and shown[place].tolist() == [[6, 5], [8, 5]]
    assert (tmp_path / name).read_bytes() == before
