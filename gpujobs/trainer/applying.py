"""A job that trains nothing: it applies the model of an earlier job to new data."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import yaml

from gpujobs.protocol.spec import AttemptSpec
from gpujobs.trainer import files, outputs, plain_model, train
from gpujobs.trainer.backends import active as backend
from gpujobs.trainer.backends import configure
from gpujobs.trainer.data import Preprocessing
from gpujobs.trainer.data.fitting import preprocessing
from gpujobs.trainer.data.prepare import to_predict
from gpujobs.trainer.failures import TrainerError
from gpujobs.trainer.training_loop import Messages, StopFlag


def run(spec: AttemptSpec, messages: Messages, stop: StopFlag) -> None:
    """Raises TrainerError where the model cannot be read, DataError where data does not fit it."""
    began = time.monotonic()
    shutil.rmtree(spec.paths.results, ignore_errors=True)
    spec.paths.results.mkdir(parents=True)
    train.print_devices(spec)
    spec = files.pin(spec)
    trained = read(spec)
    stop.check()
    loaded = time.monotonic()
    summaries = train.predict_all(trained)
    metrics: dict[str, Any] = {
        "trained_by": spec.jobfile["model"]["job"],
        "task": trained.learned.task,
        "parameters": trained.model.count_params(),
        "queue_seconds": train.queue_seconds(spec),
        "start_seconds": loaded - began,
        "predict_seconds": time.monotonic() - loaded,
        "peak_memory_bytes": outputs.peak_memory_bytes(),
        "device_peak_memory_bytes": backend.device_peak_bytes(spec),
        "predictions": summaries,
    }
    outputs.write_prediction(spec.paths.results, spec, metrics)


def read(spec: AttemptSpec) -> train.Trained:
    """The model, with the job file that it was trained by and what was learned about its data."""
    with _readable(spec) as source:
        whole, learned = _described(spec, source)
        model_file = plain_model.copy(source / "model.keras", spec.paths.work / "tmp")
        model = keras.saving.load_model(model_file, compile=False, safe_mode=True)
    configure(whole.jobfile["training"])
    return train.Trained(whole, model, learned, {})


def look(spec: AttemptSpec) -> None:
    """Without the model: raises DataError where its data cannot be what the model was trained with."""
    with _readable(spec) as source:
        whole, learned = _described(spec, source)
    for entry in whole.jobfile["predict"]:
        to_predict(whole, entry, learned)


@contextlib.contextmanager
def _readable(spec: AttemptSpec) -> Iterator[Path]:
    """The results with the model. Raises TrainerError for what is wrong with them."""
    assert spec.model_results is not None, "a job that applies a model is told where it is"
    source = Path(spec.model_results)
    try:
        yield source
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        what, number = " ".join(str(error).split())[:300], spec.jobfile["model"]["job"]
        raise TrainerError(f"the model of job {number} cannot be read from {source}: {what}") from error


def _described(spec: AttemptSpec, source: Path) -> tuple[AttemptSpec, Preprocessing]:
    """With the job file that the model was trained by, and what was learned about its data."""
    job = yaml.safe_load((source / "job.yaml").read_text())
    learned = preprocessing.from_json(json.loads((source / preprocessing.FILE).read_text()))
    return replace(spec, jobfile={**job, "predict": spec.jobfile["predict"]}), learned
