"""Tables as series: which columns are what, and the rows of each series together, in time order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gpujobs.trainer.data import tables
from gpujobs.trainer.data.raw import Arrays, place
from gpujobs.trainer.failures import DataError
from gpujobs.trainer.spec import Spec

WORDS_FOR = ("classification", "labelling")
"""The tasks whose target is read as text: class names, which may look like numbers."""


def read_table(spec: Spec, path: str, task: str, *, needs_y: bool) -> Arrays:
    """Raises DataError, naming file and column."""
    data, file = spec.jobfile["data"], place(spec, path)
    known = tables.columns(path, file)
    target = list(data["target"])
    tables.require(path, target if needs_y else [], list(known))
    has_y = all(column in known for column in target)
    as_words = task in WORDS_FOR
    if as_words and len(target) > 1:
        raise DataError(f"data.target names {len(target)} columns; {task} has one, or give task: multilabel")
    by = _series_column(data)
    words = [*([by] if by else []), *(target if as_words and has_y else [])]
    features = _features(path, known, data, task)
    weight = [data["sample_weight"]] if data.get("sample_weight") and needs_y else []
    numbers = list(dict.fromkeys([*features, *(target if has_y and not as_words else []), *weight]))
    table = tables.read(path, file, numbers, words, data.get("time"), spec.paths.work)
    return _arrays(path, data, table, features, target if has_y else [], by)


def _series_column(data: Mapping[str, Any]) -> str | None:
    by: str | None = (data.get("sequence") or {}).get("by") or data.get("group")
    return by


def _features(path: str, known: Mapping[str, bool], data: Mapping[str, Any], task: str) -> list[str]:
    """Those that the job names; else every other column, which must then be numbers. What is forecast is a
    feature too."""
    if data.get("features") is not None:
        return list(data["features"])
    apart = {data.get("time"), data.get("group"), _series_column(data), data.get("sample_weight")}
    if task != "forecasting":
        apart |= set(data["target"])
    features = [column for column in known if column not in apart]
    for column in features:
        if not known[column]:
            raise DataError(
                f"{path}: column {column} holds text; expected numbers: name the columns to use in data.features"
            )
    if not features:
        raise DataError(f"{path}: has no column left for features (it has {', '.join(known)})")
    return features


def _arrays(
    path: str,
    data: Mapping[str, Any],
    table: tables.Table,
    features: list[str],
    target: list[str],
    by: str | None,
) -> Arrays:
    at = {column: number for number, column in enumerate(table.columns)}
    values, time, words = table.values, table.time, dict(table.words)
    if by is not None:
        order = _series_together(words[by])
        if order is not None:
            values, time = values[order], None if time is None else time[order]
            words = {column: text[order] for column, text in words.items()}
    group = words[by] if by is not None else None
    if time is not None:
        require_order(path, str(data["time"]), time, group)
    targets = {"y": words[target[0]]} if target and target[0] in words else {}
    for column in targets.values():
        _require_text(path, target[0], column)
    is_sequence = bool(data.get("sequence"))
    return Arrays(
        path,
        {"x": values},
        targets,
        lengths=np.diff([*begins(group), len(values)]) if is_sequence else None,
        weight=values[:, at[data["sample_weight"]]] if data.get("sample_weight") in at else None,
        group=group,
        time=time,
        features=tuple(features),
        x_columns=_columns(at, features),
        y_columns=tuple(at[column] for column in target) if target and not targets else None,
        target_names=tuple(target),
    )


def _columns(at: Mapping[str, int], features: Sequence[str]) -> tuple[int, ...] | None:
    columns = tuple(at[column] for column in features)
    return None if columns == tuple(range(len(at))) else columns


def _require_text(path: str, column: str, words: Any) -> None:
    absent = int(sum(word is None for word in words))
    if absent:
        raise DataError(f"{path}: column {column} has no value in {absent} rows; expected a class in each")


def _series_together(group: Any) -> Any:
    """The order of the rows that puts those of one series together; None where they are already."""
    if any(word is None for word in group):
        raise DataError("the column that tells series apart has rows without a value; fill them")
    names, codes = np.unique(group.astype(str), return_inverse=True)
    if len(begins(codes)) == len(names):
        return None
    return np.argsort(codes, kind="stable")


def begins(group: Any) -> Any:
    """The first row of each series, where the rows of a series stand together."""
    if len(group) == 0:
        return np.zeros(0, np.int64)
    return np.concatenate([[0], np.flatnonzero(group[1:] != group[:-1]) + 1])


def require_order(path: str, column: str, time: Any, group: Any) -> None:
    """Raises DataError where time does not go forward within a series."""
    if np.isnat(time).any() if time.dtype.kind in "mM" else np.isnan(time).any():
        raise DataError(f"{path}: column {column} has rows without a time")
    back = time[1:] <= time[:-1]
    if group is not None:
        back &= group[1:] == group[:-1]
    wrong = np.flatnonzero(back)
    if len(wrong):
        row = int(wrong[0]) + 1
        raise DataError(
            f"{path}: column {column}: its times are out of order: {time[row]} follows {time[row - 1]} at row "
            f"{row + 1}, and {len(wrong) - 1} more do so; sort the file by {column}"
        )
