"""The training loop by its parts, with a real model in this process."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from gpujobs.jobfile.keras_names import catalogue
from gpujobs.trainer import building, checkpoint, train
from gpujobs.trainer.backends import configure_again
from gpujobs.trainer.backends.states import untracked_of
from gpujobs.trainer.data import prepare
from gpujobs.trainer.failures import NanLossError
from gpujobs.trainer.pace import Pace
from gpujobs.trainer.traced import Traced
from gpujobs.trainer.training_loop import Messages, StopFlag, TrainingLoop, order, refuse_nan
from tests.unit.trainer.data.making import spec_of

MODEL = "model: {layers: [LSTM: {units: 2}, Dense: {units: 1}]}\n"
REST = f"""{MODEL}training:
  loss: mse
  optimizer: {{SGD: {{learning_rate: 0.1}}}}
  epochs: 4
  batch_size: 5
  reduce_lr_on_plateau: {{monitor: loss, patience: 1, factor: 0.5, min_delta: 1000.0}}
"""


@pytest.fixture
def told(tmp_path: Path) -> Iterator[tuple[TrainingLoop, int]]:
    """A training that has not begun, and where to read what it tells."""
    x = np.random.default_rng(0).normal(size=(20, 3, 1)).astype(np.float32)
    spec = spec_of(tmp_path, "{train: t.npz}", {"t.npz": {"x": x, "y": x.sum(axis=(1, 2))}}, rest=REST)
    prepared = prepare(spec)
    model = building.build(spec.jobfile, train.shapes(prepared.train))
    before = signal.getsignal(signal.SIGTERM)
    reading, writing = os.pipe()
    yield (
        TrainingLoop(
            spec,
            Traced(model, spec.jobfile),
            train.sets_of(spec, prepared, model),
            Messages(writing),
            StopFlag(),
        ),
        reading,
    )
    signal.signal(signal.SIGTERM, before)
    os.close(reading)
    os.close(writing)


def message(descriptor: int) -> Any:
    return json.loads(os.read(descriptor, 1 << 16).splitlines()[-1])["progress"]


def test_the_order_of_samples_is_another_in_each_epoch_and_the_same_again() -> None:
    training = {"seed": 3, "shuffle": True}
    orders = [order(training, epoch, 50).tolist() for epoch in range(4)]
    assert all(sorted(one) == list(range(50)) for one in orders)
    assert len({tuple(one) for one in orders}) == 4
    assert order(training, 2, 50).tolist() == orders[2]
    assert order({**training, "seed": 4}, 2, 50).tolist() != orders[2]
    assert order({"seed": 3, "shuffle": False}, 2, 5).tolist() == [0, 1, 2, 3, 4]


def test_the_eta_is_the_pace_so_far_times_what_is_left(told: tuple[TrainingLoop, int]) -> None:
    fit, reading = told
    now, found = [0.0], []
    fit.pace = Pace(lambda: now[0])
    fit.pace.stepped(0.0)
    for done in range(1, 5):
        fit.position.rows = [{"epoch": number} for number in range(done)]
        now[0] = 10.0 * done
        fit.report({"epoch": done - 1, "loss": 1.0})
        found.append(message(reading))
    assert [one["eta_seconds"] for one in found] == pytest.approx([30, 20, 10, 0], abs=0.5)
    assert [one["epoch"] for one in found] == [1, 2, 3, 4]


def test_the_eta_of_a_training_that_goes_on_counts_its_own_epochs_only(
    told: tuple[TrainingLoop, int],
) -> None:
    fit, reading = told
    now = [0.0]
    fit.pace = Pace(lambda: now[0])
    fit.pace.stepped(2.0)
    now[0] = 10.0
    fit.position.rows = [{"epoch": number} for number in range(3)]
    fit.report({"epoch": 2, "loss": 1.0})
    assert message(reading)["eta_seconds"] == pytest.approx(10, abs=0.5)


def test_reductions_of_the_learning_rate_are_not_repeated_when_the_history_is_read_again(
    told: tuple[TrainingLoop, int],
) -> None:
    fit, _ = told
    rows = [{"epoch": number, "loss": 1.0, "learning_rate": 0.1} for number in range(4)]
    for row in rows:
        fit.watch(row, again=True)
    assert float(fit.model.optimizer.learning_rate) == pytest.approx(0.1)
    fit.watch({"epoch": 4, "loss": 1.0, "learning_rate": 0.1})
    assert float(fit.model.optimizer.learning_rate) == pytest.approx(0.05)


@pytest.mark.parametrize("name", ["loss", "val_loss"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_loss_may_be_anything_but_a_number(name: str, value: float) -> None:
    row = {"loss": 1.0, "val_loss": 1.0}
    refuse_nan(row)
    with pytest.raises(NanLossError, match=f"^{name} became"):
        refuse_nan({**row, name: value})


@pytest.mark.parametrize("kind", sorted(catalogue()["optimizers"]["classes"]))
@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_all_that_an_optimizer_keeps_is_for_the_next_job_as_for_its_first(
    tmp_path: Path, kind: str, precision: str
) -> None:
    """With other weights, which some begin with: as Keras's own optimizer of the name builds it for those weights."""
    x = np.random.default_rng(0).normal(size=(4, 3, 1)).astype(np.float32)
    files = {"t.npz": {"x": x, "y": x.sum(axis=(1, 2))}}
    spec = spec_of(
        tmp_path, "{train: t.npz}", files, rest=f"{MODEL}training: {{loss: mse, optimizer: {kind}}}\n"
    )
    job = {**spec.jobfile, "training": {**spec.jobfile["training"], "precision": precision}}
    prepared = prepare(spec)
    configure_again({"seed": 1})
    traced = Traced(building.build(job, train.shapes(prepared.train)), job)
    traced.ready(train.sets_of(spec, prepared, traced.model).train, 2)
    for variable in checkpoint.variables(traced.model):
        variable.assign(keras.ops.ones(variable.shape, variable.dtype))
    configure_again({"seed": 2})
    fresh = building.untrained(job, train.shapes(prepared.train))
    weights = fresh.get_weights()
    assert traced.begin(fresh, job["training"])
    expected = getattr(keras.optimizers, kind)()
    if precision == "mixed_float16":
        expected = keras.optimizers.LossScaleOptimizer(expected)
    expected.build(fresh.trainable_variables)
    own, new = ([*one.variables, *untracked_of(one)] for one in (traced.model.optimizer, expected))
    for one, other in zip(own, new, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=other.path)
    for one, other in zip(traced.model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)
