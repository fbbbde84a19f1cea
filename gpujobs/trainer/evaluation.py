"""How good the model is, beside a forecast that anybody could make without one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gpujobs.trainer.data import Part, Preprocessing, Samples, classes
from gpujobs.trainer.data.memory import pieces
from gpujobs.trainer.data.rows import RaggedRows, Rows
from gpujobs.trainer.data.windowed import Windowed, two

Figures = dict[str, float]
CHUNK_BYTES = 1 << 16


def evaluate(predicted: Mapping[str, Any], constant: Any, forecasts: Mapping[str, Any]) -> dict[str, Any]:
    """The model and naive forecasts of one output. `predicted`: its arrays of predictions.npz, with y_true.

    `constant`: what the training part makes one say always. `forecasts`: others by name, of y_true's shape.
    """
    is_class = "y_class" in predicted
    truth = predicted["y_true"]
    figures = class_figures if is_class else number_figures
    weights = _there(predicted, truth)
    model = figures(truth, predicted["y_class" if is_class else "y_pred"], weights)
    naive = {}
    for name, forecast in forecasts.items():
        known = np.where(np.isnan(forecast), constant, forecast).reshape(truth.shape)
        naive[name] = figures(truth, known, weights)
    always = "majority class" if is_class else "mean"
    naive[always] = figures(truth, np.broadcast_to(constant, truth.shape), weights)
    key, sign = ("accuracy", 1.0) if is_class else ("mae", -1.0)
    best = max(naive, key=lambda name: sign * naive[name][key])
    return {
        "model": model,
        "baselines": naive,
        "metric": key,
        "best_baseline": best,
        "better_than_baseline": bool(sign * model[key] > sign * naive[best][key]),
    }


def _there(predicted: Mapping[str, Any], truth: Any) -> Any:
    """bool of the shape of truth: False at the padding of sequences with a label per step."""
    if "lengths" not in predicted or truth.ndim < 2:
        return np.ones(truth.shape, bool)
    steps = np.arange(truth.shape[1]) < predicted["lengths"][:, None]
    return np.broadcast_to(steps.reshape(steps.shape + (1,) * (truth.ndim - 2)), truth.shape)


def class_figures(truth: Any, predicted: Any, weights: Any) -> Figures:
    """accuracy, and balanced_accuracy: the mean over the classes of the share that is found."""
    right, truth = (truth == predicted)[weights], truth[weights]
    recalls = [right[truth == label].mean() for label in np.unique(truth)]
    return {"accuracy": float(right.mean()), "balanced_accuracy": float(np.mean(recalls))}


def number_figures(truth: Any, predicted: Any, weights: Any) -> Figures:
    """mae and rmse, in the target's units."""
    error = (predicted - truth)[weights].astype(np.float64)
    return {"mae": float(np.abs(error).mean()), "rmse": float(np.sqrt(np.square(error).mean()))}


def constant(train: Part, target: str, task: str, learned: Preprocessing) -> Any:
    """What always to say, in the user's terms: the most frequent class, of multi-label each label's more frequent
    value; of numbers the mean."""
    samples = train.truth
    rows = samples.targets[target]
    if task not in ("classification", "labelling"):
        mean = _mean(samples, rows)
        return (mean > 0.5).astype(np.int64) if task == "multilabel" else mean
    labels = np.concatenate([*_labels(samples, rows)])
    found, counts = np.unique(labels, return_counts=True)
    most = found[counts.argmax()].astype(np.int64)
    return learned.classes[target].decode(most) if target in learned.classes else most


def _chunks(samples: Samples, rows: Rows) -> Iterator[Any]:
    """The targets, some at a time, those of sequences' steps one after the other."""
    for some in pieces(0, len(samples), CHUNK_BYTES):
        numbers = samples.at(np.arange(some.start, some.stop))
        yield rows.values[rows.steps(numbers)] if isinstance(rows, RaggedRows) else rows.take(numbers)


def _labels(samples: Samples, rows: Rows) -> Iterator[Any]:
    for y in _chunks(samples, rows):
        yield (y.argmax(axis=-1) if classes.is_one_hot(y) else y).reshape(-1)


def _mean(samples: Samples, rows: Rows) -> Any:
    total, count = np.zeros(()), 0
    for y in _chunks(samples, rows):
        total, count = total + y.sum(axis=0, dtype=np.float64), count + len(y)
    return total / count


def series_forecasts(windowed: Windowed, target: str, season: int | None) -> dict[str, Any]:
    """The last value seen, and the one a season before, for each step ahead: shape (samples, horizon, columns).

    Where the series has no row just a season before, the last value stands for it; NaN where that is missing."""
    first, end = windowed.target
    if first == 0:
        return {}
    y, columns = _series(windowed, target)
    samples = windowed.samples
    starts = windowed.index.starts(samples.at(np.arange(len(samples))))
    shown = min(first, windowed.span) - 1
    last = starts[:, None] + np.full(end - first, shown)
    found = {"last value": y[last][..., columns]}
    if season:
        ahead: Any = first - shown + np.arange(end - first)
        rows = starts[:, None] + shown + ahead
        before = windowed.before(rows, season * (1 + (ahead - 1) // season))
        found["a season before"] = y[np.where(before < 0, last, before)][..., columns]
    return found


def _series(windowed: Windowed, target: str) -> tuple[Any, Any]:
    """The table with the target, and its columns there."""
    if windowed.raw.y_columns is None:
        return two(windowed.raw.targets[target]), slice(None)
    ((_, table),) = windowed.raw.inputs.items()
    return table, list(windowed.raw.y_columns)


def describe(evaluated: Mapping[str, Any]) -> list[str]:
    """A line for each output: `On the test part (120 samples): accuracy 0.93, better than ...`."""
    head = f"On the {evaluated['part']} part ({evaluated['samples']} samples)"
    if "outputs" not in evaluated:
        return [f"{head}: {_described(evaluated)}"]
    return [f"{head}, {name}: {_described(one)}" for name, one in evaluated["outputs"].items()]


def _described(evaluated: Mapping[str, Any]) -> str:
    key = evaluated["metric"]
    others = ", ".join(f"{name} {figures[key]:.4g}" for name, figures in evaluated["baselines"].items())
    verdict = "better" if evaluated["better_than_baseline"] else "NOT better"
    return f"{key} {evaluated['model'][key]:.4g}, {verdict} than naive forecasts ({others})"
