"""A tree of plain values against the schema: the resolved form, and everything that is wrong with it."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gpujobs.backends import JAX, TENSORFLOW
from gpujobs.jobfile.consistency import Found, cross_checks, source_checks
from gpujobs.jobfile.data_checks import data_checks
from gpujobs.jobfile.keras_names import MAX_HINTS, KerasCheck, among
from gpujobs.jobfile.notify import Notify
from gpujobs.jobfile.reader import Path, describe, dotted
from gpujobs.jobfile.recipients import given
from gpujobs.jobfile.schema import DataSource, JobFile, Prediction, PredictionFile, Unreadable
from gpujobs.jobfile.training_checks import training_checks

ADAM = frozenset({"learning_rate", "beta_1", "beta_2", "epsilon", "weight_decay", "clipnorm", "clipvalue"})
PATH = "the path of a data file"
NAME = "a name of 1 to 100 printable characters without /"


def validate(tree: dict[str, Any]) -> tuple[dict[str, Any], Found]:
    """The resolved job file, which is only meaningful where no problems are found, and the problems."""
    problems: Found = []
    resolved: dict[str, Any] = {}
    reported: set[Path] = set()
    is_prediction = applies_a_model(tree)
    try:
        resolved = (PredictionFile if is_prediction else JobFile).model_validate(tree).model_dump()
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        paths = [_path_in(tree, one["loc"], one["type"]) for one in found]
        for one, path in zip(found, paths, strict=True):
            # Each choice of a union reports for itself.
            if path not in reported and not _is_said_by_the_list(one, path, paths):
                reported.add(path)
                problems.append(
                    _of_a_training(path)
                    if is_prediction and one["type"] == "extra_forbidden" and path[0] in JobFile.model_fields
                    else _problem(path, one["type"], one["input"], len(problems) < MAX_HINTS)
                )
    if is_prediction:
        return _checked_prediction(resolved, problems)
    training = tree.get("training")
    backend = training.get("backend") if isinstance(training, dict) else None
    keras = KerasCheck(backend=backend if backend == JAX else TENSORFLOW)
    _check_keras(keras, resolved or tree, resolved)
    problems += keras.problems
    if not problems:
        problems += cross_checks(resolved)
    if not problems:
        problems += [*data_checks(resolved), *training_checks(resolved)]
        resolved = _tidied(resolved)
    return resolved, problems


def _is_said_by_the_list(one: ErrorDetails, path: Path, paths: list[Path]) -> bool:
    """Whether something in a list is wrong where a text may stand too: then that is said, and not that it is a list."""
    is_list = one["type"] == "string_type" and isinstance(one["input"], list)
    return is_list and any(len(other) > len(path) and other[: len(path)] == path for other in paths)


def notify_problems(setting: dict[str, Any]) -> list[str]:
    """What is wrong with a mapping as `notify:` has it, in words."""
    try:
        Notify.model_validate(setting)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        problems = [
            _problem(
                _path_in({"notify": setting}, ("notify", *one["loc"]), one["type"]),
                one["type"],
                one["input"],
                True,
            )
            for one in found
        ]
        return [what if what.endswith("?") else f"{what}." for what in dict(problems).values()]
    return []


def applies_a_model(tree: dict[str, Any]) -> bool:
    """Whether a job file has the model of an earlier job instead of layers."""
    return isinstance(tree.get("model"), dict) and "job" in tree["model"]


def _checked_prediction(resolved: dict[str, Any], problems: Found) -> tuple[dict[str, Any], Found]:
    if not problems:
        problems = [*source_checks(resolved)]
        resolved["predict"] = [_prediction(entry) for entry in resolved["predict"]]
        _tidy_news(resolved)
    return resolved, problems


def _tidied(resolved: dict[str, Any]) -> dict[str, Any]:
    """Without the keys of ours that say nothing; what is Keras's stays as it is."""
    tidy = {key: value for key, value in resolved.items() if value is not None}
    for section in ("data", "model", "training"):
        tidy[section] = {key: value for key, value in resolved[section].items() if value is not None}
    for part in ("train", "validation", "test"):
        if part in tidy["data"]:
            source = tidy["data"][part]
            tidy["data"][part] = {key: value for key, value in source.items() if value is not None}
    if "csv" in tidy["data"]:
        tidy["data"]["csv"] = {key: value for key, value in tidy["data"]["csv"].items() if value is not None}
    tidy["predict"] = [_prediction(entry) for entry in resolved["predict"]]
    _tidy_news(tidy)
    return tidy


def _tidy_news(tidy: dict[str, Any]) -> None:
    notify = tidy.pop("notify", None)
    if notify is not None:
        tidy["notify"] = given(notify)


def _check_keras(keras: KerasCheck, tree: dict[str, Any], resolved: dict[str, Any]) -> None:
    """Checks what is there even when other fields are wrong, and normalises `resolved` in place."""
    for path, layers in _chains(tree.get("model")):
        checked = keras.layers(layers, path)
        if resolved:
            _at(resolved, path[:-1])["layers"] = checked
    training = tree.get("training")
    if not isinstance(training, dict):
        return
    for key in ("loss", "optimizer", "metrics"):
        if key not in training or (key == "metrics" and not isinstance(training[key], list)):
            continue
        value = training[key]
        if key == "loss" and _is_by_output(tree):
            named = {name: keras.loss(loss, ("training", key, name)) for name, loss in value.items()}
        else:
            named = getattr(keras, key)(value, ("training", key))
        if resolved:
            resolved["training"][key] = named


def _chains(model: Any) -> Iterator[tuple[Path, list[Any]]]:
    if not isinstance(model, dict):
        return
    if isinstance(model.get("layers"), list):
        yield ("model", "layers"), model["layers"]
    branches = model.get("branches")
    for name, branch in branches.items() if isinstance(branches, dict) else ():
        if isinstance(branch, dict) and isinstance(branch.get("layers"), list):
            yield ("model", "branches", name, "layers"), branch["layers"]


def _at(tree: Any, path: Path) -> Any:
    for part in path:
        tree = tree[part]
    return tree


def _is_by_output(tree: dict[str, Any]) -> bool:
    """Whether training.loss maps outputs to losses, rather than a loss to its arguments."""
    model, loss = tree.get("model"), tree["training"]["loss"]
    branches = model.get("branches") if isinstance(model, dict) else None
    return isinstance(branches, dict) and isinstance(loss, dict) and bool(loss) and set(loss) <= set(branches)


def _prediction(entry: dict[str, Any]) -> dict[str, Any]:
    own = {
        "source": ("source",),
        "path": ("path", "in_place"),
        "files": ("files", "in_place"),
        "values": ("values",),
    }
    kept = next(keys for key, keys in own.items() if entry[key] is not None)
    return {key: entry[key] for key in ("name", *kept, "states") if entry[key] != []}


def _path_in(tree: Any, location: tuple[int | str, ...], kind: str) -> Path:
    """Pydantic's location without the names of a union's choices, which are no keys of the file."""
    path: list[int | str] = []
    for number, part in enumerate(location):
        inside = isinstance(part, int) if isinstance(tree, list) else isinstance(tree, dict) and part in tree
        if inside:
            tree = tree[part]
            path.append(part)
        elif number == len(location) - 1 and kind == "missing":
            path.append(part)
    return tuple(path)


def _problem(path: Path, kind: str, value: Any, with_hint: bool) -> tuple[Path, str]:
    if isinstance(value, Unreadable):
        value = value.value
    if kind == "extra_forbidden":
        known = fields(path[:-1]) if path[:-1] else [*fields(()), "sweep", "at_most"]
        hint = among(str(path[-1]), known) if with_hint else ""
        hint = hint.replace("did you mean ", f"did you mean {dotted((*path[:-1], ''))}", 1)
        if path[:-1] in ((), ("training",)) and str(path[-1]) in (*ADAM, "lr"):
            name = "learning_rate" if path[-1] == "lr" else path[-1]
            hint = f"; it belongs to the optimizer: training: {{optimizer: {{Adam: {{{name}: ...}}}}}}"
        return path, f"{dotted(path)} is not a known key{hint}"
    if kind == "missing":
        return path, f"{dotted(path)} is missing; expected {expected(path)}"
    found = f"is {describe(value)}"
    if kind in ("too_short", "too_long") and value:
        count = "1 entry" if len(value) == 1 else f"{len(value)} entries"
        found = f"has {count}, too {'few' if kind == 'too_short' else 'many'}"
    elif path[-2:] == ("notify", "command") and isinstance(value, list) and value:
        found = f"begins with {describe(value[0])}"
    is_name = isinstance(value, bool) and path[:1] == ("data",) and isinstance(path[-1], int)
    as_text = f': quote it as the data file writes it, such as "{value}"'
    return path, f"{dotted(path)} {found}; expected {expected(path)}{as_text if is_name else ''}"


def _of_a_training(path: Path) -> tuple[Path, str]:
    """A key that is known, in a file that trains nothing."""
    return path, (
        f"{dotted(path)} is for a training, and model.job applies the model of an earlier job as it is; expected name, "
        "model and predict here, or model.layers in the place of model.job: a model cannot be trained further yet"
    )


def model_at(path: Path) -> type[BaseModel] | None:
    """The section of the schema at a path; None where there is none."""
    annotation: Any = JobFile
    for part in path:
        if isinstance(part, int):
            continue
        section = _model_in(annotation)
        if section is not None and part in section.model_fields:
            annotation = section.model_fields[part].annotation
        elif _mapping_in(annotation) is not None:
            annotation = _mapping_in(annotation)
        else:
            return None
    return _model_in(annotation)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The section that an annotation is, or has in a list or among its choices."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (list, typing.Union, types.UnionType):
        return next(filter(None, map(_model_in, typing.get_args(annotation))), None)
    return None


def _mapping_in(annotation: Any) -> Any:
    """The annotation of the values where keys are free."""
    if typing.get_origin(annotation) is dict:
        return typing.get_args(annotation)[1]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        found = [one for one in map(_mapping_in, typing.get_args(annotation)) if one is not None]
        return found[0] if found else None
    return None


def fields(path: Path) -> list[str]:
    model = model_at(path)
    return [] if model is None else list(model.model_fields)


def expected(path: Path) -> str:
    """What the field at a path asks for, in words."""
    if path[:1] == ("model",) and (
        path[:-1] == ("model", "branches") or path[-2:-1] in (("inputs",), ("outputs",))
    ):
        return NAME
    if path and isinstance(path[-1], int):
        section = model_at(path)
        if section is None:
            return expected(path[:-1])
        keys = f"a mapping with the keys {', '.join(section.model_fields)}"
        return {DataSource: PATH, Prediction: f"train, validation, test, {PATH}, or {keys}"}.get(
            section, keys
        )
    parent = model_at(path[:-1])
    info = None if parent is None else parent.model_fields.get(str(path[-1]))
    extra = None if info is None else info.json_schema_extra
    return str(extra["expected"]) if isinstance(extra, dict) else "another value"
