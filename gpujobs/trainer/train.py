"""One job's training, from its data to its results, in a trainer's process."""

from __future__ import annotations

import contextlib
import io
import math
import shutil
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from gpujobs.jobfile import losses as jobfile_losses
from gpujobs.jobfile.consistency import is_stateful, scaling_of_targets
from gpujobs.metric_names import kinds_of
from gpujobs.model import utc_now
from gpujobs.protocol.spec import AttemptSpec
from gpujobs.results.curves import JobHistory
from gpujobs.trainer import (
    building,
    checkpoint,
    decision,
    evaluation,
    files,
    outputs,
    pictures,
    prediction,
    prediction_table,
    stateful,
    warming,
)
from gpujobs.trainer.backends import active as backend
from gpujobs.trainer.data import Part, Prepared, Preprocessing, notices, prepare
from gpujobs.trainer.data.fitting.counted import task_of_target
from gpujobs.trainer.data.fitting.targets import Output, shaped
from gpujobs.trainer.data.fitting.weights import class_weights
from gpujobs.trainer.data.prepare import all_of, to_predict
from gpujobs.trainer.data.reading.loaded import CLASS_TASKS
from gpujobs.trainer.data.samples.windowed import Windowed
from gpujobs.trainer.early_stopping import kept_epoch
from gpujobs.trainer.failures import DataError
from gpujobs.trainer.kept import Kept
from gpujobs.trainer.traced import Derived
from gpujobs.trainer.training_loop import Messages, Sets, StopFlag, TrainingLoop

OF_WHOLE_BATCHES = ("dice", "tversky")


def run(spec: AttemptSpec, messages: Messages, stop: StopFlag, kept: Kept) -> None:
    """Trains, predicts and writes the results. Raises TrainerError, Stopped, or what Keras raises.

    `kept`: of the process, whatever trained in it before."""
    began = time.monotonic()
    shutil.rmtree(spec.paths.results, ignore_errors=True)
    spec.paths.results.mkdir(parents=True)
    print_devices(spec)
    begin_from(spec, messages)
    spec = files.pin(spec)
    prepared = prepare(spec)
    look_at_predictions(spec, prepared.preprocessing)
    fit, rows, start = fitted(spec, prepared, messages, stop, kept)
    seconds = {"start_seconds": start - began, "train_seconds": time.monotonic() - start}
    more = {**seconds, **fit.use.figures(fit.batch_size), **fit.early_end.figures(len(rows), fit.epochs)}
    for line in fit.use.lines(fit.batch_size):
        print(line, flush=True)
    finish(Trained(spec, fit.model, prepared.preprocessing, prepared.parts, fit.traced.derived), rows, more)
    files.release(spec)
    kept.keep(fit.traced)


class Fitted(NamedTuple):
    """A training that has ended, its history, and when (`time.monotonic`) it began."""

    loop: TrainingLoop
    rows: list[dict[str, float]]
    began: float


def fitted(spec: AttemptSpec, prepared: Prepared, messages: Messages, stop: StopFlag, kept: Kept) -> Fitted:
    """From the start with a new model,
    as if there had been none, where the checkpoint turns out to be another model's only after a step was run."""
    while True:
        traced = kept.traced(spec, prepared)
        say_what_figures_mean(spec, traced.model)
        sets = sets_of(spec, prepared, traced.model)
        stop.check()
        start = time.monotonic()
        fit = TrainingLoop(spec, traced, sets, messages, stop)
        try:
            return Fitted(fit, fit.run(), start)
        except checkpoint.DamagedError as error:
            fit.warn(f"the checkpoint cannot be used: {error}; it is set aside")


def say_what_figures_mean(spec: AttemptSpec, model: keras.Model) -> None:
    for notice in decision.notices(spec.jobfile, model):
        print(notice, flush=True)
    if (method := scaling_of_targets(spec.jobfile)) is not None:
        print(
            f"Losses and errors of epochs are of scaled targets ({method}); the evaluation is in the data's units."
        )


def begin_from(spec: AttemptSpec, messages: Messages) -> None:
    """Takes an earlier job's checkpoint over, or, where somebody asked to begin anew, leaves none. One that cannot be
    copied costs time and not the job: the same results come from the beginning."""
    if spec.begins_anew:
        checkpoint.clear(spec.paths.checkpoint)
    try:
        checkpoint.inherit(spec.paths.checkpoint, [Path(origin) for origin in spec.checkpoint_from])
    except OSError as error:
        why = f"the earlier job's checkpoint could not be taken over: {error.strerror or error}"
        messages.warn(f"{why}; the training begins with what of it is there, or from the start")


def look_at_predictions(spec: AttemptSpec, learned: Preprocessing) -> None:
    """Raises DataError before the training for what could not be predicted after it, which would lose the model."""
    with contextlib.redirect_stdout(io.StringIO()), notices.once():  # it is said when it is predicted
        entries = {
            entry["name"]: entry for entry in spec.jobfile.get("predict") or [] if not entry.get("source")
        }
        all_of(entries, lambda entry: to_predict(spec, entry, learned))


def print_devices(spec: AttemptSpec) -> None:
    print(backend.title())
    gpus = [device for device in spec.all_devices if device.is_gpu]
    for gpu in gpus:
        print(f"GPU {gpu.index}: {gpu.name} ({gpu.uuid})")
    if not gpus:
        print("This box has no GPU.")
    kind = "GPU" if spec.device.is_gpu else "CPU slot"
    print(f"Visible to this job: {kind} {spec.device.index}: {spec.device.name}", flush=True)


def shapes(part: Part) -> dict[str, tuple[int | None, ...]]:
    return {name: rows.row_shape for name, rows in part.samples.inputs.items()}


def is_masked(prepared: Prepared) -> bool:
    """Whether there are steps, or samples, that no metric may count."""
    return bool(prepared.train.samples.counted)


def sets_of(spec: AttemptSpec, prepared: Prepared, model: keras.Model) -> Sets:
    """The training and validation parts with targets as the loss wants them."""
    training, learned = spec.jobfile["training"], prepared.preprocessing
    shapes_by_name = outputs_by_name(spec, model)
    losses = building.losses(spec.jobfile, list(shapes_by_name))
    for kind in losses.values():
        if prepared.train.samples.counted and kind in OF_WHOLE_BATCHES:
            raise DataError(
                f"training.loss is {kind}, which compares whole batches and cannot leave out the padded or masked "
                f"steps that {prepared.train.file} has; expected sparse_categorical_crossentropy, say"
            )
    outputs = {
        name: Output(
            task_of_target(spec.jobfile, name, prepared.train.truth), shape, losses[name],
            jobfile_losses.ignored(jobfile_losses.of_output(spec.jobfile, name)),
        )
        for name, shape in shapes_by_name.items()
    }  # fmt: skip
    ready = {
        name: shaped(
            part.samples, outputs, part.assembled.raw, learned.classes, spec.jobfile["data"].get("window")
        )
        for name, part in prepared.parts.items()
    }
    known, output = next(iter(learned.classes.values()), None), next(iter(outputs.values()))
    train = class_weights(training.get("class_weight"), ready["train"], output, known)
    validation = ready.get("validation")
    if not is_stateful(spec.jobfile):
        return Sets(train, validation)
    batch_size = int(training["batch_size"])
    trained = {name: part for name, part in prepared.parts.items() if name != "test"}
    counts = {name: len(part.samples) for name, part in trained.items()}
    is_series = isinstance(prepared.train.assembled, Windowed)
    stateful.require_batches(counts, batch_size, prepared.train.file, is_series=is_series)
    orders = {
        name: stateful.strips(
            part.samples, batch_size, f"{part.file} ({name})", is_series=isinstance(part.assembled, Windowed)
        )
        for name, part in trained.items()
    }
    return Sets(train, validation, orders["train"], orders.get("validation"))


def outputs_by_name(spec: AttemptSpec, model: keras.Model) -> dict[str, tuple[int | None, ...]]:
    return {name: tuple(one.shape) for name, one in decision.output_tensors(spec.jobfile, model).items()}


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model, what was learned about its data, and the parts of that data."""

    spec: AttemptSpec
    model: keras.Model
    learned: Preprocessing
    parts: Mapping[str, Part]
    derived: Derived = field(default_factory=Derived)
    _predicted: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def batch_size(self) -> int:
        return int(self.spec.jobfile["training"]["batch_size"])

    @property
    def horizon(self) -> int | None:
        window = self.spec.jobfile["data"].get("window")
        return int(window["horizon"]) if window else None

    def predicted_part(self, name: str) -> dict[str, Any]:
        """As `predicted`, of one of the parts: once, however often it is asked for."""
        if name not in self._predicted:
            self._predicted[name] = self.predicted(self.parts[name])
        return self._predicted[name]

    def predicted(self, part: Part) -> dict[str, Any]:
        """The arrays of predictions.npz for a part."""
        names = list(decision.output_tensors(self.spec.jobfile, self.model))
        told = decision.decisions(self.spec.jobfile, self.model)
        decisions = {name: told.get(name) for name in names}
        truth = {}
        if part.truth.targets:
            names = list(part.truth.targets) if len(names) > 1 else names
            for name, target in zip(names, part.truth.targets, strict=True):
                truth[name] = part.truth.target(target)
        values = self._outputs(part)
        return prediction.arrays(values, part.samples, truth, self.learned, decisions, self.horizon)

    def states(self, part: Part, layers: Sequence[str]) -> dict[str, Any]:
        """The states of these recurrent layers after the last step of each sample, by their arrays' names."""
        if not layers:
            return {}

        def of(model: keras.Model, key: Hashable) -> keras.Model:
            return self.derived.get(
                ("states", *layers, key),
                lambda: prediction.state_model(model, layers),
                lambda made: prediction.put_weights(made, model, layers),
            )

        found: dict[str, Any] = self._outputs(part, of)
        return found

    def _outputs(
        self, part: Part, of: Callable[[keras.Model, Hashable], keras.Model] = lambda model, _: model
    ) -> Any:
        """`of` makes of the model the one that is asked; it is told what is different with the model."""
        if not is_stateful(self.spec.jobfile):
            return prediction.predict(of(self.model, None), part.samples, self.batch_size)
        is_series = isinstance(part.assembled, Windowed)
        warm = warming.warmed(self.spec, part, self.learned, self.batch_size)
        found = stateful.chains(warm.samples, self.batch_size, is_series=is_series)

        def twin(shapes: Mapping[str, Any]) -> keras.Model:
            key, rows = ("twin", *shapes.items(), len(found)), len(found)
            made = self.derived.get(
                key,
                lambda: warming.twin(self.spec, self.model, shapes, rows),
                lambda made: warming.put_weights(made, self.model),
            )
            return of(made, key)

        begin = warming.lead(self.spec, self.learned, warm, found, twin)
        return stateful.predict(twin(shapes(part)), warm.samples, found, warm.own, begin)


def finish(trained: Trained, rows: list[dict[str, float]], more: Mapping[str, Any]) -> None:
    """Predictions, the model and the figures, into the results directory."""
    spec, model = trained.spec, trained.model
    results, training = spec.paths.results, spec.jobfile["training"]
    summaries = predict_all(trained)
    evaluated = evaluate(trained)
    model.save(results / "model.keras")
    metrics = {
        **outputs.values(rows, kept_epoch(training, rows), kinds_of(training.get("metrics") or ())),
        "task": trained.learned.task,
        "units": units(spec.jobfile, trained.learned.task),
        "evaluation": evaluated,
        "samples": {name: len(part.samples) for name, part in trained.parts.items()},
        "parameters": model.count_params(),
        "queue_seconds": queue_seconds(spec),
        **more,
        "peak_memory_bytes": outputs.peak_memory_bytes(),
        "device_peak_memory_bytes": backend.device_peak_bytes(spec),
        "predictions": summaries,
    }
    outputs.preprocessing(results, trained.learned)
    outputs.write(results, spec, rows, metrics)
    unit = metrics["units"]["history"] or ""
    drawn = JobHistory(spec.job, spec.name, history_columns(rows), unit if "scaled" in unit else "")
    pictures.draw(results, drawn, evaluated, trained)


def history_columns(rows: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """As history.csv has them."""
    names = ["epoch", *sorted(rows[-1].keys() - {"epoch"})] if rows else []
    return {name: [float(row.get(name, math.nan)) for row in rows] for name in names}


def units(job: Mapping[str, Any], task: str) -> dict[str, str | None]:
    """In which units the numbers of targets stand: those of the losses and errors of the history (and so of `final`,
    `best` and `kept`), and those of the evaluation; None of classes."""
    if task in CLASS_TASKS:
        return {"history": None, "evaluation": None}
    method = scaling_of_targets(job)
    return {
        "history": "the data's own" if method is None else f"scaled targets ({method})",
        "evaluation": "the data's own",
    }


def predict_all(trained: Trained) -> dict[str, Any]:
    """predictions.npz and .csv of the first entry under `predict`, predictions-NAME.npz and .csv of the others."""
    summaries = {}
    told = decision.decisions(trained.spec.jobfile, trained.model)
    scores = [name for name, one in told.items() if one.scale is not decision.Scale.PROBABILITY]
    for number, entry in enumerate(trained.spec.jobfile.get("predict") or []):
        name = entry["name"]
        part = part_of(trained, entry)
        source = entry.get("source")
        arrays = dict(trained.predicted_part(source) if source else trained.predicted(part))
        states = trained.states(part, entry.get("states") or ())
        file = "predictions.npz" if number == 0 else f"predictions-{name}.npz"
        path = trained.spec.paths.results / file
        np.savez(path, **arrays, **states)
        table = path.with_suffix(".csv")
        names = list(outputs_by_name(trained.spec, trained.model))
        has_table = prediction_table.write(table, arrays, part, trained.learned.target_names, names, scores)
        summaries[name] = {
            **prediction.summary(arrays),
            "file": file,
            "table": table.name if has_table else None,
            "states": {key: list(values.shape) for key, values in states.items()},
        }
        if "y_class" in arrays:
            print(f"{name}: predicted classes {summaries[name]['y_class']}")
            if "y_true" in arrays:
                print(f"{name}:  expected classes {summaries[name]['y_true']}", flush=True)
    return summaries


def part_of(trained: Trained, entry: Mapping[str, Any]) -> Part:
    if entry.get("source"):
        return trained.parts[entry["source"]]
    return to_predict(trained.spec, entry, trained.learned)


def evaluate(trained: Trained) -> dict[str, Any]:
    """The model beside naive forecasts, on the best part there is."""
    name = next(name for name in ("test", "validation", "train") if name in trained.parts)
    arrays = trained.predicted_part(name)
    targets = list(trained.parts[name].truth.targets)
    found = {target: _evaluated(trained, name, target, arrays) for target in targets}
    head = {"part": name, "samples": len(trained.parts[name].samples)}
    if len(found) == 1:
        evaluated = {**head, **found[targets[0]]}
    else:
        better = all(one["better_than_baseline"] for one in found.values())
        evaluated = {**head, "outputs": found, "better_than_baseline": better}
    evaluated["lines"] = evaluation.describe(evaluated)
    print("\n".join(evaluated["lines"]), flush=True)
    return evaluated


def _evaluated(trained: Trained, name: str, target: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Of one output; where there are several, its arrays have its name."""
    part, job = trained.parts[name], trained.spec.jobfile
    task = task_of_target(job, target, part.truth)
    if len(part.truth.targets) > 1:
        arrays = prediction.only(arrays, target)
    forecasts: dict[str, Any] = {}
    if isinstance(part.assembled, Windowed) and "y_class" not in arrays:
        forecasts = evaluation.series_forecasts(part.assembled, target, job["data"].get("season"))
    always = evaluation.constant(trained.parts["train"], target, task, trained.learned)
    return evaluation.evaluate(
        arrays,
        always,
        forecasts,
        _column_names(trained, target, arrays),
        is_forecast=isinstance(part.assembled, Windowed),
        is_labelling=task == "labelling",
    )


def _column_names(trained: Trained, target: str, arrays: Mapping[str, Any]) -> Sequence[str]:
    """Of a target of numbers: as the table has them, else the array's with numbers, where it has several columns."""
    named = trained.learned.target_names
    if named and len(trained.parts["train"].truth.targets) == 1:
        return named
    y = arrays["y_true"]
    columns = y.shape[-1] if y.ndim > 1 else 1
    called = trained.parts["train"].assembled.raw.called.get(target, target).removeprefix("array ")
    return [called] if columns == 1 else [f"{called}[{column}]" for column in range(columns)]


def queue_seconds(spec: AttemptSpec) -> float | None:
    if spec.submitted_at is None:
        return None
    until = datetime.fromisoformat(spec.started_at) if spec.started_at else utc_now()
    return (until - datetime.fromisoformat(spec.submitted_at)).total_seconds()
