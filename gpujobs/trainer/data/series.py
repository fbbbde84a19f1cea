"""Tables as series: which columns are what, and the rows of each series together, in time order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gpujobs.trainer.data import missing, tables
from gpujobs.trainer.data.raw import (
    CLASS_TASKS,
    Arrays,
    Coded,
    Known,
    begins,
    place,
    require_order,
    require_times,
)
from gpujobs.trainer.failures import DataError
from gpujobs.trainer.spec import Spec


def read_table(spec: Spec, path: str, task: str, *, needs_y: bool, known: Known) -> Arrays:
    """`known`: of the training file, where this is another. Raises DataError, naming file and column."""
    data, file = spec.jobfile["data"], place(spec, path)
    held = tables.columns(path, file)
    target = list(data["target"])
    if needs_y:
        tables.require(path, target, list(held))
    target = target if all(column in held for column in target) else []
    apart = [column for column in (data.get("group"), _sequence_column(data)) if column]
    are_text = known.are_text or any(isinstance(name, str) for name in data.get("classes") or ())
    words = [*apart, *(column for column in target if _is_text(path, column, held, task, are_text))]
    features = list(known.features) or _features(path, held, data, task)
    weight = [data["sample_weight"]] if data.get("sample_weight") and needs_y else []
    numbers = dict.fromkeys([*features, *(column for column in target if column not in words), *weight])
    wanted = tables.Wanted(tuple(numbers), tuple(dict.fromkeys(words)), data.get("time"))
    table = tables.read(path, file, wanted, spec.paths.work)
    for column in apart:
        _require_words(path, table, column)
    table, rows = _series_together(data, table)
    found = replace(_arrays(path, data, table, features, target, task), zone=table.zone, rows=rows)
    if found.time is not None and found.sequence is not None:  # of windows, the timeline sees to it
        require_times(found.place("time"), found.time)
        firsts = np.cumsum(found.lengths) - found.lengths
        require_order(found.place("time"), found.time, firsts, found.row_number)
    return found


def _sequence_column(data: Mapping[str, Any]) -> str | None:
    by: str | None = (data.get("sequence") or {}).get("by")
    return by


def _is_text(path: str, column: str, known: Mapping[str, bool], task: str, are_text: bool) -> bool:
    """Whether the target is read as class names; numbers are the classes' own."""
    can_be = task in ("classification", "labelling")
    if not can_be and not known[column]:
        raise DataError(
            f"{path}: column {column} holds text; expected numbers, as the task is {task}"
            + ("" if task == "multilabel" else ": classes need a crossentropy loss")
        )
    return can_be and (are_text or not known[column])


def _features(path: str, known: Mapping[str, bool], data: Mapping[str, Any], task: str) -> list[str]:
    """Those that the job names; else every other column, which must then be numbers. What is forecast is a
    feature too."""
    if data.get("features") is not None:
        return list(data["features"])
    apart = {data.get("time"), data.get("group"), _sequence_column(data), data.get("sample_weight")}
    if task != "forecasting":
        apart |= set(data["target"])
    features = [column for column in known if column not in apart]
    for column in features:
        if not known[column]:
            raise DataError(
                f"{path}: column {column} holds text; expected numbers: name the columns to use in data.features"
            )
    if not features:
        raise DataError(f"{path}: has no column left for features; expected some beside {', '.join(known)}")
    return features


def _require_words(path: str, table: tables.Table, column: str) -> None:
    absent = int((table.words[column].codes < 0).sum())
    if absent:
        raise DataError(f"{path}: column {column}: has no value in {absent} rows; expected one in each")


def _series_together(data: Mapping[str, Any], table: tables.Table) -> tuple[tables.Table, Any]:
    """With the rows of each series next to each other, in the order that they have in the file, and their places
    there; None: as they stand."""
    by = _sequence_column(data) or data.get("group")
    if by is None:
        return table, None
    codes, names = table.words[by].codes, table.words[by].names
    if len(begins(codes)) == len(names):
        return table, None
    order = np.argsort(codes, kind="stable")
    for column in range(table.values.shape[1]):  # one at a time: a table may fill the memory
        table.values[:, column] = table.values[order, column]
    words = {column: one.only(order) for column, one in table.words.items()}
    time = None if table.time is None else table.time[order]
    return replace(table, words=words, time=time), order.astype(np.min_scalar_type(len(order)))


def _arrays(
    path: str,
    data: Mapping[str, Any],
    table: tables.Table,
    features: list[str],
    target: list[str],
    task: str,
) -> Arrays:
    at = {column: number for number, column in enumerate(table.columns)}
    sequence, group = (_words(table, column) for column in (_sequence_column(data), data.get("group")))
    targets, words = _targets(path, table, at, target, task)
    first = None if sequence is None else begins(sequence.codes)
    return Arrays(
        path,
        {"x": table.values},
        targets,
        lengths=None if first is None else np.diff(first, append=len(table)),
        weight=_weight(path, data, table, at),
        group=group,
        time=table.time,
        sequence=None if sequence is None else sequence.only(first),
        words=words,
        called={"y": f"column {', '.join(target)}", "time": f"column {data.get('time')}"},
        features=tuple(features),
        x_columns=_columns(at, features),
        y_columns=tuple(at[column] for column in target) if target and not targets else None,
        target_names=tuple(target),
    )


def _words(table: tables.Table, column: str | None) -> Coded | None:
    return None if column is None else table.words[column]


def _targets(
    path: str, table: tables.Table, at: Mapping[str, int], target: list[str], task: str
) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
    """Classes, and what their numbers are called where they are text. Numbers to predict stay with the
    features, of which they may be one: ({}, {})."""
    if not target or task not in CLASS_TASKS:
        return {}, {}
    if task == "multilabel":
        return {"y": table.values[:, [at[column] for column in target]]}, {}
    if len(target) > 1:
        raise DataError(
            f"{path}: data.target names {len(target)} columns; expected one, as the task is {task} (several "
            "labels at once are task: multilabel)"
        )
    (column,) = target
    if column not in table.words:
        return {"y": table.values[:, at[column]]}, {}
    _require_words(path, table, column)
    named = table.words[column]
    return {"y": named.codes}, {"y": tuple(named.names.tolist())}


def _weight(path: str, data: Mapping[str, Any], table: tables.Table, at: Mapping[str, int]) -> Any:
    column = data.get("sample_weight")
    if column is None or column not in at:
        return None
    weight = table.values[:, at[column]]
    missing.refuse(lambda: f"{path}: column {column}", weight)
    if not weight.any():
        raise DataError(
            f"{path}: column {column}: holds zeros only; expected weights of at least 0, and some above"
        )
    if weight.min() < 0:
        raise DataError(f"{path}: column {column}: holds {weight.min():g}; expected weights of at least 0")
    return weight


def _columns(at: Mapping[str, int], features: Sequence[str]) -> tuple[int, ...] | None:
    columns = tuple(at[column] for column in features)
    return None if columns == tuple(range(len(at))) else columns
