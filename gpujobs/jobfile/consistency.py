"""What no field can tell alone: keys that exclude or need each other, and names that refer to something."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gpujobs import formats
from gpujobs.jobfile.keras_names import among
from gpujobs.jobfile.layer_names import doubled, input_names, recurrent_names
from gpujobs.jobfile.losses import is_for_classes
from gpujobs.jobfile.reader import Path

Found = list[tuple[Path, str]]
WRAPPERS = ("Bidirectional", "TimeDistributed")
CLASS_METRICS = ("accuracy", "acc", "auc", "precision", "recall", "f1_score", "fbeta", "crossentropy", "iou",
                 "sensitivity", "specificity")  # fmt: skip


def cross_checks(job: dict[str, Any]) -> Found:
    """The problems of a job file whose fields are all valid."""
    checks = (_sources, _shape_of_data, _splits, _model, _names, _losses, _stateful, _watched, _task,
              _predictions)  # fmt: skip
    return [problem for check in checks for problem in check(job)]


def layers_of(job: Mapping[str, Any]) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    """(path, kind, arguments) of every layer, those inside of wrappers after them."""
    model = job["model"]
    chains: list[tuple[Path, list[Any]]] = [(("model", "layers"), model.get("layers") or [])]
    for name, branch in (model.get("branches") or {}).items():
        chains.append((("model", "branches", name, "layers"), branch["layers"]))
    for path, chain in chains:
        for index, layer in enumerate(chain):
            yield from _nested((*path, index), layer)


def _nested(path: Path, layer: dict[str, Any]) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    ((kind, arguments),) = layer.items()
    yield (*path, kind), kind, arguments
    inner = arguments.get("layer")
    if kind in WRAPPERS and isinstance(inner, dict):
        yield from _nested((*path, kind, "layer"), inner)


def _sources(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    for part in ("train", "validation", "test"):
        source = job["data"][part]
        if source is not None and sum(source[key] is not None for key in ("path", "files", "arrays")) != 1:
            yield ("data", part), f"data.{part} needs either path, files or arrays"


def _is_table(source: dict[str, Any]) -> bool:
    return formats.is_table((source["files"] or [source["path"] or ""])[0])


def times_of(data: Mapping[str, Any]) -> list[str]:
    """The columns that say when: none, one, or a date and a time."""
    time = data.get("time")
    return [] if time is None else time if isinstance(time, list) else [time]


def _shape_of_data(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    data = job["data"]
    if data["window"] and data["sequence"]:
        yield ("data", "sequence"), "data.window and data.sequence are both given; leave one out"
    if data["window"] and data["lengths"]:
        yield ("data", "lengths"), "data.window and data.lengths are both given; leave one out"
    if data["sequence"] and data["lengths"]:
        yield ("data", "lengths"), "data.sequence and data.lengths are both given; leave one out"
    if not _is_table(data["train"]):
        if data["sequence"]:
            yield (
                ("data", "sequence"),
                "data.sequence is for tables (.csv, .parquet); arrays use data.lengths",
            )
        return
    if not (data["window"] or data["sequence"]):
        yield (
            ("data", "train"),
            "data.train is a table; expected data.window or data.sequence, which say how its rows become "
            "sequences",
        )
    if not data["target"]:
        yield ("data", "target"), "data.target is missing; expected the column to predict"
    both = sorted(set(data["features"] or ()) & {*times_of(data), data["group"]} - {None})
    if both:
        yield ("data", "features"), f"data.features has {both[0]}, which is the time or group column"


def _splits(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    data, share = job["data"], job["training"]["validation_split"]
    split = data["split"]
    if share and data["validation"] is not None:
        message = "training.validation_split and data.validation are both given; leave one out"
        yield ("training", "validation_split"), message
    if split is None:
        return
    if share:
        message = "training.validation_split and data.split are both given; leave one out"
        yield ("training", "validation_split"), message
    for part in ("validation", "test"):
        if split[part] and data[part] is not None:
            yield ("data", "split", part), f"data.split.{part} and data.{part} are both given; leave one out"
    if split["validation"] + split["test"] >= 1:
        yield ("data", "split"), "data.split leaves nothing for training; make validation and test smaller"
    if not split["validation"] and not split["test"]:
        yield ("data", "split"), "data.split says neither validation nor test; expected one, such as 0.2"
    if split["method"] == "group" and data["group"] is None:
        yield ("data", "split", "method"), "data.split.method is group, and data.group is not given"


def _model(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    model = job["model"]
    branches = model["branches"]
    if (model["layers"] is None) == (branches is None):
        yield ("model",), "model needs either layers or branches"
        return
    inputs = input_names(job)
    if branches is None:
        if len(inputs) > 1:
            yield (
                ("model", "layers"),
                f"model.layers takes one input, and data.x has {len(inputs)}; use branches",
            )
        if model["outputs"]:
            yield ("model", "outputs"), "model.outputs is for model.branches; leave it out"
        return
    known = list(inputs)
    for name, branch in branches.items():
        if name in known:
            yield ("model", "branches", name), f"model.branches.{name} has the name of an input or branch"
        for given in branch["inputs"]:
            if given not in known:
                where: Path = ("model", "branches", name, "inputs")
                yield (
                    where,
                    f"model.branches.{name}.inputs: {given} is no input and no earlier branch"
                    + among(given, known),
                )
        if not branch["layers"] and len(branch["inputs"]) == 1:
            yield ("model", "branches", name), f"model.branches.{name} has no layers and merges nothing"
        known.append(name)
    for name in model["outputs"] or ():
        if name not in branches:
            yield ("model", "outputs"), f"model.outputs: {name} is not a branch{among(name, branches)}"


def _names(job: dict[str, Any]) -> Found:
    return [] if [*_model(job)] else [*doubled(job)]


def outputs_of(job: Mapping[str, Any]) -> list[str]:
    """The names of the model's outputs; [] where it has one that needs no name."""
    model = job["model"]
    if not model.get("branches"):
        return []
    return list(model.get("outputs") or [list(model["branches"])[-1]])


def _losses(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    outputs = outputs_of(job)
    y = job["data"]["y"]
    if len(outputs) < 2:
        if isinstance(y, dict) and len(y) > 1:
            yield ("data", "y"), f"data.y has {len(y)} outputs, and the model has one"
        return
    if not isinstance(y, dict) or set(y) != set(outputs):
        yield ("data", "y"), f"data.y must map the outputs {', '.join(outputs)} to arrays"
    if not isinstance(job["training"]["loss"], dict) or set(job["training"]["loss"]) != set(outputs):
        yield ("training", "loss"), f"training.loss must map the outputs {', '.join(outputs)} to losses"


def is_stateful(job: Mapping[str, Any]) -> bool:
    return any(arguments.get("stateful") for _, _, arguments in layers_of(job))


def _stateful(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    if not is_stateful(job):
        return
    if job["training"]["shuffle"]:
        yield (
            ("training", "shuffle"),
            "training.shuffle is true, and a stateful layer carries its states from one batch to the next; "
            "expected shuffle: false",
        )
    split = job["data"]["split"]
    if split is not None and split["method"] != "chronological":
        yield (
            ("data", "split", "method"),
            f"data.split.method is {split['method']}, which tears the series of a stateful model apart; "
            "expected chronological",
        )
    if job["training"]["steps_per_execution"] != 1:
        yield (
            ("training", "steps_per_execution"),
            "training.steps_per_execution must be 1 for a stateful model",
        )
    window = job["data"]["window"]
    if window and window["sampling_rate"] != 1:
        yield (
            ("data", "window", "sampling_rate"),
            f"data.window.sampling_rate is {window['sampling_rate']}; a stateful model reads each row once: expected 1",
        )
    if window and window["stride"] != window["length"]:
        yield (
            ("data", "window", "stride"),
            f"data.window.stride is {window['stride']}; a stateful model continues where the last window "
            f"ended: expected stride: {window['length']}, as length is",
        )
    if job["data"]["lengths"] or job["data"]["sequence"]:
        yield ("data",), "data: sequences of different length cannot train a stateful model; use windows"


def has_part(job: dict[str, Any], part: str) -> bool:
    """Whether there is a validation or test part, by file or by split."""
    data, split = job["data"], job["data"]["split"]
    by_split = bool(split and split[part])
    share = part == "validation" and bool(job["training"]["validation_split"])
    return data[part] is not None or by_split or share


def _watched(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    for key in ("early_stopping", "reduce_lr_on_plateau", "best_weights"):
        settings = job["training"][key]
        if settings and settings["monitor"].startswith("val_") and not has_part(job, "validation"):
            yield (
                ("training", key, "monitor"),
                f"training.{key} watches {settings['monitor']}, and there is no validation data; give "
                "data.split or data.validation, or monitor: loss",
            )


def _task(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    task = job["task"] or implied_task(job)
    if task not in ("regression", "forecasting"):
        return
    for index, metric in enumerate(_metric_names(job["training"]["metrics"])):
        if any(word in metric.lower() for word in CLASS_METRICS):
            yield (
                ("training", "metrics", index),
                f"training.metrics[{index}] is {metric}, which is for classes; {task} has numbers: "
                "use mae, mse or root_mean_squared_error",
            )


def implied_task(job: Mapping[str, Any]) -> str | None:
    """By the loss: classification (labelling where each step has a label), or regression (forecasting where
    windows are cut). None: several outputs."""
    if outputs_of(job)[1:]:
        return None
    data = job.get("data") or {}
    if is_for_classes(job["training"]["loss"]):
        each = (data.get("sequence") or {}).get("label") == "each"
        return "labelling" if each else "classification"
    return "forecasting" if data.get("window") else "regression"


def task_of_output(job: Mapping[str, Any], output: str) -> str:
    """The job's task; of one of several outputs classification or regression, as its loss says."""
    task: str | None = job.get("task") or implied_task(job)
    if task is not None:
        return task
    return "classification" if is_for_classes(job["training"]["loss"][output]) else "regression"


def scaling_of_targets(job: Mapping[str, Any]) -> str | None:
    """How the numbers that a loss compares were scaled; None where they are the data's own, or classes."""
    task = job.get("task") or implied_task(job)
    if task in ("classification", "multilabel", "labelling"):
        return None
    names = outputs_of(job)
    if len(names) > 1 and all(is_for_classes(job["training"]["loss"][name]) for name in names):
        return None
    return _y_method(job["data"].get("scaling"))


def _y_method(scaling: Any) -> str | None:
    method = scaling.get("y") if isinstance(scaling, Mapping) else scaling
    return None if method in (None, "none") else str(method)


def _metric_names(metrics: Iterable[Any]) -> list[str]:
    return [metric if isinstance(metric, str) else next(iter(metric)) for metric in metrics]


def _predictions(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    yield from source_checks(job)
    for index, entry in enumerate(job["predict"]):
        part = entry["source"]
        if part in ("validation", "test") and not has_part(job, part):
            yield (
                ("predict", index),
                f"predict[{index}] is {part}, and neither data.{part} nor data.split.{part} is given",
            )
        known = recurrent_names(job) if entry["states"] else []
        for name in entry["states"]:
            if name not in known:
                what = f"{name} is not a recurrent layer of the model{among(name, known)}"
                yield ("predict", index, "states"), f"predict[{index}].states: {what}"


def source_checks(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Each prediction has its own name, and one thing to predict for."""
    names: dict[str, int] = {}
    for index, entry in enumerate(job["predict"]):
        first = names.setdefault(entry["name"], index)
        if first != index:
            yield (
                ("predict", index),
                f'predict[{index}] is named "{entry["name"]}" as predict[{first}] is; give it another name',
            )
        if sum(entry[key] is not None for key in ("source", "path", "files", "values")) != 1:
            yield ("predict", index), f"predict[{index}] needs either source, path or values"
        elif "training" not in job and entry["source"] is not None:
            yield ("predict", index), f"predict[{index}] has a source; a trained model takes path or values"
        elif "training" not in job:
            paths = [entry["path"]] if entry["path"] else entry["files"] or []
            yield from ((("predict", index), wrong) for path in paths if (wrong := formats.unknown(path)))
