"""What the data section of a job file cannot mean, whatever the files hold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import PurePath
from typing import Any

from gpujobs import formats
from gpujobs.jobfile.consistency import Found, implied_task, is_stateful, times_of
from gpujobs.jobfile.keras_names import nearest
from gpujobs.jobfile.layer_names import input_names
from gpujobs.jobfile.reader import Path
from gpujobs.jobfile.ways import readings

PARTS = ("train", "validation", "test")


def data_checks(job: dict[str, Any]) -> Found:
    checks = (
        _formats,
        _kinds,
        _keys_of_tables,
        _keys_of_arrays,
        _names_twice,
        _csv,
        _dates,
        _split,
        _season,
        _step,
        _answer,
        _missing,
        _padding,
    )
    return [problem for check in checks for problem in check(job)]


def paths_of(job: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Every data file of parts and predictions, and where it is named."""
    for part in PARTS:
        source = job["data"][part] or {}
        if source.get("path"):
            yield ("data", part), source["path"]
        for number, path in enumerate(source.get("files") or ()):
            yield ("data", part, "files", number), path
        for name, path in (source.get("arrays") or {}).items():
            yield ("data", part, "arrays", name), path
    for index, entry in enumerate(job["predict"]):
        if entry["path"]:
            yield ("predict", index), entry["path"]
        for number, path in enumerate(entry["files"] or ()):
            yield ("predict", index, "files", number), path


@lru_cache(maxsize=1024)
def _suffix(path: str) -> str:
    return PurePath(path).suffix.lower()


def _formats(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    for where, path in paths_of(job):
        if "arrays" in where and _suffix(path) != ".npy":
            yield where, f'{".".join(map(str, where))} is "{path}"; expected the path of an .npy file'
        elif wrong := formats.unknown(path):
            yield where, wrong + (nearest(path, PARTS) if where[0] == "predict" else "")
        elif "files" in where and not formats.is_table(path):
            yield where, f'"{path}" holds arrays; expected a table, as only tables can be put together'


def _kinds(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """All files are tables, or none is."""
    kinds = {path: formats.is_table(path) for _, path in paths_of(job) if formats.unknown(path) is None}
    first = next(iter(kinds), None)
    for where, path in paths_of(job):
        if "files" not in where and first is not None and kinds.get(path, kinds[first]) != kinds[first]:
            found, expected = ("a table", "arrays") if kinds[path] else ("arrays", "a table")
            yield where, f'"{path}" holds {found}; expected {expected}, as "{first}" does'


def _is_known(job: Mapping[str, Any]) -> bool:
    train = job["data"]["train"]
    path = train["path"] or (train["files"] or [None])[0]
    return path is None or formats.unknown(path) is None


def _is_table(job: Mapping[str, Any]) -> bool:
    train = job["data"]["train"]
    return formats.is_table((train["files"] or [train["path"] or ""])[0])


def _keys_of_tables(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    if _is_table(job) or not _is_known(job):
        return
    if isinstance(job["data"]["time"], list):
        yield (
            ("data", "time"),
            "data.time names two columns of a table, and data.train has arrays; expected one",
        )
    for key in ("features", "target"):
        if job["data"][key] is not None:
            yield (
                ("data", key),
                f"data.{key} names columns of a table, and data.train has arrays; expected data.x and data.y",
            )
    path = job["data"]["train"]["path"] or ""
    if _suffix(path) == ".npy" and not job["data"]["window"]:
        yield (
            ("data", "train"),
            f'"{path}" holds one array, and there is no data.window that makes a series of it; expected '
            "data.train: {arrays: {x: X.npy, y: Y.npy}}",
        )


def _keys_of_arrays(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    if not _is_table(job):
        return
    data = job["data"]
    for key, unset in (("x", "x"), ("y", "y"), ("lengths", None)):
        if data[key] != unset:
            instead = {"x": "data.features", "y": "data.target", "lengths": "data.sequence"}[key]
            yield ("data", key), f"data.{key} names arrays, and data.train is a table; expected {instead}"


def _names_twice(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    data = job["data"]
    times = times_of(data)
    named: dict[Path, Any] = {("data", key): data[key] for key in ("features", "target", "classes")}
    named |= {("data", "csv", "names"): (data["csv"] or {}).get("names"), ("data", "time"): times}
    for where, names in named.items():
        if not names or len(set(names)) == len(names):
            continue
        for name, count in Counter(names).items():
            if count > 1:
                yield where, f"{'.'.join(map(str, where))} has {name} {count} times; expected each name once"
    apart = {data[key] for key in ("group", "sample_weight")} | {(data["sequence"] or {}).get("by"), *times}
    for name in sorted(set(data["target"] or ()) & (apart - {None})):
        yield (
            ("data", "target"),
            f"data.target has {name}, which is the time, group, sequence or weight column",
        )


def _csv(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Signs that exclude each other."""
    csv = job["data"]["csv"]
    if csv is None:
        return
    if not any(formats.is_text(path) for _, path in paths_of(job)):
        yield ("data", "csv"), "data.csv says how csv files are written, and the job has none; leave it out"
    signs = [(key, csv[key]) for key in ("separator", "decimal", "thousands", "comment") if csv[key]]
    for number, (key, sign) in enumerate(signs):
        for other, same in signs[:number]:
            if sign == same:
                yield (
                    ("data", "csv", key),
                    f'data.csv.{key} is "{sign}" as data.csv.{other} is; expected another',
                )
    for text in csv["units"] or ():
        if re.fullmatch(r"[\d.,+\u2212-]+", text):
            yield (
                ("data", "csv", "units"),
                f'data.csv.units has "{text}", which may be a part of a number; expected what is none, such as "%"',
            )
    missing = csv["missing"] or ()
    for index, text in enumerate(missing):
        if text in missing[:index]:
            yield ("data", "csv", "missing"), f'data.csv.missing has "{text}" twice; expected each once'


DIRECTIVES = "YmdHMSyjbBIpfzT"


def _dates(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    data = job["data"]
    dates = (data["csv"] or {}).get("dates") or ()
    if dates and data["time"] is None:
        yield (
            ("data", "csv", "dates"),
            "data.csv.dates says how times are written; expected data.time to name them",
        )
    for text in dates:
        found = re.findall(r"%(.?)", text)
        wrong = next((one for one in found if one not in DIRECTIVES), None)
        if wrong is not None:
            known = ", ".join(f"%{one}" for one in DIRECTIVES)
            yield ("data", "csv", "dates"), f'data.csv.dates has "%{wrong}"; expected any of {known}'
        elif not {"Y", "y"} & set(found):
            yield (
                ("data", "csv", "dates"),
                f'data.csv.dates is "{text}", which has no year; expected a format such as "%d.%m.%Y %H:%M"',
            )
        elif why := _wrong_hours(set(found)):
            yield ("data", "csv", "dates"), f'data.csv.dates is "{text}", {why}'


def _wrong_hours(parts: set[str]) -> str | None:
    """strptime reads past AM and PM where it has read hours up to 24."""
    if "p" in parts and {"H", "T"} & parts:
        hours = "%H" if "H" in parts else "%T"
        return f"which has %p (AM or PM) beside {hours} (hours up to 24); %p wants %I (hours up to 12) alone"
    if "p" in parts and "I" not in parts:
        return "which has %p (AM or PM) and no hours; %p wants %I (hours up to 12)"
    if "I" in parts and "p" not in parts:
        return "which has %I (hours up to 12) without %p (AM or PM); expected %H for hours up to 24"
    return None


def _split(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    split = job["data"]["split"]
    task = job["task"] or implied_task(job)
    if split and split["method"] == "stratified" and task not in ("classification", None):
        yield (
            ("data", "split", "method"),
            f"data.split.method is stratified, and the task is {task}; expected a classification, or random",
        )


def _season(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    if job["data"]["season"] is not None and not job["data"]["window"]:
        yield (
            ("data", "season"),
            "data.season is for a forecast of windows; expected data.window, or no season",
        )


def _step(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    data = job["data"]
    for key in ("step", "timezone"):
        if data[key] is None:
            continue
        if not data["time"]:
            yield (
                ("data", key),
                f"data.{key} is about data.time, which is not given; expected both, or no {key}",
            )
        elif not data["window"]:
            yield ("data", key), f"data.{key} is for windows of a series; expected data.window, or no {key}"
    window, task = data["window"] or {}, job["task"] or implied_task(job)
    if window.get("gap") and (window["horizon"] == 0 or task == "labelling"):
        yield (
            ("data", "window", "gap"),
            f"data.window.gap is {window['gap']}, and the target is at the rows that are shown; expected a horizon of "
            "at least 1, or no gap",
        )


def _answer(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """A window that shows what is asked teaches nothing."""
    data = job["data"]
    window, task = data["window"], job["task"] or implied_task(job)
    sees = window is not None and (window["horizon"] == 0 or task == "labelling")
    if not sees or not _is_table(job):
        return
    shown = data["target"] if task == "forecasting" and data["features"] is None else data["features"] or ()
    both = [name for name in data["target"] or () if name in shown]
    if both:
        yield (
            ("data", "window", "horizon"),
            f"data.window.horizon is {window['horizon']}, and {both[0]} is the target and a feature: the model would "
            "see the answer; expected other data.features, or a horizon of at least 1",
        )


def _missing(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    if job["data"]["missing"] == "drop" and is_stateful(job) and not job["data"]["window"]:
        yield (
            ("data", "missing"),
            "data.missing is drop, and without the samples left out a stateful model would continue the wrong ones; "
            "expected error or fill",
        )


def _padding(job: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """An input has one value that stands for padding: it is not scaled, and counts nowhere."""
    found: dict[str, list[float]] = {}
    for one in readings(job, input_names(job)):
        if one.kind == "Masking" or one.arguments.get("mask_zero"):
            value = float(one.arguments.get("mask_value", 0.0))
            found.setdefault(one.input, []).append(value)
    for name, values in found.items():
        other = next((value for value in values if value != values[0]), None)
        if other is not None:
            yield (
                ("model",),
                f"model: the input {name} is masked where it is {values[0]:g}, and on another way where it is "
                f"{other:g}; expected one mask_value: name what is masked otherwise as an input of its own "
                "(data.x)",
            )
