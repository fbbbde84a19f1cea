"""Interrupted trainings end with the very weights of uninterrupted ones."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpujobs.paths import AttemptPaths, JobPaths
from tests.integration.trainer.resuming import (
    SAMPLES,
    history,
    kill_when_saved,
    random_arrays,
    same,
    stop,
    weights,
)

from .conftest import Launched, ended, log_has, tutorial
from .jobs import Ran, run, spec_of


def stop_within_an_epoch(paths: AttemptPaths, checkpoint: Path) -> None:
    log_has(paths, "Epoch ")
    time.sleep(0.1)  # at the very end of an epoch a stop is answered too
    stop(paths, "preempt")
    assert ended(paths)["stopped_for"] == "preempt"
    with np.load(checkpoint) as archive:
        assert json.loads(str(archive["state"]))["batch"] > 0


TEXTS = {
    "windows": """
data: {train: s.npy, window: {length: 6, horizon: 2}, scaling: robust, split: {method: chronological, validation: 0.1}}
model: {layers: [LSTM: {units: 4, dropout: 0.2, recurrent_dropout: 0.2}, Dense: {units: 2}]}
training: {loss: mse, epochs: 4, batch_size: 2, best_weights: {monitor: val_loss}}
predict: [train, validation]
""",
    "sequences": """
data: {train: r.npz, lengths: n, split: {method: random, validation: 0.1}}
model: {layers: [Masking: {mask_value: -9.0}, LSTM: {units: 4, dropout: 0.2}, Dense: {units: 1}]}
training: {loss: mse, epochs: 4, batch_size: 2, early_stopping: {monitor: val_loss, patience: 9}}
predict: [train]
""",
    "steps": """
task: labelling
data: {train: l.npz, lengths: n, split: {method: random, validation: 0.1}}
model: {layers: [LSTM: {units: 4, dropout: 0.2, return_sequences: true}, Dense: {units: 1, activation: sigmoid}]}
training: {loss: binary_crossentropy, metrics: [AUC], epochs: 4, batch_size: 2, class_weight: balanced}
predict: [train]
""",
    "stateful": """
data: {train: s.npy, window: {length: 4, stride: 4}}
model:
  layers:
    - LSTM: {units: 4, stateful: true, dropout: 0.2, return_sequences: true}
    - GRU: {units: 3, stateful: true}
    - Dense: {units: 1}
training: {loss: mse, epochs: 8, batch_size: 1, shuffle: false, reduce_lr_on_plateau: {monitor: loss, patience: 1}}
predict: [train]
""",
}


def files() -> dict[str, Any]:
    random = np.random.default_rng(2)
    lengths = random.integers(1, 9, SAMPLES)
    return {
        "s.npy": random.normal(size=160).astype(np.float32),
        "l.npz": {
            "x": random.normal(size=(lengths.sum(), 1)),
            "n": lengths,
            "y": random.integers(0, 2, lengths.sum()),
        },
        "r.npz": {
            "x": random.normal(size=(lengths.sum(), 1)),
            "n": lengths,
            "y": random.normal(size=SAMPLES),
        },
    }


@pytest.mark.parametrize("kind", TEXTS)
def test_every_kind_of_data_resumes_exactly_after_a_kill(launcher: Launched, kind: str) -> None:
    """Weights, the learning curve and predictions; within an epoch, where a stateful layer has states to carry."""
    text = TEXTS[kind]
    whole = run(launcher, text, files())
    cut = spec_of(launcher, text, files())
    with launcher.paced():
        kill_when_saved(launcher.start(cut), JobPaths(Path(cut["job_dir"])).checkpoint / "checkpoint.npz")
    again = launcher.start({**cut, "attempt": 2})
    assert ended(again)["state"] == "COMPLETED", again.log.read_text()
    assert "Resuming after epoch" in again.log.read_text()
    assert history(cut) == history(whole.spec)
    assert same(weights(cut), weights(whole.spec))
    resumed = Ran(cut, {}, "").predictions()
    for name, values in whole.predictions().items():
        np.testing.assert_array_equal(values, resumed[name])


def test_a_job_that_was_killed_and_then_stopped_is_bit_identical(any_launcher: Launched) -> None:
    """With dropout, recurrent dropout and shuffling: from after an epoch, then from within one."""
    job = tutorial(epochs=5, units=4, batch_size=2)
    resumes_exactly(any_launcher, job, random_arrays(SAMPLES), kill_when_saved, stop_within_an_epoch)


def test_a_resumed_stateful_job_is_bit_identical(any_launcher: Launched) -> None:
    """States go on from the middle of an epoch; each sample has a weight."""
    job = tutorial(epochs=3, batch_size=2, shuffle=False)
    job["data"]["sample_weight"] = "weight"
    job["model"]["layers"][0] = {"LSTM": {"units": 4, "stateful": True, "dropout": 0.2}}
    arrays = random_arrays(SAMPLES)
    arrays["weight"] = np.linspace(0.5, 1.5, SAMPLES, dtype=np.float32)
    resumes_exactly(any_launcher, job, arrays, stop_within_an_epoch)


def test_a_resumed_masked_job_in_mixed_precision_is_bit_identical(any_launcher: Launched) -> None:
    """Sequences of different length; the loss is scaled, by a factor that is part of the checkpoint."""
    job = tutorial(epochs=3, batch_size=2, precision="mixed_float16", metrics=[])
    job["data"]["lengths"] = "lengths"
    job["model"]["layers"][:1] = [{"Masking": {"mask_value": -99.0}}, {"LSTM": {"units": 4, "dropout": 0.2}}]
    arrays = random_arrays(SAMPLES)
    arrays["lengths"] = np.tile(np.arange(3, 7), SAMPLES // 4)
    resumes_exactly(any_launcher, job, arrays, stop_within_an_epoch)


def resumes_exactly(
    launcher: Launched, job: dict[str, Any], arrays: dict[str, Any], *interrupts: Callable[..., None]
) -> None:
    """After one attempt for each way to be interrupted, and one that is not."""
    whole = launcher.spec(job, arrays)
    assert ended(launcher.start(whole))["state"] == "COMPLETED"
    cut = launcher.spec(job, arrays)
    checkpoint = JobPaths(Path(cut["job_dir"])).checkpoint / "checkpoint.npz"
    with launcher.paced():
        for attempt, interrupt in enumerate(interrupts, 1):
            interrupt(launcher.start({**cut, "attempt": attempt}), checkpoint)
    again = launcher.start({**cut, "attempt": len(interrupts) + 1})
    assert ended(again)["state"] == "COMPLETED", again.log.read_text()
    assert "Resuming after epoch" in again.log.read_text()
    assert history(cut) == history(whole)
    assert same(weights(cut), weights(whole))


def test_to_finish_what_was_stopped_within_an_epoch_is_to_do_that_epoch(launcher: Launched) -> None:
    """The model is the one that its figures tell of: that of a job that was to have so many epochs."""
    job = tutorial(epochs=9, units=4, batch_size=2)
    cut = launcher.spec(job, random_arrays(SAMPLES))
    checkpoint = JobPaths(Path(cut["job_dir"])).checkpoint / "checkpoint.npz"
    with launcher.paced():
        stop_within_an_epoch(launcher.start({**cut, "attempt": 1}), checkpoint)
    assert ended(launcher.start({**cut, "attempt": 2, "finish": True}))["state"] == "COMPLETED"
    epochs = len(history(cut).splitlines()) - 1
    assert 1 < epochs < 9
    short = launcher.spec(tutorial(epochs=epochs, units=4, batch_size=2), random_arrays(SAMPLES))
    assert ended(launcher.start(short))["state"] == "COMPLETED"
    assert history(cut) == history(short)
    assert same(weights(cut), weights(short))
    assert Ran(cut, {}, "").metrics["finished"] == {"epochs": epochs, "of": 9, "why": "asked for"}
