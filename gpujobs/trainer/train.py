"""One job's training, from its data to its results, in a trainer's process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import keras
import numpy as np

from gpujobs.model import utc_now
from gpujobs.trainer import backend, building, checkpoint, data, outputs, prediction
from gpujobs.trainer.failures import Stopped
from gpujobs.trainer.spec import Spec

CHECKPOINT_SECONDS = 2.0
PROGRESS_SECONDS = 1.0


class Messages:
    """JSON lines to the supervisor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def send(self, **message: Any) -> None:
        os.write(self._descriptor, json.dumps(message).encode() + b"\n")


class StopFlag:
    """Set by SIGTERM; looked at between batches."""

    def __init__(self) -> None:
        self.is_set = False
        signal.signal(signal.SIGTERM, self._set)

    def _set(self, *_: Any) -> None:
        self.is_set = True

    def check(self) -> None:
        if self.is_set:
            raise Stopped


@dataclass(frozen=True, slots=True)
class Sets:
    """Training and validation data; y as the loss wants it."""

    x: np.ndarray
    y: np.ndarray
    validation: tuple[np.ndarray, np.ndarray] | None


def run(spec: Spec, messages: Messages, stop: StopFlag) -> None:
    """Trains, predicts and writes the results. Raises TrainerError, Stopped, or what Keras raises."""
    began = time.monotonic()
    shutil.rmtree(spec.paths.results, ignore_errors=True)
    spec.paths.results.mkdir(parents=True)
    print_devices(spec)
    data.verify(spec)
    job = spec.jobfile
    training = job["training"]
    loaded = data.load(spec, job["data"]["train"]["path"], needs_y=True)
    backend.make_deterministic(training.get("seed"))
    model = building.build(job, loaded.x.shape[1:])
    sets = split(spec, loaded, int(model.output_shape[-1]))
    rows = checkpoint.restore(spec.paths.checkpoint, model)
    if rows:
        print(f"Resuming after epoch {len(rows)} of {training['epochs']}.", flush=True)
    stop.check()
    start = time.monotonic()
    fit(spec, model, sets, rows, messages, stop)
    finish(
        spec, model, loaded, rows, {"start_seconds": start - began, "train_seconds": time.monotonic() - start}
    )


def print_devices(spec: Spec) -> None:
    print(f"TensorFlow {backend.versions()['tensorflow']}")
    gpus = [device for device in spec.all_devices if device.get("kind") == "gpu"]
    for gpu in gpus:
        print(f"GPU {gpu['index']}: {gpu['name']} ({gpu['uuid']})")
    if not gpus:
        print("This box has no GPU.")
    kind = "GPU" if spec.device.get("kind") == "gpu" else "CPU slot"
    print(f"Visible to this job: {kind} {spec.device.get('index')}: {spec.device.get('name')}", flush=True)


def split(spec: Spec, loaded: data.Arrays, units: int) -> Sets:
    """The last `validation_split` of the samples, or the file given, is for validation."""
    job = spec.jobfile
    name, loss = job["data"]["train"]["path"], building.loss_name(job)
    assert loaded.y is not None
    x, y = loaded.x, data.targets(loaded.y, units, loss, name)
    other = job["data"].get("validation")
    if other:
        found = data.load(spec, other["path"], needs_y=True)
        assert found.y is not None
        return Sets(x, y, (found.x, data.targets(found.y, units, loss, other["path"])))
    share = float(job["training"].get("validation_split") or 0.0)
    at = int(len(x) * (1 - share))
    return Sets(x[:at], y[:at], (x[at:], y[at:])) if 0 < at < len(x) else Sets(x, y, None)


def order(training: dict[str, Any], epoch: int, count: int) -> Any:
    """The samples' order in an epoch: a function of (seed, epoch), so that a resumed run repeats it."""
    if not training.get("shuffle", True):
        return np.arange(count)
    seed = training.get("seed")
    return np.random.default_rng(None if seed is None else [seed, epoch]).permutation(count)


def fit(
    spec: Spec,
    model: keras.Model,
    sets: Sets,
    rows: list[dict[str, float]],
    messages: Messages,
    stop: StopFlag,
) -> None:
    """What Keras's `fit` does, step by step, from epoch len(rows) on; appends a row for each epoch.

    `train_function` is called with a batch at a time: Keras then traces its step once and no outer loop
    around it, which saves a third of a small job's time, and a stop takes effect at the next batch.
    """
    training = spec.jobfile["training"]
    epochs, batch_size = int(training["epochs"]), int(training["batch_size"])
    step = model.make_train_function() or model.train_function
    saved = reported = started = time.monotonic()
    first = len(rows)
    for epoch in range(first, epochs):
        model.reset_metrics()
        indices = order(training, epoch, len(sets.x))
        for begin in range(0, len(indices), batch_size):
            if stop.is_set:
                raise Stopped  # within an epoch; the checkpoint is that of the last whole one
            chosen = indices[begin : begin + batch_size]
            logs = step(iter([(sets.x[chosen], sets.y[chosen], None)]))
            if time.monotonic() - reported > PROGRESS_SECONDS:
                reported = time.monotonic()
                share = epoch + (begin + len(chosen)) / len(indices)
                report(messages, epoch + 1, epochs, numbers(logs), eta(started, first, share, epochs))
        row = {
            "epoch": float(epoch),
            **numbers(model.get_metrics_result()),
            **validate(model, sets, batch_size),
        }
        rows.append({**row, "epoch": epoch})
        now = time.monotonic()
        report(messages, epoch + 1, epochs, row, eta(started, first, epoch + 1, epochs))
        print(
            f"Epoch {epoch + 1}/{epochs} - "
            + " - ".join(f"{k}: {v:.4f}" for k, v in row.items() if k != "epoch"),
            flush=True,
        )
        if stop.is_set or (now - saved > CHECKPOINT_SECONDS and epoch + 1 < epochs):
            checkpoint.save(spec.paths.checkpoint, model, rows)
            saved = now
        if epoch + 1 < epochs:
            stop.check()


def validate(model: keras.Model, sets: Sets, batch_size: int) -> dict[str, float]:
    if sets.validation is None:
        return {}
    x, y = sets.validation
    logs = model.evaluate(x, y, batch_size=batch_size, verbose=0, return_dict=True)
    return {f"val_{name}": float(value) for name, value in logs.items()}


def numbers(logs: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in logs.items()}


def eta(started: float, first: int, done: float, epochs: int) -> float:
    """Seconds left, from the pace since `started`. `done` counts epochs, with fractions."""
    return (time.monotonic() - started) / max(done - first, 1e-9) * (epochs - done)


def report(messages: Messages, epoch: int, epochs: int, row: dict[str, float], left: float) -> None:
    progress = {**row, "epoch": epoch, "epochs": epochs, "eta_seconds": round(left, 1)}
    messages.send(progress=progress)


def finish(
    spec: Spec,
    model: keras.Model,
    loaded: data.Arrays,
    rows: list[dict[str, float]],
    seconds: dict[str, float],
) -> None:
    """Predictions, the model and the figures, into the results directory."""
    results = spec.paths.results
    summaries = predict_all(spec, model, loaded)
    model.save(results / "model.keras")
    metrics = {
        **outputs.values(rows),
        "parameters": model.count_params(),
        "queue_seconds": queue_seconds(spec),
        **seconds,
        "peak_memory_bytes": outputs.peak_memory_bytes(),
        "device_peak_memory_bytes": backend.device_peak_bytes(spec),
        "predictions": summaries,
    }
    outputs.write(results, spec, rows, metrics)


def predict_all(spec: Spec, model: keras.Model, loaded: data.Arrays) -> dict[str, Any]:
    """predictions.npz of the first entry under `predict`, predictions-NAME.npz of the others."""
    loss, batch_size = building.loss_name(spec.jobfile), int(spec.jobfile["training"]["batch_size"])
    summaries = {}
    for number, entry in enumerate(spec.jobfile.get("predict") or []):
        name = entry["name"]
        source = loaded if entry.get("source") == "train" else data.load(spec, entry["path"], needs_y=False)
        arrays = prediction.arrays(prediction.predict(model, source.x, batch_size), source.y, loss)
        file = "predictions.npz" if number == 0 else f"predictions-{name}.npz"
        np.savez(spec.paths.results / file, **arrays)
        summaries[name] = prediction.summary(arrays)
        if "y_class" in arrays:
            print(f"{name}: predicted classes {summaries[name]['y_class']}")
        if "y_true" in summaries[name]:
            print(f"{name}:  expected classes {summaries[name]['y_true']}", flush=True)
    return summaries


def queue_seconds(spec: Spec) -> float | None:
    if spec.submitted_at is None:
        return None
    until = datetime.fromisoformat(spec.started_at) if spec.started_at else utc_now()
    return (until - datetime.fromisoformat(spec.submitted_at)).total_seconds()
