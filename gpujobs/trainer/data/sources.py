"""From the files of a job to arrays: those of npz and npy files, and the columns of tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gpujobs.trainer.data import archives
from gpujobs.trainer.data.raw import Arrays, place
from gpujobs.trainer.data.series import read_table
from gpujobs.trainer.failures import DataError
from gpujobs.trainer.spec import Spec


def names_of(entry: str | Mapping[str, str]) -> dict[str, str]:
    """`data.x` or `data.y`: arrays by the names of inputs or outputs."""
    return {entry: entry} if isinstance(entry, str) else dict(entry)


def read(spec: Spec, source: Mapping[str, Any], task: str, *, needs_y: bool) -> Arrays:
    """Raises DataError, naming file and array or column."""
    data = spec.jobfile["data"]
    path = source.get("path")
    if path is not None and Path(path).suffix.lower() in (".csv", ".parquet"):
        return read_table(spec, path, task, needs_y=needs_y)
    return _arrays(spec, source, data, needs_y=needs_y)


def _arrays(spec: Spec, source: Mapping[str, Any], data: Mapping[str, Any], *, needs_y: bool) -> Arrays:
    inputs, targets = names_of(data.get("x", "x")), names_of(data.get("y", "y"))
    others = {key: data[key] for key in ("lengths", "sample_weight", "group", "time") if data.get(key)}
    file, held = _held(spec, source, {*inputs.values(), *targets.values(), *others.values()})
    is_forecast = bool(data.get("window")) and not any(name in held for name in targets.values())
    required = [*inputs.values(), *others.values()]
    if needs_y and not is_forecast:
        required += targets.values()
    absent = [name for name in required if name not in held]
    if absent:
        there = ", ".join(sorted(held)) or "none of the arrays asked for"
        raise DataError(f"{file}: has no array {absent[0]}; it holds {there}")
    found = Arrays(
        file,
        {name: held[array] for name, array in inputs.items()},
        {name: held[array] for name, array in targets.items() if array in held},
        held[data["lengths"]] if data.get("lengths") else None,
        held[data["sample_weight"]] if data.get("sample_weight") else None,
        held[data["group"]] if data.get("group") else None,
        held[data["time"]] if data.get("time") else None,
    )
    _require_shapes(found, is_series=bool(data.get("window")))
    if is_forecast:
        return _forecast_of_itself(found)
    return found


def _held(spec: Spec, source: Mapping[str, Any], wanted: set[str]) -> tuple[str, dict[str, Any]]:
    """The file's name for messages, and its arrays."""
    if source.get("arrays"):
        paths = source["arrays"]
        return ", ".join(paths.values()), {
            name: archives.map_npy(path, place(spec, path)) for name, path in paths.items()
        }
    path = source["path"]
    if path.lower().endswith(".npy"):
        return path, {"x": archives.map_npy(path, place(spec, path))}
    held = archives.read_npz(path, place(spec, path), wanted)
    if not wanted & held.keys():
        present = ", ".join(sorted(archives.headers(path, place(spec, path)))) or "no arrays"
        raise DataError(f"{path}: holds {present}; expected arrays {' and '.join(sorted(wanted))}")
    return path, held


def _require_shapes(found: Arrays, *, is_series: bool) -> None:
    rows = len(found)
    for name, x in found.inputs.items():
        if x.dtype.kind not in "fiub":
            raise DataError(f"{found.file}: array {name}: has dtype {x.dtype}; expected numbers")
        allowed = (1, 2) if is_series else (1, 2, 3) if found.lengths is not None else (2, 3, 4, 5)
        if x.ndim not in allowed or 0 in x.shape:
            form = "(steps, features)" if is_series else "(samples, timesteps, features)"
            raise DataError(
                f"{found.file}: array {name}: has shape {x.shape}; expected {form}, none of them 0"
            )
        if found.lengths is None and len(x) != rows:
            first = next(iter(found.inputs))
            raise DataError(f"{found.file}: array {name}: has {len(x)} rows; expected {rows}, as {first} has")
    apart = {"group": found.group, "time": found.time, "sample_weight": found.weight}
    for name, y in [*found.targets.items(), *((k, v) for k, v in apart.items() if v is not None)]:
        per_step = found.lengths is not None and len(y) == sum(found.lengths)
        if len(y) != rows and not per_step:
            first, x = next(iter(found.inputs.items()))
            raise DataError(
                f"{found.file}: array {name}: has shape {y.shape}; expected {rows} samples, as {first} has "
                f"({x.shape})"
            )
    if found.lengths is not None:
        _require_lengths(found)


def _require_lengths(found: Arrays) -> None:
    lengths = found.lengths
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or len(lengths) == 0 or lengths.min() < 1:
        raise DataError(f"{found.file}: lengths: expected integers of at least 1, one for each sequence")
    for name, x in found.inputs.items():
        is_padded = len(x) == len(lengths) and x.ndim >= 2 and lengths.max() <= x.shape[1]
        if not is_padded and len(x) != lengths.sum():
            raise DataError(
                f"{found.file}: array {name}: has shape {x.shape}; expected all sequences in one, "
                f"{lengths.sum()} steps as lengths says, or padded ones, {len(lengths)} samples of at least "
                f"{lengths.max()} steps"
            )


def _forecast_of_itself(found: Arrays) -> Arrays:
    """A series without another target is to be continued."""
    if len(found.inputs) != 1:
        raise DataError(f"{found.file}: data.window needs data.y where there are several inputs")
    ((name, x),) = found.inputs.items()
    series = x if x.ndim == 2 else np.asarray(x).reshape(-1, 1)
    columns = tuple(range(series.shape[1]))
    names = tuple(f"{name}[{column}]" for column in columns)
    return replace(
        found, inputs={name: series}, features=names, y_columns=columns, target_names=names, targets={}
    )
