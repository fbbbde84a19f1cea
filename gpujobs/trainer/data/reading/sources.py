"""From the files of a job to arrays: those of npz and npy files, and the columns of tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gpujobs import formats
from gpujobs.jobfile.consistency import task_of_output
from gpujobs.protocol.spec import AttemptSpec
from gpujobs.trainer.data.arrays import portable
from gpujobs.trainer.data.reading import archives, shapes, times
from gpujobs.trainer.data.reading.cells import shown
from gpujobs.trainer.data.reading.compact_dates import with_dates
from gpujobs.trainer.data.reading.input_requirements import heads, names_of
from gpujobs.trainer.data.reading.loaded import CLASS_TASKS, Coded, Known, LoadedData, coded, place
from gpujobs.trainer.data.reading.series import read_table, without_unlabelled
from gpujobs.trainer.failures import DataError, together

APART = ("lengths", "sample_weight", "group", "time")
"""The keys of `data` that name an array beside x and y."""


def read(
    spec: AttemptSpec, source: Mapping[str, Any], task: str, *, needs_y: bool, known: Known | None = None
) -> LoadedData:
    """`known`: of the training file, where this is another. Raises DataError, naming file and array or column."""
    is_trained = spec.model_results is not None
    path = source.get("path")
    paths = [path] if path is not None else list(source.get("files") or source["arrays"].values())
    errors = [error for one in paths for error in _wrong_format(one, place(spec, one))]
    if errors:
        raise together(errors)
    data = spec.jobfile["data"]
    _require_kind(paths[0], data, known)
    if formats.is_table(paths[0]):
        known = replace(known or Known(), is_trained=is_trained)
        found = read_table(spec, paths, task, needs_y=needs_y, known=known)
    else:
        found = replace(_arrays(spec, source, task, needs_y=needs_y), is_fixed=is_trained)
        handling = data.get("missing", "error")
        is_series_filled = data.get("window") and handling == "fill"
        if not needs_y and found.lengths is None and not is_series_filled:
            found = without_unlabelled(found, handling)
    return with_dates(found, data.get("step"))


def _require_kind(path: str, data: Mapping[str, Any], known: Known | None) -> None:
    """Raises DataError where a model of tables is applied to arrays, or of arrays to a table: a job file that has both
    is refused before."""
    are_columns, is_table = bool(data.get("target")), formats.is_table(path)
    if are_columns and not is_table:
        columns = ", ".join((known or Known()).features)
        raise DataError(
            f"{path}: holds arrays, and the model was trained on a table; expected a table with the columns {columns}"
        )
    if is_table and not are_columns:
        arrays = ", ".join(names_of(data.get("x", "x")).values())
        raise DataError(
            f"{path}: holds a table, and the model was trained on arrays; expected arrays {arrays}"
        )


def _wrong_format(name: str, path: Path) -> list[DataError]:
    try:
        with path.open("rb") as file:
            head = file.read(formats.HEAD_BYTES)
            file.seek(max(0, file.seek(0, 2) - formats.TAIL_BYTES))
            wrong = formats.problem(name, head, file.read())
    except OSError as error:
        return [DataError(f"{name}: cannot be read: {error.strerror}")]
    return [DataError(f"{name}: {wrong}")] if wrong else []


def _arrays(spec: AttemptSpec, source: Mapping[str, Any], task: str, *, needs_y: bool) -> LoadedData:
    data = spec.jobfile["data"]
    inputs, targets = names_of(data.get("x", "x")), names_of(data.get("y", "y"))
    apart = {key: data[key] for key in APART if data.get(key) and (needs_y or key != "sample_weight")}
    masked = [inputs[name] for name, head in heads(spec.jobfile).items() if head.is_masked]
    is_series = bool(data.get("window"))
    file, held = _held(spec, source, {*inputs.values(), *targets.values()}, {*apart.values(), *masked})
    is_forecast = is_series and task == "forecasting" and not any(name in held for name in targets.values())
    needed = [*inputs.values(), *apart.values()]
    _require(file, held, [*needed, *(targets.values() if needs_y and not is_forecast else ())])
    held |= {array: portable(held[array]) for array in {*apart.values(), *targets.values()} & held.keys()}
    group = coded(f"{file}: array {data['group']}", held[data["group"]]) if "group" in apart else None
    time, zone = _times(f"{file}: array {data.get('time')}", held[apart["time"]] if "time" in apart else None)
    found = LoadedData(
        file,
        {name: held[array] for name, array in inputs.items()},
        {name: held[array] for name, array in targets.items() if array in held},
        lengths=held[apart["lengths"]] if "lengths" in apart else None,
        weight=held[apart["sample_weight"]] if "sample_weight" in apart else None,
        group=group,
        time=time,
        zone=zone,
        called={
            name: f"array {array}" for name, array in (inputs | targets | {"time": data.get("time")}).items()
        },
    )
    ids = [name for name, head in heads(spec.jobfile).items() if head.ids is not None]
    shapes.require(found, {**inputs, **targets, **apart}, is_series=is_series, ids=ids)
    found = _with_words(found, spec.jobfile)
    return _forecast_of_itself(found) if is_forecast else found


def _times(place: str, values: Any) -> tuple[Any, str | None]:
    """Text as datetime64, or numbers, and the zone where it says one. Raises DataError for what is no time."""
    if values is None or values.dtype.kind != "U" or values.ndim != 1:
        return values, None
    cells = pa.array(values)
    try:
        form = times.look(place, cells[: times.SUFFICIENT].to_pylist(), ())
    except DataError as error:
        raise DataError(
            f"{str(error).partition('; say which')[0]}; expected an array of datetime64"
        ) from None
    found, wrong = times.parse(cells, form)
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{place}: holds {shown(str(values[row]))!r} (row {row + 1}); expected times such as 2026-01-31 12:00, or "
            "an array of datetime64 or of numbers"
        )
    return found, "UTC" if form.has_zone else None


def _held(
    spec: AttemptSpec, source: Mapping[str, Any], wanted: set[str], whole: set[str]
) -> tuple[str, dict[str, Any]]:
    """The file's name for messages, and its arrays."""
    if source.get("arrays"):
        paths = source["arrays"]
        return ", ".join(paths.values()), {
            name: archives.map_npy(path, place(spec, path)) for name, path in paths.items()
        }
    path = source["path"]
    if path.lower().endswith(".npy"):
        return path, {"x": archives.map_npy(path, place(spec, path))}
    return path, archives.read_npz(path, place(spec, path), wanted | whole, whole)


def _require(file: str, held: Mapping[str, NDArray[Any]], needed: list[str]) -> None:
    absent = [name for name in needed if name not in held]
    if absent:
        there = ", ".join(sorted(held)) or "none of those"
        raise DataError(
            f"{file}: has no array {absent[0]}; expected {', '.join(dict.fromkeys(needed))}, and it holds {there}"
        )


def _with_words(found: LoadedData, job: Mapping[str, Any]) -> LoadedData:
    """The targets that are text as numbers, with what these are called."""
    targets, words = dict(found.targets), {}
    for name, y in found.targets.items():
        if y.dtype.kind != "U":
            continue
        text: Coded = coded(found.place(name), y)
        task = task_of_output(job, name)
        if task not in CLASS_TASKS:
            raise DataError(
                f"{found.place(name)}: holds text, such as {str(text.texts[0])!r}; expected numbers, as "
                f"the task is {task}: classes need a crossentropy loss"
            )
        targets[name], words[name] = text.codes, tuple(text.texts.tolist())
    return replace(found, targets=targets, words=words)


def _forecast_of_itself(found: LoadedData) -> LoadedData:
    """A series without another target is to be continued."""
    if len(found.inputs) != 1:
        raise DataError(f"{found.file}: has no target; expected data.y, as there are several inputs")
    ((name, x),) = found.inputs.items()
    series = x if x.ndim == 2 else np.asarray(x).reshape(-1, 1)
    columns = tuple(range(series.shape[1]))
    names = tuple(f"{name}[{column}]" for column in columns)
    called = {name: found.called[name], "y": found.called[name]}
    return replace(
        found,
        inputs={name: series},
        features=names,
        y_columns=columns,
        target_names=names,
        targets={},
        called=called,
    )
