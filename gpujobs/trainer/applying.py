"""A job that trains nothing: it applies the model of an earlier job to new data."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import yaml

from gpujobs.trainer import files, outputs, plain_model, train
from gpujobs.trainer.backends import active as backend
from gpujobs.trainer.backends import configure
from gpujobs.trainer.data import preprocessing
from gpujobs.trainer.failures import TrainerError
from gpujobs.trainer.fitting import Messages, StopFlag
from gpujobs.trainer.spec import Spec


def run(spec: Spec, messages: Messages, stop: StopFlag) -> None:
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


def read(spec: Spec) -> train.Trained:
    """The model, with the job file that it was trained by and what was learned about its data."""
    source = Path(spec.extra["model_results"])
    number = spec.jobfile["model"]["job"]
    try:
        job = yaml.safe_load((source / "job.yaml").read_text())
        learned = preprocessing.from_json(json.loads((source / preprocessing.FILE).read_text()))
        model_file = plain_model.copy(source / "model.keras", spec.paths.work / "tmp")
        model = keras.saving.load_model(model_file, compile=False, safe_mode=True)
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        what = " ".join(str(error).split())[:300]
        raise TrainerError(f"the model of job {number} cannot be read from {source}: {what}") from error
    configure(job["training"])
    jobfile = {**job, "predict": spec.jobfile["predict"]}
    return train.Trained(replace(spec, jobfile=jobfile), model, learned, {})
