"""Rows before the first value of a feature, which `missing: fill` gives that value: nothing goes from a later part into
an earlier one, and what nobody knew at its time is said. Windows are counted by pandas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gpujobs.trainer.data import Prepared

from .making import prepared

SPLIT = "split: {method: chronological, validation: 0.2, test: 0.2}"
DATA = (
    "{train: t.csv, group: site, time: hour, target: v, features: [f], missing: fill, scaling: standard,\n"
    "  window: {length: 3}%s}"
)
NUMBERS = "model: {layers: [LSTM: {units: 2}, Dense: {units: 1}]}\ntraining: {loss: mse}\n"
ROWS = 20


def frame(first: int) -> pd.DataFrame:
    """Two series; `first`: the row of the second that has the first value of f."""
    rows = np.arange(ROWS)
    sites = [pd.DataFrame({"site": site, "hour": rows, "v": rows + 0.5, "f": 100.0 + rows}) for site in "ab"]
    sites[1].loc[rows < first, "f"] = np.nan
    return pd.concat(sites)


def found(root: Path, first: int, more: str = f", {SPLIT}") -> Prepared:
    return prepared(root, DATA % more, {"t.csv": frame(first).to_csv(index=False)}, rest=NUMBERS)


def windows(first: int) -> dict[str, int]:
    """Of each part, by the rows of their targets: 12 rows train, 4 validate and 4 test. A part has those of a series
    whose first value is in it, or before it."""
    counts = {}
    for part, begin, end in (("train", 0, 12), ("validation", 12, 16), ("test", 16, 20)):
        targets = len(range(max(begin, 3), end))
        counts[part] = targets * (1 + (first < end))
    return counts


@pytest.mark.parametrize("first", [0, 1, 7, 11, 12, 15, 16, 19])
def test_no_part_shows_what_is_first_seen_in_a_later_one(tmp_path: Path, first: int) -> None:
    parts = found(tmp_path, first).parts
    assert {name: len(part.samples) for name, part in parts.items()} == windows(first)


def test_nor_are_scales_fitted_on_it(tmp_path: Path) -> None:
    scale = found(tmp_path, 16).preprocessing.x["x"]
    train = frame(16).query("site == 'a' and hour < 12")
    np.testing.assert_allclose(scale.center, [train["f"].mean()], rtol=1e-6)
    np.testing.assert_allclose(scale.width, [train["f"].std(ddof=0)], rtol=1e-6)


def test_what_is_filled_from_later_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for one in found(tmp_path, 13).accounts for line in one.lines()]
    assert lines[0].endswith(
        "left out: 9 windows that show a feature before its first value, which is in a later part."
    )
    assert lines[1:] == [
        "t.csv: 13 rows before the first value of a feature have that value (missing: fill), which is later than they "
        "are (b: 13 rows).",
        "t.csv: 1 group has no window in the train part (b).",
    ]
    assert lines == capsys.readouterr().out.splitlines()
    assert len(found(tmp_path, 1, "").train.samples) == 2 * (ROWS - 3)
    assert "1 row before the first value of a feature has that value" in capsys.readouterr().out


def test_nothing_is_said_where_the_first_rows_have_their_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    later = frame(0)
    later.loc[(later["hour"] > 4) & (later["hour"] < 9), "f"] = np.nan
    prepared(tmp_path, DATA % "", {"t.csv": later.to_csv(index=False)}, rest=NUMBERS)
    assert capsys.readouterr().out.splitlines() == ["t.csv: 40 rows in 2 series, 1 apart, make 34 windows."]
