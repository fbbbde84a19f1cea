"""One job's training, from its data to its results, in a trainer's process."""

from __future__ import annotations

import shutil
import time
from datetime import datetime
from typing import Any

import keras
import numpy as np

from gpujobs.model import utc_now
from gpujobs.trainer import backend, building, data, files, outputs, prediction
from gpujobs.trainer.fitting import Fit, Messages, Sets, StopFlag
from gpujobs.trainer.spec import Spec


def run(spec: Spec, messages: Messages, stop: StopFlag) -> None:
    """Trains, predicts and writes the results. Raises TrainerError, Stopped, or what Keras raises."""
    began = time.monotonic()
    shutil.rmtree(spec.paths.results, ignore_errors=True)
    spec.paths.results.mkdir(parents=True)
    print_devices(spec)
    spec = files.pin(spec)
    job = spec.jobfile
    loaded = data.load(spec, job["data"]["train"]["path"], needs_y=True)
    backend.make_deterministic(job["training"].get("seed"))
    model = building.build(job, loaded.x.shape[1:])
    sets = split(spec, loaded, int(model.output_shape[-1]))
    stop.check()
    start = time.monotonic()
    rows = Fit(spec, model, sets, messages, stop).run()
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
