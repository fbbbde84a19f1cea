"""How good the model is, beside a forecast that anybody could make without one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpujobs.trainer.data import Part, Preprocessing, Samples, classes
from gpujobs.trainer.data.rows import RaggedRows, WindowRows
from gpujobs.trainer.data.windowed import Windowed

Figures = dict[str, float]


def evaluate(
    part: str, predicted: Mapping[str, Any], task: str, train_y: Any, baselines: Mapping[str, Any]
) -> dict[str, Any]:
    """`predicted`: the arrays of predictions.npz, with y_true. `train_y`: what the training part expects.

    `baselines`: forecasts of the shape of y_true by name, beside those that need no more than train_y.
    """
    classes = "y_class" in predicted
    truth = predicted["y_true"]
    figures = class_figures if classes else number_figures
    weights = _there(predicted, truth)
    model = figures(truth, predicted["y_class" if classes else "y_pred"], weights)
    naive = {name: figures(truth, forecast, weights) for name, forecast in baselines.items()}
    constant, what = (majority(train_y, task), "majority class") if classes else (_mean(train_y), "mean")
    naive[what] = figures(truth, np.broadcast_to(constant, truth.shape), weights)
    key, sign = ("accuracy", 1.0) if classes else ("mae", -1.0)
    best = max(naive, key=lambda name: sign * naive[name][key])
    return {
        "part": part,
        "samples": len(truth),
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


def majority(train_y: Any, task: str) -> Any:
    """The most frequent class; of multi-label each label's more frequent value."""
    if task == "multilabel":
        return (train_y.mean(axis=0) > 0.5).astype(np.int64)
    labels, counts = np.unique(train_y, return_counts=True)
    return labels[counts.argmax()]


def _mean(train_y: Any) -> Any:
    return np.asarray(train_y, np.float64).mean(axis=0)


def series_baselines(windowed: Windowed, samples: Samples, season: int | None) -> dict[str, Any]:
    """Last value, and the value a season before, of each step ahead; shape (samples, horizon, columns)."""
    first, end = windowed.target
    if windowed.raw.y_columns is None:
        ((_, y),) = windowed.raw.targets.items()
        columns = None
    else:
        ((_, y),) = windowed.raw.inputs.items()
        columns = windowed.raw.y_columns
    y = y if y.ndim == 2 else y.reshape(len(y), -1)
    numbers = samples.at(np.arange(len(samples)))

    def taken(offset: int, length: int) -> Any:
        return WindowRows(y, columns, windowed.index, offset, length).take(numbers)

    last = np.repeat(taken(first - 1, 1), end - first, axis=1)
    found = {"last value": last}
    if season and season <= first:
        steps = [first + step - season * (1 + step // season) for step in range(end - first)]
        found["a season before"] = np.concatenate([taken(step, 1) for step in steps], axis=1)
    return found


def squeezed(found: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    return {name: forecast.reshape(shape) for name, forecast in found.items()}


def train_targets(train: Part, learned: Preprocessing, predicted: Mapping[str, Any]) -> Any:
    """What the training part expects, in the terms and of the row shape of `predicted`."""
    samples = train.truth
    ((name, rows),) = samples.targets.items()
    if isinstance(rows, RaggedRows):
        chosen = samples.at(np.arange(len(samples)))
        y = np.concatenate([rows.values[rows.begins[n] : rows.begins[n] + rows.lengths[n]] for n in chosen])
    else:
        y = samples.target(name)
    if "y_class" not in predicted:
        return y.reshape(len(y), *predicted["y_true"].shape[1:])
    if classes.is_one_hot(y) and y.ndim > predicted["y_true"].ndim:
        y = y.argmax(axis=-1)
    elif y.ndim > predicted["y_true"].ndim:
        y = y.reshape(y.shape[:-1])
    known = learned.classes.get(name)
    is_multilabel = learned.task == "multilabel"
    return known.decode(y.astype(np.int64)) if known is not None and not is_multilabel else y


def describe(evaluated: Mapping[str, Any]) -> str:
    """One line: `On the test part (120 samples): accuracy 0.93; majority class 0.41`."""
    key = evaluated["metric"]
    others = ", ".join(f"{name} {figures[key]:.4g}" for name, figures in evaluated["baselines"].items())
    verdict = "better" if evaluated["better_than_baseline"] else "NOT better"
    return (
        f"On the {evaluated['part']} part ({evaluated['samples']} samples): {key} {evaluated['model'][key]:.4g}, "
        f"{verdict} than naive forecasts ({others})"
    )
