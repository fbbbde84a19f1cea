"""Which samples, and which of their steps, count: the one place that says so. The loss, the metrics, the evaluation,
scales of targets, class weights and summaries ask it; steps that are padding or masked, and labels that the loss
ignores, count nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpujobs.jobfile import losses
from gpujobs.jobfile.consistency import outputs_of, task_of_output
from gpujobs.jobfile.ways import steps_of
from gpujobs.trainer.data.arrays import Integers
from gpujobs.trainer.data.fitting import classes
from gpujobs.trainer.data.reading.input_requirements import InputRequirements, heads, is_there, with_steps
from gpujobs.trainer.data.reading.loaded import CLASS_TASKS
from gpujobs.trainer.data.samples.rows import RaggedRows, Rows, ThereRows
from gpujobs.trainer.data.samples.samples import Samples


@dataclass(frozen=True, slots=True)
class Unmasked:
    """Which steps an input's mask leaves; `rows`: the input as the file has it."""

    rows: Rows
    head: InputRequirements

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        return self.rows.row_shape[:1]

    def take(self, numbers: Integers) -> NDArray[Any]:
        return is_there(self.rows.take(numbers), self.head)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Steps that are there in one of several inputs."""

    rows: tuple[Rows, ...]

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        return self.rows[0].row_shape

    def take(self, numbers: Integers) -> NDArray[Any]:
        return np.any([one.take(numbers) for one in self.rows], axis=0)


@dataclass(frozen=True, slots=True)
class Labelled:
    """Where a label is another than `ignored`, of the steps that are there (None: of all)."""

    labels: Rows
    ignored: int
    steps: Rows | None

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        shape = self.labels.row_shape
        return shape[:-1] if shape[-1:] == (1,) else shape

    def take(self, numbers: Integers) -> NDArray[Any]:
        y = self.labels.take(numbers)
        y = y[..., 0] if self.labels.row_shape[-1:] == (1,) else y
        found = y != self.ignored
        return found if self.steps is None else found & self.steps.take(numbers)


@dataclass(frozen=True, slots=True)
class Placeheld:
    """Labels with 0 where they do not count, whatever stands there."""

    labels: Rows
    counted: Rows

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        return self.labels.row_shape

    def take(self, numbers: Integers) -> NDArray[Any]:
        y = self.labels.take(numbers)
        return np.where(self.counted.take(numbers).reshape(y.shape), y, y.dtype.type(0))


def counted(job: Mapping[str, Any], samples: Samples) -> dict[str, Rows]:
    """By target, or, where the targets are unknown, by output, where not all count. `samples`: before scaling."""
    found: dict[str, Rows] = {}
    targets: Mapping[str, Rows | None] = samples.targets or dict.fromkeys(outputs_of(job) or ["y"])
    for name, rows in targets.items():
        steps = _steps(job, name, rows, samples)
        ignored = losses.ignored(losses.of_output(job, name))
        is_class = task_of_output(job, name) in CLASS_TASKS
        if rows is not None and is_class and ignored is not None and not _are_rows(job, name, rows, samples):
            found[name] = Labelled(rows, ignored, steps)
        elif steps is not None:
            found[name] = steps
    return found


def _are_rows(job: Mapping[str, Any], name: str, rows: Rows, samples: Samples) -> bool:
    """Whether labels are one-hot rows, of which none stands for no class."""
    axes = 2 if output_has_steps(job, name, samples) else 1
    return len(rows.row_shape) >= axes and classes.is_one_hot(samples.all_of(rows))


def _steps(job: Mapping[str, Any], name: str, rows: Rows | None, samples: Samples) -> Rows | None:
    """Which steps of an output are there, where not all are: those of some input whose steps the output has values
    for. An input that comes without its mask, on one way, is there in all steps."""
    if isinstance(rows, RaggedRows):
        return ThereRows(rows.lengths)
    if rows is not None and not rows.row_shape:
        return None
    of_inputs = heads(job)
    masked = steps_of(job, name, with_steps(samples.inputs, of_inputs))
    ragged = [one.lengths for one in (samples.inputs[name] for name in masked) if isinstance(one, RaggedRows)]
    if ragged:
        return ThereRows(ragged[0]) if rows is None else None
    fitting = [
        one for one in masked if rows is None or samples.inputs[one].row_shape[:1] == rows.row_shape[:1]
    ]
    if not fitting or not all(masked[one] for one in fitting):
        return None
    there = tuple(Unmasked(samples.inputs[one], of_inputs[one]) for one in fitting)
    return there[0] if len(there) == 1 else AnyOf(there)


def output_has_steps(job: Mapping[str, Any], name: str, samples: Samples) -> bool:
    """Whether an output has a value for each step of some input."""
    return bool(steps_of(job, name, with_steps(samples.inputs, heads(job))))


def task_of_target(job: Mapping[str, Any], name: str, samples: Samples) -> str:
    """As the job file says; labelling, though it says nothing of it, where the output and the target of arrays have a
    class for each step."""
    task, rows = task_of_output(job, name), samples.targets.get(name)
    may_be = task == "classification" and rows is not None and len(rows.row_shape) > 0
    is_each = may_be and not is_cut(job) and output_has_steps(job, name, samples)
    return "labelling" if is_each else task


def is_cut(job: Mapping[str, Any]) -> bool:
    """Whether the job file says how rows become samples, and so whether a class is one of a step."""
    return bool(job["data"].get("window") or job["data"].get("sequence"))


def without_ignored(labels: Any, ignored: int | None) -> Any:
    """Labels with a class in the place of `ignored`, where nothing counts: one that is not ignored itself."""
    if ignored is None:
        return labels
    return np.where(labels == ignored, labels.dtype.type(1 if ignored == 0 else 0), labels)


def labels(samples: Samples, name: str, task: str) -> NDArray[Any]:
    """The number of the class of each sample, or step, that counts, one after the other; one-hot rows as numbers. Of a
    labelling, zeros with a single one in the steps of a sample are labels of these steps."""
    rows = samples.targets[name]
    if isinstance(rows, RaggedRows) and isinstance(samples.counted.get(name), ThereRows):
        y = rows.values[rows.steps(samples.at(np.arange(len(samples))))]
        return (y.argmax(axis=-1) if classes.is_one_hot(y) else y).reshape(-1)
    y = samples.all_of(rows)
    has_classes = y.ndim > (2 if task == "labelling" else 1)
    y = y.argmax(axis=-1) if has_classes and are_one_hot(y, samples, name) else y
    if name not in samples.counted:
        return y.reshape(-1)
    counts = samples.all_of(samples.counted[name])
    return y.reshape(counts.shape)[counts]


def are_one_hot(y: NDArray[Any], samples: Samples, name: str) -> bool:
    """Whether the labels of all samples are one-hot rows, of what counts: padding may be rows of zeros."""
    if classes.is_one_hot(y):
        return True
    if name not in samples.counted:
        return False
    counts = samples.all_of(samples.counted[name])
    return counts.shape == y.shape[:-1] and classes.is_one_hot(y[counts])
