"""Which job of a group is the best: by which figure of its results, in which direction, in which order."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gpujobs.errors import UsageError
from gpujobs.metric_names import smaller_is_better

Figures = Mapping[str, float]


class Mode(StrEnum):
    """Which end of a figure is the better one; Keras's words."""

    MIN = "min"
    MAX = "max"


COSTS = ("seconds", "bytes", "parameters")
"""Of these, besides errors and losses, less is better."""

MAX_FIGURES = 200
"""Of one job: its user has written them."""


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
    found = {**_numbers(metrics), **named, **kept}
    found.pop("epoch", None)
    return dict(itertools.islice(found.items(), MAX_FIGURES))


def evaluated(metrics: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """(the part of the data, what metrics.json says of the model there); nothing where it has no evaluation."""
    found = metrics.get("evaluation")
    return (str(found.get("part")), found) if isinstance(found, dict) else ("", {})


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


def chosen(metric: str, mode: Mode | None, known: Collection[str]) -> Criterion:
    """What the user asks for. Raises UsageError for a figure that no job has, or of no known direction."""
    if known and metric not in known:
        raise UsageError(f"no job of this group has {metric}; expected one of {', '.join(sorted(known))}")
    direction = mode or _direction(metric)
    if direction is None:
        raise UsageError(
            f"the name {metric} does not tell whether more is better; give --mode min or --mode max"
        )
    return Criterion(metric, direction, "as asked for")


def default(
    jobfile: Mapping[str, Any],
    swept: Collection[str],
    known: Collection[str],
    evaluated_by: tuple[str, str] | None,
) -> Criterion | None:
    """What the jobs watch, or are validated by; None where no job has any such figure.

    `jobfile`: the resolved one of a member; `swept`: the keys that the sweep sets; `known`: the names of the
    figures; `evaluated_by`: part and metric of the evaluation. A loss does not compare jobs with other losses.
    """
    has_losses = any(key == "training.loss" or key.startswith("training.loss.") for key in swept)
    for criterion in _candidates(jobfile.get("training") or {}, evaluated_by):
        is_loss = criterion.metric.endswith("loss")
        if criterion.metric in known and not (is_loss and has_losses):
            return criterion
    return None


def _candidates(training: Mapping[str, Any], evaluated_by: tuple[str, str] | None) -> Iterator[Criterion]:
    yield from _watched(training)
    yield Criterion("val_loss", Mode.MIN, "the loss of the validation part")
    part, metric = evaluated_by or ("", "")
    mode = _direction(metric)
    evaluation = [Criterion(f"{part}_{metric}", mode, f"of the {part} part")] if mode is not None else []
    if part != "train":
        yield from evaluation
    yield Criterion("loss", Mode.MIN, "the loss of training, for there is no validation part")
    yield from evaluation


def _watched(training: Mapping[str, Any]) -> Iterator[Criterion]:
    """First what decides which weights the model has in the end."""
    keys = ["best_weights", "early_stopping", "reduce_lr_on_plateau"]
    if (training.get("early_stopping") or {}).get("restore_best_weights"):
        keys = ["early_stopping", "best_weights", "reduce_lr_on_plateau"]
    for key in keys:
        settings = training.get(key)
        if settings:
            mode = _direction(settings["monitor"]) if settings["mode"] == "auto" else Mode(settings["mode"])
            if mode is not None:
                yield Criterion(settings["monitor"], mode, f"which training.{key} watches")


def _direction(metric: str) -> Mode | None:
    if any(metric.endswith(cost) for cost in COSTS):
        return Mode.MIN
    smaller = smaller_is_better(metric)
    return None if smaller is None else Mode.MIN if smaller else Mode.MAX
