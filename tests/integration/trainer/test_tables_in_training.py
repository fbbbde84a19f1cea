"""Tables as they come through a whole training, beside the same read by pandas and trained by Keras alone."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd

from .conftest import Launched
from .jobs import Ran, run

LENGTH = 6
RAW = """
data:
  train: last.csv
  time: Zeit
  target: Last
  window: {length: 6, horizon: 1}
  scaling: standard
model: {layers: [LSTM: {units: 4}, Dense: {units: 1}]}
training: {loss: mse, epochs: 2, batch_size: 16, shuffle: false, seed: 3}
predict: [train]
"""
FILES = RAW.replace("last.csv", "[a.csv.gz, b.txt]").replace("Zeit\n", "[Datum, Zeit]\n  group: file\n").replace(
    "scaling", 'csv: {missing: ["?"]}\n  missing: drop\n  scaling'
)  # fmt: skip
LABELS = """
data: {train: runs.csv, sequence: {by: run}, features: [x, on], target: kind}
model: {layers: [LSTM: {units: 4}, Dense: {units: 2, activation: softmax}]}
training: {loss: sparse_categorical_crossentropy, epochs: 2, batch_size: 8, shuffle: false, seed: 3}
predict: [train]
"""


def moments(rows: int) -> Any:
    return pd.date_range("2021-01-30 20:00", periods=rows, freq="h")


def values(rows: int, seed: int) -> Any:
    return np.random.default_rng(seed).normal(1500, 400, rows).round(2)


def german(frame: Any, **more: Any) -> str:
    """As a spreadsheet exports it."""
    text: str = frame.to_csv(sep=";", decimal=",", index=False, **more)
    return text


def by_keras(x: Any, y: Any, units: int, activation: str | None, loss: str, batch_size: int) -> Any:
    """Predictions of a model that Keras alone has trained."""
    import keras

    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input(x.shape[1:]), keras.layers.LSTM(4), keras.layers.Dense(units, activation=activation)]
    )
    model.compile(optimizer="adam", loss=loss)
    model.fit(x, y, epochs=2, batch_size=batch_size, shuffle=False, verbose=0)
    return model.predict(x, verbose=0)


def windows(series: Any) -> tuple[Any, Any]:
    x = np.stack([series[first : first + LENGTH] for first in range(len(series) - LENGTH)])
    return x[..., None].astype(np.float32), series[LENGTH:].astype(np.float32)


def forecasts(ran: Ran, parts: list[Any]) -> tuple[Any, Any]:
    """Those of gpujobs, and those of Keras for series that pandas has read, in the same units."""
    known = np.concatenate(parts)
    mean, deviation = known.mean(), known.std()
    pairs = [windows((part - mean) / deviation) for part in parts if len(part) > LENGTH]
    x, y = (np.concatenate(one) for one in zip(*pairs, strict=True))
    return ran.predictions()["y_pred"].reshape(-1), by_keras(x, y, 1, None, "mse", 16).reshape(
        -1
    ) * deviation + mean


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_raw_export_trains_unrewritten_as_pandas_and_keras_do(launcher: Launched) -> None:
    """Semicolons, decimal commas, a byte order mark and days first: without a line of data.csv."""
    frame = pd.DataFrame({"Zeit": moments(90), "Last": values(90, 0)})
    text = "\ufeff" + german(frame, date_format="%d.%m.%Y %H:%M")
    ran = run(launcher, RAW, {"last.csv": text})
    read = pd.read_csv(io.StringIO(text.removeprefix("\ufeff")), sep=";", decimal=",")
    close(*forecasts(ran, [read["Last"].to_numpy()]))
    assert "last.csv: read as: separator ;, decimal comma, times as %d.%m.%Y %H:%M." in ran.log


def test_files_as_series_with_holes_train_as_pandas_and_keras_do(launcher: Launched) -> None:
    """Two files, one of them packed, with a date and a time, and question marks for what is missing."""
    frames = {}
    for number, name in enumerate(["a.csv.gz", "b.txt"]):
        when = moments(50)
        frames[name] = pd.DataFrame(
            {"Datum": when.strftime("%d.%m.%Y"), "Zeit": when.strftime("%H:%M"), "Last": values(50, number)}
        )
        frames[name].loc[20 + number, "Last"] = np.nan
    files = {name: german(frame, na_rep="?") for name, frame in frames.items()}
    packed = {"a.csv.gz": gzipped(files["a.csv.gz"]), "b.txt": files["b.txt"]}
    ran = run(launcher, FILES, packed)
    parts = []
    for text in files.values():
        series = pd.read_csv(io.StringIO(text), sep=";", decimal=",", na_values="?")["Last"].to_numpy()
        (hole,) = np.flatnonzero(np.isnan(series))
        parts += [series[:hole], series[hole + 1 :]]
    close(*forecasts(ran, parts))
    assert set(ran.predictions()["group"].tolist()) == {"a.csv.gz", "b.txt"}


def gzipped(text: str) -> bytes:
    import gzip

    return gzip.compress(text.encode())


def test_truths_and_labels_train_as_pandas_and_keras_do(launcher: Launched) -> None:
    """Python's truths as a feature, and classes whose names look like nothing."""
    random = np.random.default_rng(1)
    frame = pd.DataFrame(
        {"run": np.repeat(np.arange(24), LENGTH), "x": random.normal(size=24 * LENGTH).round(3)}
    )
    frame["on"] = frame["x"] > 0.5
    frame["kind"] = np.where(frame["run"] % 3 == 0, "NA", "none")
    frame["run"] = "r" + frame["run"].astype(str).str.zfill(2)
    text = frame.to_csv(index=False)
    ran = run(launcher, LABELS, {"runs.csv": text})
    read = pd.read_csv(io.StringIO(text), keep_default_na=False)
    x = read[["x", "on"]].astype("float32").to_numpy().reshape(24, LENGTH, 2)
    codes = (read["kind"].to_numpy().reshape(24, LENGTH)[:, 0] == "none").astype(int)
    expected = by_keras(x, codes, 2, "softmax", "sparse_categorical_crossentropy", 8)
    close(ran.predictions()["y_pred"], expected)
    assert set(ran.predictions()["y_class"].tolist()) <= {"NA", "none"}
