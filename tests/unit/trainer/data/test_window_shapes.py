"""Windows that skip rows, and targets that lie further ahead; and what a season before is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpujobs.errors import JobFileError
from gpujobs.jobfile import load
from gpujobs.trainer.data import prepare
from gpujobs.trainer.data.prepare import to_predict
from gpujobs.trainer.data.samples.windowed import Windowed
from gpujobs.trainer.evaluation import series_forecasts

from .making import csv, prepared, spec_of

DATA = "{train: t.csv, target: v, features: [v], window: {%s}%s}"
REST = "model: {layers: [LSTM: {units: 2}, Dense: {units: %d}]}\ntraining: {loss: mse}\n"


def windows(root: Path, window: str, rows: int = 40, more: str = "", horizon: int = 1) -> Any:
    files = {"t.csv": csv({"v": np.arange(float(rows))})}
    return prepared(root, DATA % (window, more), files, rest=REST % horizon)


def batch(part: Any) -> tuple[Any, Any]:
    x, y, _ = part.samples.batch(np.arange(len(part.samples)))
    return x[:, :, 0], y.reshape(len(y), -1)


@pytest.mark.parametrize("every", [1, 2, 5])
@pytest.mark.parametrize("gap", [0, 3])
@pytest.mark.parametrize("horizon", [1, 2])
def test_rows_of_a_window_and_its_target(tmp_path: Path, every: int, gap: int, horizon: int) -> None:
    window = f"length: 4, horizon: {horizon}, stride: 3, sampling_rate: {every}, gap: {gap}"
    x, y = batch(windows(tmp_path, window, horizon=horizon).train)
    last = 3 * every
    starts = [start for start in range(0, 40, 3) if start + last + gap + horizon < 40]
    assert x.tolist() == [[start + every * n for n in range(4)] for start in starts]
    assert y.tolist() == [[start + last + gap + 1 + n for n in range(horizon)] for start in starts]


def test_parts_of_windows_that_skip_rows_share_no_target(tmp_path: Path) -> None:
    split = ", split: {method: chronological, test: 0.25}"
    found = windows(tmp_path, "length: 3, horizon: 2, sampling_rate: 4, gap: 5", 80, split, horizon=2)
    (_, train), (x, test) = batch(found.train), batch(found.parts["test"])
    assert train.max() == 59 and test.min() == 60 and test.max() == 79
    assert (test[:, 0] - x[:, -1] == 6).all()


def test_a_gap_needs_a_target_ahead() -> None:
    text = f"data: {DATA % ('length: 3, horizon: 0, gap: 2', '')}\n{REST % 1}".replace(
        "features: [v]", "features: [w]"
    )
    with pytest.raises(
        JobFileError, match=r"data.window.gap is 2, and the target is at the rows that are shown"
    ):
        load("job.yaml", text)


@pytest.mark.parametrize("key", ["step: 1h", "timezone: Europe/Berlin"])
def test_a_step_is_of_a_time(key: str) -> None:
    with pytest.raises(JobFileError, match=r"is about data.time, which is not given"):
        load("job.yaml", f"data: {DATA % ('length: 3', f', {key}')}\n{REST % 1}")


@pytest.mark.parametrize("value", ["0", "-1h", "hourly", "1m", "[1]", "true", "0d"])
def test_what_is_no_step(value: str) -> None:
    with pytest.raises(JobFileError, match=r"expected a step such as 15min, 1h, 1d"):
        load("job.yaml", f"data: {DATA % ('length: 3', f', time: t, step: {value}')}\n{REST % 1}")


# A season before

HOURS = np.datetime64("2024-01-01T00:00:00") + np.arange(100).astype("m8[h]")


def forecasts(
    root: Path, times: Any, groups: Any, values: Any, window: str, season: int
) -> tuple[Any, Any, Windowed]:
    """The row of each window's target, and what a season before it is said to be."""
    content = csv({"t": times, "g": groups, "v": values})
    data = f"{{train: t.csv, time: t, group: g, target: v, features: [v], window: {{{window}}}, season: {season}}}"
    made = prepared(root, data, {"t.csv": content}, rest=REST % 2).train.assembled
    assert isinstance(made, Windowed)
    found = series_forecasts(made, "y", season)["a season before"]
    starts = made.index.starts(made.samples.at(np.arange(len(made.samples))))
    return starts[:, None] + np.arange(*made.target), found[:, :, 0], made


@pytest.mark.parametrize("gap", [0, 4])
@pytest.mark.parametrize("season", [1, 3, 7])
def test_a_season_before_is_looked_up_by_time_in_the_same_series(
    tmp_path: Path, season: int, gap: int
) -> None:
    """By hand, from a mapping of series and time to values."""
    kept = np.setdiff1d(np.arange(100), [20, 21, 22, 23, 60])
    times, groups = np.concatenate([HOURS[kept], HOURS[:40]]), ["a"] * len(kept) + ["b"] * 40
    values = np.random.default_rng(1).normal(size=len(times)).round(3)
    known = {(group, time): value for group, time, value in zip(groups, times, values, strict=True)}
    window = f"length: 5, horizon: 2, gap: {gap}"
    rows, found, made = forecasts(tmp_path, times, groups, values, window, season)
    assert len(rows) == len(made.samples) > 50
    for targets, said in zip(rows, found, strict=True):
        last = targets[0] - gap - 1
        for row, value in zip(targets, said, strict=True):
            back = season
            while row - back > last:
                back += season
            then = (groups[row], times[row] - np.timedelta64(back, "h"))
            assert value == pytest.approx(known.get(then, values[last]), abs=1e-6)


def test_a_season_of_months(tmp_path: Path) -> None:
    """Twelve months before, though April 2020 is absent."""
    months = np.arange("2018-01", "2022-01", dtype="M8[M]")
    kept = months[months != np.datetime64("2020-04")]
    values = np.arange(float(len(kept)))
    rows, found, _ = forecasts(
        tmp_path, kept.astype("M8[D]"), ["a"] * len(kept), values, "length: 3, horizon: 2", 12
    )
    for targets, said in zip(rows, found, strict=True):
        for row, value in zip(targets, said, strict=True):
            before = np.flatnonzero(kept == kept[row] - 12)
            assert value == (values[before[0]] if len(before) else values[targets[0] - 1])


OUTPUTS = """model:
  branches:
    body: {inputs: x, layers: [LSTM: {units: 2}]}
    load: {inputs: body, layers: [Dense: {units: 2}]}
    alarm: {inputs: body, layers: [Dense: {units: 2, activation: softmax}]}
  outputs: [load, alarm]
training: {loss: {load: %s, alarm: sparse_categorical_crossentropy}}
predict: [new.npz]
"""


@pytest.mark.parametrize("horizon", [1, 2, 3])
def test_of_several_outputs_a_class_is_that_of_the_last_row(tmp_path: Path, horizon: int) -> None:
    length, rows = 4, 12
    values, alarms = np.arange(rows, dtype=np.float32), np.arange(rows) // 2 % 2
    arrays = {"x": values[:, None], "v": values, "a": alarms, "t": np.arange(rows)}
    text = f"{{train: d.npz, y: {{load: v, alarm: a}}, time: t, window: {{length: {length}, horizon: {horizon}}}}}"
    spec = spec_of(tmp_path, text, {"d.npz": arrays, "new.npz": arrays}, rest=OUTPUTS % "mse")
    trained = prepare(spec)
    starts = np.arange(rows - length - horizon + 1)
    ahead = starts[:, None] + length + np.arange(horizon)
    part = trained.train
    assert part.truth.target("alarm").tolist() == alarms[starts + length + horizon - 1].tolist()
    assert part.truth.target("load").reshape(len(starts), horizon).tolist() == values[ahead].tolist()

    new = to_predict(spec, {"path": "new.npz"}, trained.preprocessing)
    assert list(new.truth.targets) == ["load"], "beyond the end there is no class, and none is made up"
    known = new.truth.target("load").reshape(-1, horizon)
    assert len(known) == rows - length + 1 and np.isnan(known[-1]).all(), "what lies beyond is forecast"
    assert known[: len(starts)].tolist() == values[ahead].tolist()


def test_several_outputs_of_classes_are_of_the_time_of_their_row(tmp_path: Path) -> None:
    arrays = {
        "x": np.arange(9.0)[:, None],
        "v": np.arange(9) % 2,
        "a": np.arange(9) // 2 % 2,
        "t": np.arange(9),
    }
    text = "{train: d.npz, y: {load: v, alarm: a}, time: t, window: {length: 3, horizon: 3}}"
    rest = OUTPUTS % "sparse_categorical_crossentropy"
    part = prepared(tmp_path, text, {"d.npz": arrays, "new.npz": arrays}, rest=rest).train
    assert part.samples.all_of(part.samples.labels["time"]).tolist() == [5, 6, 7, 8]
    assert part.truth.target("alarm").tolist() == [0, 1, 1, 0]
