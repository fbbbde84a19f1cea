"""The end of the evaluated part as a forecaster would have seen it: one forecast after the other, none overlapping."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gpujobs.jobfile.consistency import task_of_output
from gpujobs.results.forecast import MAX_POINTS, MAX_TRACKS, Forecast, Track, Values
from gpujobs.trainer import evaluation, prediction, prediction_table
from gpujobs.trainer.data import Part
from gpujobs.trainer.data.samples.windowed import Windowed


@dataclass(frozen=True, slots=True)
class Steps:
    """Of one target: shape (samples, steps)."""

    name: str
    truth: Any
    forecast: Any
    naive: Any


def of(trained: Any, evaluated: Mapping[str, Any]) -> Forecast | None:
    """None where no series is forecast in numbers. `evaluated`: of metrics.json; its best baseline is shown."""
    part = trained.parts[evaluated["part"]]
    windowed = part.assembled
    if not isinstance(windowed, Windowed) or not windowed.window["horizon"]:
        return None
    arrays = trained.predicted_part(evaluated["part"])
    found = [
        one for target in part.truth.targets for one in _target(trained, part, target, arrays, evaluated)
    ]
    if not found:
        return None
    horizon = windowed.window["horizon"]
    chains = [chain for chain in _chains(part, windowed, horizon) if len(chain.numbers)]
    shown = [(steps, *chain) for chain in chains for steps in found][:MAX_TRACKS]
    x, axis, zone = _places(arrays, part, windowed, horizon)
    tracks = [_track(steps, group, numbers, x, part, windowed) for steps, group, numbers in shown]
    naive = " or ".join(dict.fromkeys(_best(evaluated, target) for target in part.truth.targets))
    most = max(len(numbers) * horizon for _, _, numbers in shown)
    return Forecast(
        str(evaluated["part"]), horizon, naive, axis, zone, len(chains) * len(found), most, tracks
    )


def _of_target(evaluated: Mapping[str, Any], target: str) -> Mapping[str, Any]:
    own: Mapping[str, Any] = (evaluated.get("outputs") or {}).get(target, evaluated)
    return own


def _best(evaluated: Mapping[str, Any], target: str) -> str:
    return str(_of_target(evaluated, target)["best_baseline"])


def _target(
    trained: Any, part: Part, target: str, arrays: Mapping[str, Any], evaluated: Mapping[str, Any]
) -> Iterator[Steps]:
    """The columns of a target; nothing where it is a class."""
    windowed, job = part.assembled, trained.spec.jobfile
    own = prediction.only(arrays, target) if len(part.truth.targets) > 1 else arrays
    if "y_class" in own or not isinstance(windowed, Windowed):
        return
    always = evaluation.constant(trained.parts["train"], target, task_of_output(job, target), trained.learned)
    known = evaluation.series_forecasts(windowed, target, job["data"].get("season"))
    naive = known.get(_best(evaluated, target))
    shape, horizon = own["y_true"].shape, windowed.window["horizon"]
    naive = evaluation.everywhere(always, own["y_true"]) if naive is None else naive.reshape(shape)
    names = trained.learned.target_names if len(part.truth.targets) == 1 else ()
    values = [_columns(one, horizon) for one in (own["y_true"], own["y_pred"], naive)]
    count = values[0].shape[-1]
    names = names if names and len(names) == count else prediction_table.numbered(target, count)
    for number, name in enumerate(names):
        yield Steps(str(name), *(one[..., number] for one in values))


def _columns(values: Any, horizon: int) -> Any:
    """Shape (samples, horizon, columns)."""
    return np.asarray(values).reshape(len(values), horizon, -1)


class _Chain(NamedTuple):
    """Samples of a group that follow one another by a horizon at least, in order of time."""

    group: str | None
    numbers: Any


def _chains(part: Part, windowed: Windowed, horizon: int) -> Iterator[_Chain]:
    """For each group one."""
    samples = part.samples
    starts = windowed.index.starts(samples.at(np.arange(len(samples))))
    groups = samples.all_of(samples.labels["group"]) if "group" in samples.labels else None
    names = [None] if groups is None else list(dict.fromkeys(groups.tolist()))
    for name in names:
        own = np.arange(len(starts)) if groups is None else np.flatnonzero(groups == name)
        own = own[np.argsort(starts[own], kind="stable")]
        yield _Chain(None if name is None else str(name), own[_apart(starts[own], horizon)])


def _apart(starts: Any, least: int) -> Any:
    """Places of starts, which grow, so that each is `least` after the one before; the last of them is there."""
    chosen, next_start = [], math.inf
    for place in range(len(starts) - 1, -1, -1):
        if starts[place] <= next_start - least:
            chosen.append(place)
            next_start = starts[place]
    return np.array(chosen[::-1], np.int64)


class _Places(NamedTuple):
    """Where steps lie. `of_steps`: shape (samples, horizon), ISO times, numbers of the time column, or rows from 1."""

    of_steps: Any
    axis: str
    zone: str | None


def _places(arrays: Mapping[str, Any], part: Part, windowed: Windowed, horizon: int) -> _Places:
    zone = windowed.raw.zone
    if windowed.times is not None and "time" in arrays:
        times = part.samples.all_of(windowed.times).reshape(len(part.samples), -1)
        if times.shape[1] == horizon:
            return _Places(_texts(times, zone) if times.dtype.kind == "M" else times, "time", zone)
    starts = windowed.index.starts(part.samples.at(np.arange(len(part.samples))))
    return _Places(starts[:, None] + windowed.target.first + 1 + np.arange(horizon), "row", None)


def _texts(times: Any, zone: str | None) -> Any:
    unit = {"D": "D", "h": "s", "m": "s", "s": "s", "ms": "ms"}.get(np.datetime_data(times.dtype)[0], "us")
    texts = times.astype(f"datetime64[{unit}]").astype(str)
    return texts if zone is None else np.char.add(texts, "+00:00")


def _track(steps: Steps, group: str | None, numbers: Any, x: Any, part: Part, windowed: Windowed) -> Track:
    horizon = windowed.window["horizon"]
    chosen = numbers[-max(1, MAX_POINTS // horizon) :]
    starts = windowed.index.starts(part.samples.at(chosen))
    usual = -(-horizon // windowed.window["stride"]) * windowed.window["stride"]
    breaks = {int(place) for place in np.flatnonzero(np.diff(starts) > usual)}
    values: list[Values] = [[], [], []]
    places: list[Any] = []
    for place, number in enumerate(chosen):
        for step in range(min(horizon, MAX_POINTS)):
            places.append(x[number, step].item())
            for known, of_all in zip(values, (steps.truth, steps.forecast, steps.naive), strict=True):
                known.append(_number(of_all[number, step]))
        if place in breaks:
            places.append(places[-1])
            for known in values:
                known.append(None)
    return Track(steps.name, group, places, *values)


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
