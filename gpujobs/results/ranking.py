"""Which job of a group is the best: by which figure of its results, in which direction, in which order."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

from gpujobs.errors import UsageError
from gpujobs.jobfile import losses
from gpujobs.jobfile.consistency import outputs_of, scaling_of_targets
from gpujobs.metric_names import NONE, Kinds, direction, smaller_is_better

Figures = Mapping[str, float]


class Mode(StrEnum):
    """Which end of a figure is the better one; Keras's words."""

    MIN = "min"
    MAX = "max"


COSTS = ("seconds", "bytes", "parameters")
"""Of these, besides errors and losses, less is better."""

MAX_FIGURES = 200
"""Of one job: its user has written them."""

MAX_LINES, MAX_LINE = 100, 1000


@dataclass(frozen=True, slots=True)
class Criterion:
    """What jobs are ranked by, and why, in words."""

    metric: str
    mode: Mode
    why: str


@dataclass(frozen=True, slots=True)
class Ranked:
    """A job's place; equal values share one."""

    rank: int
    job: int
    value: float


def figures(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a metrics.json by name: those of the epoch whose weights the model has (as in
    history.csv), the evaluation's with their part before their names (test_mae), and the rest of the top level.
    """
    kept = _numbers(metrics.get("kept") or metrics.get("final"))
    part, evaluation = evaluated(metrics)
    named = {f"{part}_{name}": value for name, value in _numbers(evaluation.get("model")).items()}
    for output, one in _outputs(evaluation):
        named |= {f"{part}_{output}_{name}": value for name, value in _numbers(one.get("model")).items()}
    found = {**_numbers(metrics), **named, **kept}
    found.pop("epoch", None)
    return dict(itertools.islice(found.items(), MAX_FIGURES))


class Evaluated(NamedTuple):
    """A part of the data, and what metrics.json says of the model there."""

    part: str
    said: Mapping[str, Any]


def evaluated(metrics: Mapping[str, Any]) -> Evaluated:
    """Nothing where it has no evaluation."""
    found = metrics.get("evaluation")
    return Evaluated(str(found.get("part")), found) if isinstance(found, dict) else Evaluated("", {})


def evaluated_by(metrics: Mapping[str, Any]) -> tuple[str, str] | None:
    """(part, metric) of an evaluation; of several outputs that of the first."""
    part, evaluation = evaluated(metrics)
    if "metric" in evaluation:
        return part, str(evaluation["metric"])
    return next(
        ((part, f"{output}_{one['metric']}") for output, one in _outputs(evaluation) if "metric" in one), None
    )


def _outputs(evaluation: Mapping[str, Any]) -> Sequence[tuple[str, Mapping[str, Any]]]:
    outputs = evaluation.get("outputs")
    pairs = outputs.items() if isinstance(outputs, dict) else ()
    return [(str(name), one) for name, one in pairs if isinstance(one, dict)][:MAX_FIGURES]


def evaluation_lines(metrics: Mapping[str, Any]) -> list[str]:
    """What the trainer says of an evaluation, in the data's own units; its user may have written anything."""
    found = evaluated(metrics).said.get("lines")
    some = found if isinstance(found, list) else []
    return [one[:MAX_LINE] for one in some if isinstance(one, str)][:MAX_LINES]


def _numbers(values: Any) -> dict[str, float]:
    """The finite ones; JSON as Python reads it has NaN, infinities and whole numbers of any length."""
    pairs = values.items() if isinstance(values, dict) else ()
    return {
        name: value
        for name, value in pairs
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    }


def rank(by_job: Mapping[int, Figures], criterion: Criterion) -> list[Ranked]:
    """The best first. Jobs that lack the figure are left out."""
    sign = 1 if criterion.mode is Mode.MIN else -1
    values = [(found[criterion.metric], job) for job, found in by_job.items() if criterion.metric in found]
    ranked: list[Ranked] = []
    for place, (value, job) in enumerate(sorted(values, key=lambda one: (sign * one[0], one[1])), 1):
        is_tie = bool(ranked) and ranked[-1].value == value
        ranked.append(Ranked(ranked[-1].rank if is_tie else place, job, value))
    return ranked


def chosen(metric: str, mode: Mode | None, known: Collection[str], kinds: Kinds = NONE) -> Criterion:
    """What the user asks for. `kinds`: the classes of metrics that the job file has named. Raises UsageError for a
    figure that no job has, or of no known direction."""
    if known and metric not in known:
        raise UsageError(f"no job of this group has {metric}; expected one of {', '.join(sorted(known))}")
    direction = mode or _direction(metric, kinds)
    if direction is None:
        raise UsageError(
            f"the name {metric} does not tell whether more is better; give --mode min or --mode max"
        )
    return Criterion(metric, direction, "as asked for")


SCALE_LOSSES = ("training.loss", "training.class_weight", "data.sample_weight", "data.window", "data.sequence",
                "data.target", "data.y", "data.classes", "task")  # fmt: skip
"""Where jobs differ in these, their losses are not of one scale."""

FIT_SCALES = ("data.train", "data.csv", "data.split", "data.missing", "data.lengths", "data.group", "data.time",
              "data.step", "data.timezone", "training.validation_split")  # fmt: skip
"""What decides on which targets a scale is fitted: where they are scaled, each job has a unit of its own."""

UNITS = ("data.scaling", *FIT_SCALES, "data.target", "data.y", "data.window", "task")
"""Where they differ in these, neither are other errors in the history, which are of targets as they were scaled."""


def default(
    jobfile: Mapping[str, Any],
    swept: Mapping[str, Sequence[Any]],
    known: Collection[str],
    evaluated_by: tuple[str, str] | None,
) -> Criterion | None:
    """What the jobs watch, or are validated by; None where no job has any such figure, or none compares them.

    `jobfile`: the resolved one of a member; `swept`: what the sweep sets each key to; `known`: the names of the
    figures; `evaluated_by`: part and metric of the evaluation. Where something that scales losses differs between
    the jobs, the evaluation ranks them, which is in the data's own units; not by errors of different targets.
    """
    of_losses = [key for key, values in swept.items() if _scales_losses(jobfile, key, values)]
    of_errors = [key for key in of_losses if _touches(key, UNITS)]
    are_of_others = any(_are_other_targets(key, values) for key, values in swept.items())
    for criterion, is_history in _candidates(jobfile, evaluated_by, of_losses):
        is_error = criterion.mode is Mode.MIN
        refused = of_losses if criterion.metric.endswith("loss") else of_errors if is_error else []
        is_refused = bool(refused) if is_history else is_error and are_of_others
        if criterion.metric in known and not is_refused:
            return criterion
    return None


PENALTY = re.compile("regularizer|ActivityRegularization")


def _scales_losses(jobfile: Mapping[str, Any], key: str, values: Sequence[Any]) -> bool:
    if not _do_differ(values):
        return False
    if key != "data" and _touches(key, ("data.scaling",)):
        return _are_scaled(jobfile, key, values)
    if (jobfile.get("training") or {}).get("loss"):
        is_fitted = scaling_of_targets(jobfile) is not None and _touches(key, FIT_SCALES)
        if is_fitted or (key == "training.batch_size" and _are_sums(jobfile)):
            return True
    is_penalty = any(
        PENALTY.search(text) for text in (key, *(json.dumps(one, default=str) for one in values))
    )
    return is_penalty or _touches(key, SCALE_LOSSES)


def _are_other_targets(key: str, values: Sequence[Any]) -> bool:
    """Whether an error of one job is of other numbers than that of another, in whatever units."""
    if key == "data":
        values = [[one.get("target"), one.get("y")] for one in values if isinstance(one, Mapping)]
    elif not _touches(key, ("data.target", "data.y")):
        return False
    return _do_differ(values)


def _do_differ(values: Sequence[Any]) -> bool:
    return len({json.dumps(one, sort_keys=True, default=str) for one in values}) > 1


def _are_sums(jobfile: Mapping[str, Any]) -> bool:
    """Whether a loss is summed up over a batch, and so grows with it."""
    found = [losses.of_output(jobfile, name) for name in outputs_of(jobfile) or ("y",)]
    return any(losses.arguments(one).get("reduction") == "sum" for one in found)


def _are_scaled(jobfile: Mapping[str, Any], key: str, values: Sequence[Any]) -> bool:
    """Whether these settings scale targets in different ways; those of classes are not scaled."""
    if key.startswith("data.scaling.") and not key.startswith("data.scaling.y"):
        return False
    jobs = [{**jobfile, "data": {**(jobfile.get("data") or {}), "scaling": one}} for one in values]
    return len({scaling_of_targets(job) for job in jobs}) > 1


def _touches(key: str, fields: Sequence[str]) -> bool:
    """Whether a dotted key is one of these, part of one, or holds one."""
    key = key.split("[")[0]
    return any(key == one or key.startswith(f"{one}.") or one.startswith(f"{key}.") for one in fields)


def _candidates(
    jobfile: Mapping[str, Any], evaluated_by: tuple[str, str] | None, of_losses: Sequence[str]
) -> Iterator[tuple[Criterion, bool]]:
    """And whether it is a figure of the history."""
    training = jobfile.get("training") or {}
    unit = _unit(jobfile)
    for watched in _watched(training):
        yield replace(watched, why=f"{watched.why}{unit}"), True
    yield Criterion("val_loss", Mode.MIN, f"the loss of the validation part{unit}"), True
    part, metric = evaluated_by or ("", "")
    mode = _direction(metric)
    why = f"of the {part} part, in the data's own units"
    if of_losses:
        why += (
            f"; the losses do not compare, for {' and '.join(of_losses)} differ{'s' * (len(of_losses) == 1)}"
        )
    evaluation = [(Criterion(f"{part}_{metric}", mode, why), False)] if mode is not None else []
    if part != "train":
        yield from evaluation
    yield Criterion("loss", Mode.MIN, f"the loss of training, for there is no validation part{unit}"), True
    yield from evaluation


def _unit(jobfile: Mapping[str, Any]) -> str:
    method = scaling_of_targets(jobfile) if (jobfile.get("training") or {}).get("loss") else None
    return f" (of targets as scaled: {method})" if method else ""


def _watched(training: Mapping[str, Any]) -> Iterator[Criterion]:
    """First what decides which weights the model has in the end."""
    keys = ["best_weights", "early_stopping", "reduce_lr_on_plateau"]
    if (training.get("early_stopping") or {}).get("restore_best_weights"):
        keys = ["early_stopping", "best_weights", "reduce_lr_on_plateau"]
    for key in keys:
        settings = training.get(key)
        if settings:
            mode = direction(settings, training)
            if mode is not None:
                yield Criterion(settings["monitor"], Mode(mode), f"which training.{key} watches")


def _direction(metric: str, kinds: Kinds = NONE) -> Mode | None:
    if any(metric.endswith(cost) for cost in COSTS):
        return Mode.MIN
    smaller = smaller_is_better(metric, kinds)
    return None if smaller is None else Mode.MIN if smaller else Mode.MAX
