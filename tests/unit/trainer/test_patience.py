"""Our watchers do what Keras's callbacks do, on random histories."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpujobs.trainer.early_stopping import EarlyStopping, ReduceOnPlateau, kept_epoch, smaller_is_better
from gpujobs.trainer.failures import TrainerError

VALUES = st.lists(st.integers(0, 8).map(lambda n: n / 4), min_size=1, max_size=25)
MODES = st.sampled_from(["min", "max"])


class Optimizer:
    learning_rate = 1.0


class Model:
    """As much of a model as the callbacks touch."""

    def __init__(self) -> None:
        self.stop_training, self.optimizer = False, Optimizer()
        self.metrics: list[Any] = []
        self.weights: Any = None

    def get_weights(self) -> Any:
        return self.weights

    def set_weights(self, weights: Any) -> None:
        self.weights = weights


@given(VALUES, MODES, st.integers(0, 3), st.sampled_from([0.0, 0.25]), st.sampled_from([None, 1.0]),
       st.integers(0, 3))  # fmt: skip
def test_early_stopping_is_that_of_keras(
    values: list[float], mode: str, patience: int, min_delta: float, baseline: float | None, start: int
) -> None:
    given_settings = {
        "monitor": "loss", "mode": mode, "patience": patience, "min_delta": min_delta, "baseline": baseline,
        "start_from_epoch": start,
    }  # fmt: skip
    theirs, ours, model = (
        keras.callbacks.EarlyStopping(**given_settings),
        EarlyStopping(given_settings),
        Model(),
    )
    theirs.set_model(model)
    theirs.on_train_begin()
    for epoch, value in enumerate(values):
        theirs.on_epoch_end(epoch, {"loss": value})
        assert ours.update(value) == model.stop_training
        if model.stop_training:
            break


@given(VALUES, MODES, st.integers(1, 3), st.integers(0, 3), st.sampled_from([0.0, 0.25]))
def test_reduce_on_plateau_is_that_of_keras(
    values: list[float], mode: str, patience: int, cooldown: int, min_delta: float
) -> None:
    given_settings = {
        "monitor": "loss", "mode": mode, "patience": patience, "cooldown": cooldown, "min_delta": min_delta,
        "factor": 0.5, "min_lr": 0.1,
    }  # fmt: skip
    theirs, ours, model = (
        keras.callbacks.ReduceLROnPlateau(**given_settings),
        ReduceOnPlateau(given_settings),
        Model(),
    )
    theirs.set_model(model)
    theirs.on_train_begin()
    rate = 1.0
    for epoch, value in enumerate(values):
        theirs.on_epoch_end(epoch, {"loss": value})
        if ours.update(value):
            rate = ours.reduced(rate)
        assert rate == pytest.approx(float(model.optimizer.learning_rate))


def test_what_is_not_said_is_as_keras_has_it() -> None:
    ours, theirs = ReduceOnPlateau({"monitor": "val_loss"}), keras.callbacks.ReduceLROnPlateau()
    assert (ours.best.monitor, ours.best.min_delta) == (theirs.monitor, theirs.min_delta)
    assert (ours.factor, ours.patience) == (theirs.factor, theirs.patience)
    assert (ours.cooldown, ours.min_lr) == (theirs.cooldown, theirs.min_lr)
    stopping, their_stopping = EarlyStopping({"monitor": "val_loss"}), keras.callbacks.EarlyStopping()
    assert (stopping.patience, stopping.start) == (their_stopping.patience, their_stopping.start_from_epoch)
    assert (stopping.best.min_delta, stopping.baseline) == (
        -their_stopping.min_delta,
        their_stopping.baseline,
    )


@pytest.mark.parametrize(
    ("name", "smaller"),
    [
        ("loss", True),
        ("val_loss", True),
        ("accuracy", False),
        ("val_auc", False),
        ("mean_absolute_error", True),
        ("MeanAbsoluteError", True),
        ("val_AUC", False),
        ("val_F1Score_2", False),
        ("FalsePositives", True),
    ],
)
def test_which_way_is_better(name: str, smaller: bool) -> None:
    assert smaller_is_better(name) is smaller
    assert smaller_is_better(name, "min")


def test_a_name_that_does_not_tell() -> None:
    with pytest.raises(TrainerError, match="give mode: min or mode: max"):
        smaller_is_better("val_whatever")


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        ({}, 4),
        ({"best_weights": {"monitor": "val_loss"}}, 2),
        ({"best_weights": {"monitor": "accuracy"}}, 3),
        ({"early_stopping": {"monitor": "val_loss", "patience": 9}}, 4),
        ({"early_stopping": {"monitor": "val_loss", "patience": 9, "restore_best_weights": True}}, 2),
        (
            {
                "early_stopping": {
                    "monitor": "val_loss",
                    "restore_best_weights": True,
                    "start_from_epoch": 3,
                },
                "best_weights": {"monitor": "accuracy"},
            },
            3,
        ),
        (
            {
                "early_stopping": {
                    "monitor": "val_loss",
                    "restore_best_weights": True,
                    "start_from_epoch": 9,
                },
                "best_weights": {"monitor": "accuracy"},
            },
            4,
        ),
    ],
)
def test_the_epoch_whose_weights_the_model_has(training: dict[str, Any], expected: int) -> None:
    losses, accuracies = (5.0, 4.0, 1.0, 2.0, 3.0), (0.1, 0.2, 0.3, 0.9, 0.8)
    rows = [{"val_loss": loss, "accuracy": right} for loss, right in zip(losses, accuracies, strict=True)]
    assert kept_epoch(training, rows) == expected
