"""Pictures of a finished job: what forecast.json says is what pandas finds in the data and in predictions.npz."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from gpujobs.trainer import pictures

from .conftest import Launched
from .jobs import Ran, run

HOURS = 400
FORECAST = """
name: load
data:
  train: t.csv
  time: when
  group: site
  target: [load, "price $"]
  window: {length: 6, horizon: 4}
  season: 24
  scaling: standard
  split: {method: chronological, validation: 0.2, test: 0.2}
model: {layers: [LSTM: {units: 8}, Dense: {units: 8}]}
training: {loss: mse, epochs: 6, seed: 0}
predict: [test]
"""
CLASSES = """
data: {train: l.npz, classes: [rest, walk, "run $fast$"], split: {method: stratified, test: 0.4}}
model: {layers: [GRU: {units: 4}, Dense: {units: 3, activation: softmax}]}
training: {loss: sparse_categorical_crossentropy, metrics: [accuracy], epochs: 3, seed: 0}
"""


def table() -> pd.DataFrame:
    when = pd.date_range("2026-03-28", periods=HOURS, freq="h", tz="UTC")
    hours = np.arange(HOURS)
    sites = []
    for number, site in enumerate(("north", "south")):
        load = 100 * (number + 2) + 50 * np.sin(hours * 2 * np.pi / 24) + hours % 7
        sites.append(pd.DataFrame({"when": when, "site": site, "load": load, "price $": 30 + load / 9}))
    return pd.concat(sites)


@pytest.fixture(scope="module")
def forecast(launcher: Launched) -> Ran:
    frame = table()
    times = frame["when"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    columns = {name: frame[name].tolist() for name in frame.columns if name != "when"}
    return kept(run(launcher, FORECAST, {"t.csv": csv_of({"when": times.tolist(), **columns})}), "forecast")


def csv_of(columns: dict[str, list[Any]]) -> bytes:
    return pd.DataFrame(columns).to_csv(index=False).encode()


def kept(ran: Ran, name: str) -> Ran:
    """For the eyes of whoever names a directory."""
    if target := os.environ.get("GPUJOBS_KEEP_PICTURES"):
        for path in ran.job.results.glob("*.png"):
            shutil.copy(path, Path(target) / f"{name}-{path.name}")
    return ran


def is_drawn(path: Path) -> bool:
    """Not an empty page: some of its points are dark."""
    image = imread(path)
    return min(image.shape[:2]) > 250 and bool((image[:, :, :3].min(axis=2) < 0.5).mean() > 0.002)


def test_a_forecasting_job_has_its_curves_and_its_forecast(forecast: Ran) -> None:
    assert is_drawn(forecast.job.results / "curves.png") and is_drawn(forecast.job.results / "forecast.png")
    assert not (forecast.job.results / "confusion.png").exists()
    assert "not drawn" not in forecast.log


def test_the_forecast_is_in_the_users_units_and_dates_beside_the_best_naive_one(forecast: Ran) -> None:
    found, frame, arrays = forecast.json("forecast.json"), table(), forecast.predictions()
    best = forecast.metrics["evaluation"]["best_baseline"]
    assert (found["part"], found["horizon"], found["naive"], found["zone"]) == ("test", 4, best, "UTC")
    assert [(one["group"], one["target"]) for one in found["tracks"]] == [
        (site, target) for site in ("north", "south") for target in ("load", "price $")
    ]
    assert best == "a season before"
    for one in found["tracks"]:
        own = frame[frame["site"] == one["group"]].set_index("when")[one["target"]]
        index = pd.DatetimeIndex(pd.to_datetime(one["x"]))
        assert index.is_monotonic_increasing and index[-1] == frame["when"].max(), "the end of the data"
        assert index.is_unique, "no forecast overlaps the one before"
        np.testing.assert_allclose(np.array(one["truth"]), own[index], rtol=1e-6)
        np.testing.assert_allclose(np.array(one["naive"]), own[index - pd.Timedelta(hours=24)], rtol=1e-6)
    (first, *_) = found["tracks"]
    begins = pd.to_datetime(first["x"]).tz_localize(None).to_numpy()[::4]
    rows = [int(np.flatnonzero((arrays["time"] == at) & (arrays["group"] == "north"))[0]) for at in begins]
    np.testing.assert_allclose(
        np.array(first["forecast"]), arrays["y_pred"][rows, :, 0].reshape(-1), rtol=1e-5
    )


def test_a_classifying_job_has_a_confusion_matrix(launcher: Launched) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = (y[:, None] + rng.normal(size=(90, 5)))[..., None].astype(np.float32)
    ran = kept(run(launcher, CLASSES, {"l.npz": {"x": x, "y": y}}), "classes")
    assert is_drawn(ran.job.results / "confusion.png") and is_drawn(ran.job.results / "curves.png")
    assert not (ran.job.results / "forecast.png").exists() and "not drawn" not in ran.log


def test_a_picture_that_cannot_be_drawn_is_a_line_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> bytes:
        raise MemoryError("no room")

    pictures._try(tmp_path / "curves.png", fails)
    assert capsys.readouterr().out == "gpujobs: curves.png was not drawn: MemoryError: no room\n"
    assert json.dumps(sorted(path.name for path in tmp_path.iterdir())) == "[]"
