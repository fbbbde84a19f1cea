"""How good the model is, beside a forecast that anybody could make without one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpujobs.trainer import prediction
from gpujobs.trainer.data import Part, Preprocessing, Samples
from gpujobs.trainer.data.arrays import Integers
from gpujobs.trainer.data.fitting.counted import labels
from gpujobs.trainer.data.memory import pieces
from gpujobs.trainer.data.samples.windowed import Windowed, two

Figures = dict[str, float]
CHUNK_BYTES = 1 << 16
RARE_SHARE = 0.5
MAX_CLASSES, MAX_STEPS = 50, 500
LINES = 10
"""Of classes, targets or steps ahead that are said of one output."""


def evaluate(
    predicted: Mapping[str, NDArray[Any]],
    constant: NDArray[Any],
    forecasts: Mapping[str, Any],
    targets: Sequence[str] = (),
    *,
    is_forecast: bool = False,
    is_labelling: bool = False,
) -> dict[str, Any]:
    """The model and naive forecasts of one output, in the data's own units. `predicted`: its arrays of
    predictions.npz, with y_true.

    `constant`: what the training part makes one say always. `forecasts`: others by name, of y_true's shape.
    `targets`: what numbers are called. `is_forecast`: whether their steps are steps ahead. `is_labelling`: whether
    classes are those of steps, not several labels of a sample. Where classes are rare, balanced accuracy says which is
    better.
    """
    is_class = "y_class" in predicted
    truth, there = predicted["y_true"], prediction.counts(predicted, predicted["y_true"])
    answer = predicted["y_class" if is_class else "y_pred"]
    is_each = is_class and not is_labelling and truth.ndim > 1
    figures = label_figures if is_each else class_figures if is_class else number_figures
    naive = {}
    for name, forecast in forecasts.items():
        known = np.where(np.isnan(forecast), constant, forecast).reshape(truth.shape)
        naive[name] = figures(truth[there], known[there])
    always = everywhere(constant, truth)
    naive["majority class" if is_class else "mean"] = figures(truth[there], always[there])
    model = figures(truth[there], answer[there])
    names = predicted.get("classes")
    rare = _rare_label(truth[there], names) if is_each else _rare(truth[there]) if is_class else None
    classes = [one[there].reshape(-1) if is_labelling else one[there] for one in (truth, answer)]
    key, sign = ("accuracy" if rare is None else "balanced_accuracy", 1.0) if is_class else ("mae", -1.0)
    best = max(naive, key=lambda name: sign * naive[name][key])
    more = (
        {"rare": rare, **by_class(classes[0], classes[1], names)}
        if is_class
        else {"unit": "the data's own", **by_column(truth, answer, there, targets, is_forecast=is_forecast)}
    )
    return {
        "model": model,
        "baselines": naive,
        "metric": key,
        "best_baseline": best,
        "better_than_baseline": bool(sign * model[key] > sign * naive[best][key]),
        "counted": int(there.sum()),
        **more,
    }


def everywhere(constant: NDArray[Any], truth: NDArray[Any]) -> NDArray[Any]:
    """Of truth's shape: a constant for all of a sample, or one for each of its values."""
    one = np.asarray(constant)
    if one.size > 1 and one.size == truth[:1].size:
        one = one.reshape(truth.shape[1:])
    return np.broadcast_to(one, truth.shape)


def class_figures(truth: NDArray[Any], predicted: NDArray[Any]) -> Figures:
    """accuracy; balanced_accuracy: the mean over the classes that are there of the share that is found; macro_f1:
    the mean over all classes, expected or predicted, of F1 (of one that is never found 0), as scikit-learn has them.
    """
    truth, predicted = truth.reshape(-1), predicted.reshape(-1)
    right = truth == predicted
    recalls = [right[truth == label].mean() for label in np.unique(truth)]
    f1 = [_one_class(truth, predicted, label)["f1"] for label in _labels_of(truth, predicted)]
    return {
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean(recalls)),
        "macro_f1": float(np.mean(f1)),
    }


def label_figures(truth: NDArray[Any], predicted: NDArray[Any]) -> Figures:
    """Of labels, shape (..., labels), each 0 or 1: accuracy, the share that is right; balanced_accuracy, the mean over
    the labels of theirs; macro_f1, the mean over the labels of F1 of 1, as scikit-learn's `f1_score` has it."""
    count = truth.shape[-1]
    each = list(zip(truth.reshape(-1, count).T, predicted.reshape(-1, count).T, strict=True))
    return {
        "accuracy": float((truth == predicted).mean()),
        "balanced_accuracy": float(np.mean([class_figures(*one)["balanced_accuracy"] for one in each])),
        "macro_f1": float(np.mean([_one_class(*one, 1)["f1"] for one in each])),
    }


def _labels_of(truth: NDArray[Any], predicted: NDArray[Any]) -> NDArray[Any]:
    return np.unique(np.concatenate([np.unique(truth), np.unique(predicted)]))


def _one_class(truth: NDArray[Any], predicted: NDArray[Any], label: Any) -> dict[str, Any]:
    """`precision`, `recall`, `f1`: 0 where there is nothing to divide by; `support`: how many there are."""
    hits = int(((truth == label) & (predicted == label)).sum())
    support, said = int((truth == label).sum()), int((predicted == label).sum())
    return {
        "precision": hits / said if said else 0.0,
        "recall": hits / support if support else 0.0,
        "f1": 2 * hits / (support + said) if support + said else 0.0,
        "support": support,
    }


def _rare(truth: NDArray[Any]) -> dict[str, Any] | None:
    """The rarest of the classes that are there, where it has less than half of an even share; None elsewhere."""
    found, counts = np.unique(truth, return_counts=True)
    least = int(counts.argmin())
    if len(found) < 2 or counts[least] >= RARE_SHARE * counts.sum() / len(found):
        return None
    return {"class": found[least].item(), "samples": int(counts[least]), "of": int(counts.sum())}


def _rare_label(truth: NDArray[Any], names: NDArray[np.str_] | None) -> dict[str, Any] | None:
    """As `_rare`, of the label that the fewest have, or lack (`value` 0)."""
    each = truth.reshape(-1, truth.shape[-1])
    found = [
        (one["samples"], number, one) for number, one in enumerate(map(_rare, each.T)) if one is not None
    ]
    if not found:
        return None
    _, number, rarest = min(found, key=lambda one: one[:2])
    return {**rarest, "class": number if names is None else names[number].item(), "value": rarest["class"]}


def by_class(truth: NDArray[Any], predicted: NDArray[Any], names: NDArray[np.str_] | None) -> dict[str, Any]:
    """`classes`: figures of each; `confusion`: how many of each class (a row) were taken for each (a column), both
    of the most frequent MAX_CLASSES. Of multi-label each label has its figures, and there is no confusion."""
    if truth.ndim > 1:
        count = truth.shape[-1]
        labels = range(count) if names is None else names.tolist()
        each = [_one_class(truth[..., n], predicted[..., n], 1) for n in range(count)][:MAX_CLASSES]
        return {"classes": [{"class": label, **one} for label, one in zip(labels, each, strict=False)]}
    labels, counts = np.unique(np.concatenate([truth, predicted]), return_counts=True)
    if names is not None and len(names) <= MAX_CLASSES:
        labels = names
    elif len(labels) > MAX_CLASSES:
        labels = np.sort(labels[np.argsort(-counts, kind="stable")[:MAX_CLASSES]])
    found = [{"class": label.item(), **_one_class(truth, predicted, label)} for label in labels]
    matrix = [
        [int(((truth == one) & (predicted == other)).sum()) for other in labels] for one in labels
    ]  # fmt: skip
    return {"classes": found, "confusion": {"classes": [one.item() for one in labels], "matrix": matrix}}


def number_figures(truth: NDArray[np.float64], predicted: NDArray[np.float64]) -> Figures:
    """mae and rmse, in the target's units."""
    error = (predicted - truth).astype(np.float64)
    return {"mae": float(np.abs(error).mean()), "rmse": float(np.sqrt(np.square(error).mean()))}


def by_column(
    truth: NDArray[np.float64],
    predicted: NDArray[np.float64],
    there: NDArray[np.bool_],
    names: Sequence[str],
    *,
    is_forecast: bool,
) -> dict[str, Any]:
    """`targets`: the figures of each column that has a name, and `steps`: of each step ahead, where there are several.
    Both are axes of truth, shape (samples, columns), or (samples, steps ahead, columns)."""
    found: dict[str, Any] = {}
    count = truth.shape[-1] if truth.ndim > there.ndim else 1
    if names and count == len(names):
        one, other = (values[there].reshape(int(there.sum()), -1, count) for values in (truth, predicted))
        found["targets"] = [
            {"target": name, **number_figures(one[..., n], other[..., n])}
            for n, name in enumerate(names[:MAX_CLASSES])
        ]
    if is_forecast and truth.ndim == 3:
        found["steps"] = [
            {"step": step + 1, **number_figures(truth[there, step], predicted[there, step])}
            for step in range(min(truth.shape[1], MAX_STEPS))
        ]
    return found


def constant(train: Part, target: str, task: str, learned: Preprocessing) -> Any:
    """What always to say, in the user's terms: the most frequent class, of multi-label each label's more frequent
    value; of numbers the mean. Of what counts."""
    samples = train.truth
    if task not in ("classification", "labelling"):
        mean = _mean(samples, target)
        return (mean > 0.5).astype(np.int64) if task == "multilabel" else mean
    found, counts = np.unique(labels(samples, target, task), return_counts=True)
    most = found[counts.argmax()].astype(np.int64)
    return learned.classes[target].decode(most) if target in learned.classes else most


def _mean(samples: Samples, target: str) -> NDArray[np.float64]:
    """Of each value of a sample; of steps, where not all count, over all that do."""
    rows, counted = samples.targets[target], samples.counted.get(target)
    total, count = np.zeros(()), 0
    for some in pieces(0, len(samples), CHUNK_BYTES):
        numbers = samples.at(np.arange(some.start, some.stop))
        y = rows.take(numbers)
        y = y if counted is None else y[counted.take(numbers)]
        total, count = total + y.sum(axis=0, dtype=np.float64), count + len(y)
    return total / count


def series_forecasts(windowed: Windowed, target: str, season: int | None) -> dict[str, NDArray[np.float32]]:
    """The last value seen, and the one a season before, for each step ahead: shape (samples, horizon, columns).

    Where the series has no value just a season before, the last value seen stands for it; NaN where none was seen."""
    first, end = windowed.target
    if first == 0:
        return {}
    y, columns = _series(windowed, target)
    samples = windowed.samples
    starts = windowed.index.starts(samples.at(np.arange(len(samples))))
    shown = min(first, windowed.span) - 1
    last = starts[:, None] + np.full(end - first, shown)
    seen = _last_seen(windowed, y, columns, last)
    found = {"last value": seen}
    if season:
        ahead = first - shown + np.arange(end - first)
        rows = starts[:, None] + shown + ahead
        before = windowed.before(rows, season * (1 + (ahead - 1) // season))
        values = y[np.maximum(before, 0)][..., columns]
        absent = np.broadcast_to((before < 0)[..., None], values.shape) | np.isnan(values)
        if windowed.holes is not None and windowed.raw.y_columns is not None:
            absent = absent | windowed.holes[np.maximum(before, 0)][..., None]
        found["a season before"] = np.where(absent, seen, values)
    return found


def _last_seen(windowed: Windowed, y: Any, columns: Any, rows: Integers) -> NDArray[np.float32]:
    """The last value of each column at or before these rows in their series; NaN where there is none. Where `y` is part
    of the input, what is missing has been filled: before the first value by the first, which nobody had seen."""
    values: NDArray[np.float32] = y[rows][..., columns]
    if windowed.holes is None:
        return values
    begins = windowed.series[np.searchsorted(windowed.series[:, 0], rows, side="right") - 1, 0]
    there = ~windowed.holes[:, None] if windowed.raw.y_columns is not None else ~np.isnan(y)
    known = np.maximum.accumulate(np.where(there, np.arange(len(y))[:, None], -1), axis=0)[rows]
    if windowed.raw.y_columns is None:
        values = np.take_along_axis(y, np.maximum(known, 0).reshape(-1, y.shape[1]), axis=0).reshape(
            values.shape
        )
    return np.where(known < begins[..., None], np.float32(np.nan), values)


def _series(windowed: Windowed, target: str) -> tuple[Any, Any]:
    """The table with the target, and its columns there."""
    if windowed.raw.y_columns is None:
        return two(windowed.raw.targets[target]), slice(None)
    ((_, table),) = windowed.raw.inputs.items()
    return table, list(windowed.raw.y_columns)


def describe(evaluated: Mapping[str, Any]) -> list[str]:
    """For each output: `accuracy 0.93 on the test part, better than majority class: 0.6 ...`, and lines of parts."""
    part, samples = str(evaluated["part"]), int(evaluated["samples"])
    if "outputs" not in evaluated:
        return list(_described("", part, samples, evaluated))
    outputs = evaluated["outputs"].items()
    return [line for name, one in outputs for line in _described(f"{name}: ", part, samples, one)]


def _described(head: str, part: str, samples: int, evaluated: Mapping[str, Any]) -> Iterator[str]:
    key, model, naive = evaluated["metric"], evaluated["model"], dict(evaluated["baselines"])
    best = evaluated["best_baseline"]
    verdict = "better than" if evaluated["better_than_baseline"] else "NOT better than"
    told = f"{verdict} {best}: {naive.pop(best)[key]:.4g}"
    others = ", ".join(f"{name}: {figures[key]:.4g}" for name, figures in naive.items())
    more = ", ".join(f"{name} {value:.4g}" for name, value in model.items() if name != key)
    yield (
        f"{head}{key} {model[key]:.4g} on the {part} part, {told}{f' ({others})' if others else ''}; {more}, "
        f"{samples} samples{_note(evaluated)}"
    )
    if evaluated.get("rare") or 2 < len(evaluated.get("classes", ())) <= LINES:
        for one in evaluated["classes"][:LINES]:
            figures = ", ".join(f"{name} {one[name]:.4g}" for name in ("precision", "recall", "f1"))
            kind = "class" if "confusion" in evaluated else "label"
            yield f"  {kind} {one['class']}: {figures} ({one['support']} there)"
    for kind, said in (("targets", "{target}"), ("steps", "{step} ahead")):
        parts = evaluated.get(kind) or []
        for one in _some(parts) if len(parts) > 1 else ():
            yield f"  {said.format(**one)}: mae {one['mae']:.4g}, rmse {one['rmse']:.4g}"


def _note(evaluated: Mapping[str, Any]) -> str:
    rare = evaluated.get("rare")
    if rare and "value" in rare:
        verb = "have" if rare["value"] else "lack"
        return (
            f". Of {rare['of']} only {rare['samples']} {verb} the label {rare['class']}, so balanced accuracy decides: "
            "the mean, over the labels, of the shares that are found of those that have one and of those that lack it"
        )
    if rare:
        return (
            f". Class {rare['class']} is rare ({rare['samples']} of {rare['of']}), so balanced accuracy decides: "
            "the mean over the classes of the share that is found"
        )
    names = ", ".join(one["target"] for one in evaluated.get("targets") or ())
    return f", in the units of {names or 'the target'} as in the data" if "unit" in evaluated else ""


def _some(parts: Sequence[Any]) -> Sequence[Any]:
    """All of a few, else the first, some between, and the last."""
    if len(parts) <= LINES:
        return parts
    return [parts[n * (len(parts) - 1) // (LINES - 1)] for n in range(LINES)]
