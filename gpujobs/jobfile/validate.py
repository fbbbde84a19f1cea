"""A tree of plain values against the schema: the resolved form, and everything that is wrong with it."""

from __future__ import annotations

import types
import typing
from typing import Any

from pydantic import BaseModel, ValidationError

from gpujobs.jobfile.keras_names import MAX_HINTS, KerasCheck, nearest
from gpujobs.jobfile.reader import Path, describe, dotted
from gpujobs.jobfile.schema import JobFile, Unreadable

Found = list[tuple[Path, str]]
"""Problems by path, each message complete but for the file and the line."""


def validate(tree: dict[str, Any]) -> tuple[dict[str, Any], Found]:
    """The resolved job file, which is only meaningful where no problems are found, and the problems."""
    problems: Found = []
    resolved: dict[str, Any] = {}
    try:
        resolved = JobFile.model_validate(tree).model_dump()
    except ValidationError as error:
        for one in error.errors(include_url=False, include_context=False):
            problems.append(
                _problem(one["loc"], one["type"], one["input"], with_hint=len(problems) < MAX_HINTS)
            )
    keras = KerasCheck()
    _check_keras(keras, resolved or tree, resolved)
    problems += keras.problems
    if not problems:
        problems += _cross_checks(resolved)
        resolved["predict"] = [_prediction(entry) for entry in resolved["predict"]]
    return resolved, problems


def _check_keras(keras: KerasCheck, tree: dict[str, Any], resolved: dict[str, Any]) -> None:
    """Checks what is there even when other fields are wrong, and normalises `resolved` in place."""
    model, training = tree.get("model"), tree.get("training")
    if isinstance(model, dict) and isinstance(model.get("layers"), list):
        layers = keras.layers(model["layers"], ("model", "layers"))
        if resolved:
            resolved["model"]["layers"] = layers
    if not isinstance(training, dict):
        return
    for key in ("loss", "optimizer", "metrics"):
        if key not in training or (key == "metrics" and not isinstance(training[key], list)):
            continue
        checked = getattr(keras, key)(training[key], ("training", key))
        if resolved:
            resolved["training"][key] = checked


def _prediction(entry: dict[str, Any]) -> dict[str, Any]:
    if entry["source"] is not None:
        return {"name": entry["name"], "source": entry["source"]}
    return {"name": entry["name"], "path": entry["path"], "in_place": entry["in_place"]}


def _cross_checks(job: dict[str, Any]) -> Found:
    problems: Found = []
    if job["data"]["validation"] is not None and job["training"]["validation_split"]:
        message = "training.validation_split and data.validation are both given; leave one out"
        problems.append((("training", "validation_split"), message))
    names: dict[str, int] = {}
    for index, entry in enumerate(job["predict"]):
        first = names.setdefault(entry["name"], index)
        if first != index:
            message = (
                f'predict[{index}] is named "{entry["name"]}" as predict[{first}] is; give it another name'
            )
            problems.append((("predict", index), message))
        if entry["source"] == "validation" and job["data"]["validation"] is None:
            problems.append(
                (("predict", index), f"predict[{index}] is validation, and data.validation is not given")
            )
        if (entry["source"] is None) == (entry["path"] is None):
            problems.append((("predict", index), f"predict[{index}] needs either source or path"))
    return problems


def _problem(path: Path, kind: str, value: Any, *, with_hint: bool) -> tuple[Path, str]:
    if isinstance(value, Unreadable):
        value = value.value
    if kind == "extra_forbidden":
        hint = nearest(str(path[-1]), fields(path[:-1])) if with_hint else ""
        hint = hint.replace("did you mean ", f"did you mean {dotted((*path[:-1], ''))}", 1)
        return path, f"{dotted(path)} is not a known key{hint}"
    if kind == "missing":
        return path, f"{dotted(path)} is missing; expected {expected(path)}"
    return path, f"{dotted(path)} is {describe(value)}; expected {expected(path)}"


def model_at(path: Path) -> type[BaseModel] | None:
    """The section of the schema at a path; None where there is none."""
    model: type[BaseModel] | None = JobFile
    for part in path:
        if isinstance(part, int):
            continue
        if model is None or part not in model.model_fields:
            return None
        model = _model_in(model.model_fields[part].annotation)
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (list, typing.Union, types.UnionType):
        return next(filter(None, map(_model_in, typing.get_args(annotation))), None)
    return None


def fields(path: Path) -> list[str]:
    model = model_at(path)
    return [] if model is None else list(model.model_fields)


def expected(path: Path) -> str:
    """What the field at a path asks for, in words."""
    if path and isinstance(path[-1], int):
        section = model_at(path)
        return f"a mapping with the keys {', '.join(section.model_fields)}" if section else "another value"
    parent = model_at(path[:-1])
    info = None if parent is None else parent.model_fields.get(str(path[-1]))
    extra = None if info is None else info.json_schema_extra
    return str(extra["expected"]) if isinstance(extra, dict) else "another value"
