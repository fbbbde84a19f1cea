"""Layers, loss, metrics and what watches them: what does not fit together, as far as the job file alone tells."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gpujobs.jobfile.consistency import Found, implied_task, layers_of, outputs_of
from gpujobs.jobfile.keras_names import catalogue, nearest
from gpujobs.jobfile.losses import is_for_classes, kind
from gpujobs.jobfile.reader import Path, dotted
from gpujobs.metric_names import snake_case

RETURNING_LAST = ("LSTM", "GRU", "SimpleRNN")
OVER_STEPS = (*RETURNING_LAST, "Bidirectional", "TimeDistributed", "Conv1D", "SeparableConv1D", "DepthwiseConv1D",
              "MaxPooling1D", "AveragePooling1D", "GlobalMaxPooling1D", "GlobalAveragePooling1D")  # fmt: skip
KEEPING = ("Dense", "Dropout", "Activation", "BatchNormalization", "LayerNormalization", "ReLU", "LeakyReLU",
           "ELU", "PReLU", "Softmax", "GaussianNoise", "GaussianDropout", "AlphaDropout",
           "ActivityRegularization", "UnitNormalization")  # fmt: skip

AVERAGING = {"F1Score": "average", "FBetaScore": "average", "R2Score": "class_aggregation"}
"""What makes one number of the classes' own: where it is None, such a metric has one for each class."""


UNUSABLE = {
    "ctc": "which compares sequences of labels that are shorter than the steps, and job files cannot say such ones; "
    "expected sparse_categorical_crossentropy with a label for each step (task: labelling)",
    "circle": "which makes embeddings and tells no class; expected sparse_categorical_crossentropy",
}
"""By the kind of the loss: why a job file cannot use it, and what it can."""


def training_checks(job: dict[str, Any]) -> Found:
    checks = (_sequences, _directions, _usable, _units, _task, _metrics, _monitors, _class_weight, _schedule)
    return [problem for check in checks for problem in check(job)]


def _sequences(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """A layer that reads steps needs one before it that returns them."""
    for where, layers in _chains(job):
        last: Path | None = None  # the layer that returned its last step only
        for index, layer in enumerate(layers):
            ((kind, arguments),) = layer.items()
            path = (*where, index, kind)
            if last is not None and kind in OVER_STEPS:
                yield (
                    path,
                    f"{dotted(path)} reads a sequence, and {dotted(last)} before it returns one step only; expected "
                    "return_sequences: true there",
                )
            if _returns_last(kind, arguments):
                last = path
            elif kind not in KEEPING:
                last = None


def _directions(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Keras takes the width of the forward layer for that of both."""
    for path, layer, arguments in layers_of(job):
        if layer != "Bidirectional" or not isinstance(arguments.get("backward_layer"), dict):
            continue
        ((_, forward),) = arguments["layer"].items()
        ((backward, own),) = arguments["backward_layer"].items()
        for key in ("units", "filters"):
            if key in own and key in forward and own[key] != forward[key]:
                at = (*path, "backward_layer", backward, key)
                yield (
                    at,
                    f"{dotted(at)} is {own[key]}, and those of layer are {forward[key]}, which Keras takes for both; "
                    "expected the same",
                )


def _chains(job: Mapping[str, Any]) -> Iterator[tuple[Path, list[Any]]]:
    yield ("model", "layers"), job["model"]["layers"] or []
    for name, branch in (job["model"]["branches"] or {}).items():
        yield ("model", "branches", name, "layers"), branch["layers"]


def _returns_last(kind: str, arguments: Mapping[str, Any]) -> bool:
    if kind == "Bidirectional" and isinstance(arguments.get("layer"), dict):
        ((kind, arguments),) = arguments["layer"].items()
    return kind in RETURNING_LAST and not arguments.get("return_sequences")


def _last_units(job: Mapping[str, Any]) -> tuple[Path, int] | None:
    """Of the only output; None where its last layer does not tell."""
    outputs = outputs_of(job)
    if len(outputs) > 1:
        return None
    where: Path = ("model", "branches", outputs[0], "layers") if outputs else ("model", "layers")
    layers = job["model"]["branches"][outputs[0]]["layers"] if outputs else job["model"]["layers"]
    if not layers or "Dense" not in layers[-1]:
        return None
    return (*where, len(layers) - 1, "Dense"), int(layers[-1]["Dense"]["units"])


def _task_of(job: Mapping[str, Any]) -> str | None:
    return job["task"] or implied_task(job)


def _usable(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Losses that Keras has, and that nothing here can give what they compare."""
    loss, outputs = job["training"]["loss"], outputs_of(job)
    for name, one in ((name, loss.get(name)) for name in outputs) if outputs[1:] else (("", loss),):
        why = UNUSABLE.get(kind(one)) if one is not None else None
        if why is not None:
            where: Path = ("training", "loss", *([name] if name else []))
            yield where, f"{dotted(where)} is {one if isinstance(one, str) else next(iter(one))}, {why}"


def _units(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    names, found, task = job["data"]["classes"], _last_units(job), _task_of(job)
    if not names or found is None or task not in ("classification", "labelling", "multilabel"):
        return
    path, units = found
    if units == len(names) or (units == 1 and len(names) == 2 and task != "multilabel"):
        return
    yield (
        (*path, "units"),
        f"{dotted(path)} has {units} unit{'s' if units > 1 else ''}, and data.classes {len(names)} names; expected as "
        "many",
    )


def _task(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    task, loss = job["task"], job["training"]["loss"]
    if task is None or outputs_of(job)[1:]:
        return
    name = loss if isinstance(loss, str) else next(iter(loss))
    if task in ("regression", "forecasting") and is_for_classes(loss):
        yield (
            ("training", "loss"),
            f"training.loss is {name}, which is for classes, and the task is {task}; expected mse or mae",
        )
    if task == "multilabel" and ("categorical" in name.lower()):
        yield (
            ("training", "loss"),
            f"training.loss is {name}, which is for one class of several, and the task is multilabel; expected "
            "binary_crossentropy",
        )


def _metrics(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Sparse metrics are for labels that are numbers, as a sparse loss has them; all others for one-hot rows."""
    if outputs_of(job)[1:] or _task_of(job) not in ("classification", "labelling"):
        return
    is_sparse = _key(job["training"]["loss"]).startswith("sparse")
    for index, metric in enumerate(job["training"]["metrics"]):
        name = _key(metric)
        if name in ("accuracy", "acc") or name.startswith("sparse") == is_sparse:
            continue
        written = metric if isinstance(metric, str) else next(iter(metric))
        instead = "categorical_crossentropy" if is_sparse else "sparse_categorical_crossentropy"
        yield (
            ("training", "metrics", index),
            f"training.metrics[{index}] is {written}, which does not fit a loss with "
            f"{'sparse' if is_sparse else 'one-hot'} labels; expected accuracy, or loss: {instead}",
        )


def _key(entry: Any) -> str:
    """A metric's or loss's name in snake case, whichever way it is written."""
    name = entry if isinstance(entry, str) else next(iter(entry))
    return snake_case(catalogue()["metrics"]["ids"].get(name, name))


def known_metrics(job: Mapping[str, Any]) -> list[str]:
    """The columns of history.csv but for the epoch, without those of the validation part. `#` stands for the
    number of a class."""
    names = [_shown(metric) for metric in job["training"]["metrics"]]
    outputs = outputs_of(job)
    if len(outputs) < 2:
        return ["loss", *names]
    return ["loss", *(f"{output}_{name}" for output in outputs for name in ("loss", *names))]


def _shown(metric: Any) -> str:
    """What Keras calls a metric: the name as it was written, or that of an object."""
    kind, arguments = (metric, {}) if isinstance(metric, str) else next(iter(metric.items()))
    name = kind if isinstance(metric, str) else str((arguments or {}).get("name") or snake_case(kind))
    return f"{name}_#" if _is_of_classes(kind, arguments or {}) else name


def _is_of_classes(kind: str, arguments: Mapping[str, Any]) -> bool:
    """Whether it has a value for each class."""
    named = catalogue()["metrics"]
    kind = named["ids"].get(kind, kind)
    key = AVERAGING.get(kind)
    return key is not None and arguments.get(key, named["classes"][kind][key]["default"]) is None


def _monitors(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    known = known_metrics(job)
    for key in ("early_stopping", "reduce_lr_on_plateau", "best_weights"):
        settings = job["training"][key]
        if settings is None:
            continue
        monitor = settings["monitor"]
        name = monitor.removeprefix("val_")
        if name in known or re.sub(r"_\d+$", "_#", name) in known:
            continue
        every = [*known, *(f"val_{name}" for name in known)]
        hint = nearest(monitor, every) or f"; expected any of {', '.join(every)}"
        if f"{name}_#" in known:
            hint = f"; it has a value for each class: expected {monitor}_0, say, or its average: macro"
        yield (
            ("training", key, "monitor"),
            f"training.{key}.monitor is {monitor}, which this training does not compute{hint}",
        )


def _class_weight(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    weights, task = job["training"]["class_weight"], _task_of(job)
    if weights is None:
        return
    where: Path = ("training", "class_weight")
    if task not in ("classification", "labelling"):
        what = "there are several outputs" if task is None else f"the task is {task}"
        yield where, f"training.class_weight is given, and {what}; expected a classification with one output"
        return
    names, units = job["data"]["classes"], _last_units(job)
    for name in weights if isinstance(weights, dict) else ():
        if names is not None and str(name) not in map(str, names):
            hint = nearest(str(name), map(str, names)) or f"; expected any of {', '.join(map(str, names))}"
            yield (*where, name), f"training.class_weight: {name} is not in data.classes{hint}"
        if weights[name] < 0:
            yield (
                (*where, name),
                f"training.class_weight.{name} is {weights[name]}; expected a number of at least 0",
            )
    if names is None and units is not None and isinstance(weights, dict):
        for name in weights:
            if str(name).isdecimal() and int(name) >= max(units[1], 2):
                message = f"training.class_weight: {name} is no class; expected 0 to {max(units[1], 2) - 1}"
                yield (*where, name), message


def _schedule(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    ((_, arguments),) = job["training"]["optimizer"].items()
    if job["training"]["reduce_lr_on_plateau"] and isinstance(arguments.get("learning_rate"), dict):
        yield (
            ("training", "reduce_lr_on_plateau"),
            "training.reduce_lr_on_plateau is given, and the optimizer's learning_rate is a schedule, which nothing "
            "else can set; expected one of them",
        )
