"""A step that the job file gives: rows that nearly keep it follow each other, and what is no such step is no step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gpujobs.trainer.data.prepare import to_predict
from gpujobs.trainer.failures import DataError

from .making import csv, prepared, spec_of

ROWS = 40
REST = "model: {layers: [LSTM: {units: 2}, Dense: {units: 1}]}\ntraining: {loss: mse}\n"


def windows(root: Path, minutes: list[float], step: str) -> int:
    """Of three rows and the one after them."""
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.round(np.array(minutes) * 60), unit="s")
    data = f"{{train: t.csv, time: when, target: v, window: {{length: 3}}{step}}}"
    return len(
        prepared(root, data, {"t.csv": csv({"when": times, "v": range(len(times))})}, rest=REST).train.samples
    )


@pytest.mark.parametrize("apart", [30, 40, 50, 56, 64, 80])
def test_rows_that_keep_another_step_than_the_given_one_are_an_error(tmp_path: Path, apart: float) -> None:
    with pytest.raises(DataError, match=rf"its rows are {apart} minutes apart, and data.step is 1h"):
        windows(tmp_path, [apart * row for row in range(ROWS)], ", step: 1h")


@pytest.mark.parametrize("apart", [59.5, 60, 60.5])
def test_a_clock_that_is_a_little_fast_keeps_the_step(tmp_path: Path, apart: float) -> None:
    assert windows(tmp_path, [apart * row for row in range(ROWS)], ", step: 1h") == ROWS - 3


@pytest.mark.parametrize("step", ["", ", step: 10min"])
@pytest.mark.parametrize(("late", "is_kept"), [(2.4, True), (2.6, False), (4.0, False)])
def test_a_row_follows_where_it_is_within_a_quarter_of_the_step(
    tmp_path: Path, step: str, late: float, is_kept: bool
) -> None:
    """Of rows that keep a step of ten minutes roughly, one is late, and all after it are as well."""
    minutes = np.arange(ROWS) * 10 + np.tile([0, 0.1], ROWS // 2)
    minutes[20:] += late + 0.1
    expected = ROWS - 3 if is_kept else ROWS - 6
    assert windows(tmp_path, minutes.tolist(), step) == expected


def test_twice_the_step_is_a_row_that_is_absent(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        windows(tmp_path, [120 * row for row in range(ROWS)], ", step: 1h")
    assert str(error.value).endswith(
        "As data.step says 1 hour, 39 rows do not follow the one before by that: data.step: none lets windows cross "
        "them"
    )


@pytest.mark.parametrize(("freq", "is_other"), [("D", True), ("15min", True), ("h", False)])
def test_a_file_of_another_step_than_the_training_part_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], freq: str, is_other: bool
) -> None:
    def rows(freq: str) -> str:
        return csv({"when": pd.date_range("2024-01-01", periods=8, freq=freq), "v": range(8)})

    files = {"t.csv": rows("h"), "p.csv": rows(freq)}
    data = "{train: t.csv, time: when, target: v, window: {length: 3}}"
    spec = spec_of(tmp_path, data, files, rest=REST + "predict: [p.csv]\n")
    learned = prepared(tmp_path, data, files, rest=REST).preprocessing
    capsys.readouterr()
    to_predict(spec, {"path": "p.csv"}, learned)
    told = (
        "apart, and those of the training part 1 hour: a window shows another span of time"
        in capsys.readouterr().out
    )
    assert told is is_other


@pytest.mark.parametrize(("late", "told"), [(1, True), (300, False)])
def test_where_a_given_step_would_take_rows_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], late: int, told: bool
) -> None:
    """Of rows ten minutes apart three are late, by seconds."""
    minutes = np.arange(ROWS) * 10.0
    minutes[[10, 20, 30]] += late / 60
    assert windows(tmp_path, minutes.tolist(), "") == ROWS - 3 - 3 * 4
    said = "; 6 of them are within a quarter of the step, which is enough where data.step gives it."
    assert (said in capsys.readouterr().out) is told
    assert windows(tmp_path, minutes.tolist(), ", step: 10min") == (ROWS - 3 if told else ROWS - 3 - 3 * 4)
