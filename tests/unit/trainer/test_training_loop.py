"""What the training does between its steps, without a model: the order of samples, what ends it, when it saves."""

from __future__ import annotations

import math
import time
from collections.abc import Sized
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gpujobs.trainer.early_stopping import Best, EarlyStopping, ReduceOnPlateau
from gpujobs.trainer.failures import NanLossError, TrainerError
from gpujobs.trainer.training_loop import (
    CHECKPOINT_SECONDS,
    CHECKPOINT_SHARE,
    TrainingLoop,
    describe,
    numbers,
    order,
    refuse_nan,
)


def test_the_order_of_an_epoch_is_a_function_of_the_seed_and_the_epoch() -> None:
    orders = {
        (seed, epoch): order({"seed": seed}, epoch, 50).tolist() for seed in (0, 1) for epoch in (0, 1, 2)
    }
    assert all(sorted(one) == list(range(50)) for one in orders.values())
    assert len({tuple(one) for one in orders.values()}) == 6
    assert order({"seed": 1, "shuffle": True}, 2, 50).tolist() == orders[1, 2]
    assert order({"seed": 1, "shuffle": False}, 2, 50).tolist() == list(range(50))


def test_without_a_seed_no_two_trainings_have_one_order() -> None:
    assert order({}, 0, 50).tolist() != order({}, 0, 50).tolist()
    assert order({"seed": None}, 0, 50).tolist() != order({"seed": None}, 0, 50).tolist()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["loss", "val_loss"])
def test_a_loss_that_is_no_number_ends_the_training(name: str, value: float) -> None:
    with pytest.raises(NanLossError, match=f"^{name} became {value}"):
        refuse_nan({"epoch": 1.0, "loss": 1.0, name: value})
    refuse_nan(
        {"epoch": 1.0, "loss": 1.0, "val_loss": 2.0, "r2_score": value}
    )  # no loss: it may be undefined


def test_metrics_of_each_class_are_columns_of_their_own() -> None:
    found = numbers({"loss": 0.5, "f1": [0.1, 0.2], "matrix": [[1, 2], [3, 4]]})
    matrix = {"matrix_0_0": 1.0, "matrix_0_1": 2.0, "matrix_1_0": 3.0, "matrix_1_1": 4.0}
    assert found == {"loss": 0.5, "f1_0": 0.1, "f1_1": 0.2, **matrix}


def test_epochs_are_counted_from_one_for_people() -> None:
    assert (
        describe({"epoch": 0, "loss": 0.51234, "val_loss": 2.0}, 5)
        == "Epoch 1/5 - loss: 0.5123 - val_loss: 2.0000"
    )


@pytest.mark.parametrize(("count", "rows"), [(8, 4), (4, 4), (3, 3), (9, None), (0, 4)])
def test_how_many_rows_every_batch_has(count: int, rows: int | None) -> None:
    """None: the last one has less, and a graph for one shape would not do."""
    loop = cast(Any, SimpleNamespace(batch_size=4))
    samples = cast(Any, cast(Sized, range(count)))
    assert TrainingLoop._rows(loop, samples) == rows
    assert TrainingLoop._rows(loop, None) == 4


def watching(**watchers: Any) -> Any:
    optimizer = SimpleNamespace(learning_rate=0.1)
    whole = {"stopper": None, "best": None, "plateau": None, "training": {}, **watchers}
    return SimpleNamespace(model=SimpleNamespace(optimizer=optimizer), best_now=False, **whole)


@pytest.mark.parametrize(
    ("again", "rate", "least", "then", "is_said"),
    [
        (False, 0.1, 0.0, 0.05, True),
        (True, 0.1, 0.0, 0.1, False),  # a checkpoint has the rate already
        (False, 0.1, 0.1, 0.1, False),  # no lower
        (False, 0.1, 0.08, 0.08, True),
    ],
)
def test_a_plateau_lowers_the_rate_once(
    capsys: pytest.CaptureFixture[str], again: bool, rate: float, least: float, then: float, is_said: bool
) -> None:
    settings = {"monitor": "loss", "patience": 1, "factor": 0.5, "min_lr": least}
    loop = watching(plateau=ReduceOnPlateau(settings))
    for _ in range(2):
        assert TrainingLoop.watch(loop, {"loss": 1.0, "learning_rate": rate}, again=again) is False
    assert loop.model.optimizer.learning_rate == then
    assert ("The learning rate is" in capsys.readouterr().out) is is_said


@pytest.mark.parametrize("restores", [True, False])
def test_of_early_stopping_and_best_weights_the_one_that_restores_says_which_epoch_is_kept(
    restores: bool,
) -> None:
    settings = {"monitor": "val_loss", "patience": 9, "restore_best_weights": restores}
    loop = watching(stopper=EarlyStopping(settings), best=Best("loss"), training={"early_stopping": settings})
    kept = []
    for loss, validated in ((3.0, 3.0), (2.0, 4.0), (1.0, 2.0)):
        TrainingLoop.watch(loop, {"loss": loss, "val_loss": validated})
        kept.append(loop.best_now)
    assert kept == ([True, False, True] if restores else [True, True, True])


@pytest.mark.parametrize("again", [True, False])
def test_a_training_that_no_longer_improves_ends_and_says_so(
    capsys: pytest.CaptureFixture[str], again: bool
) -> None:
    settings = {"monitor": "loss", "patience": 1}
    loop = watching(stopper=EarlyStopping(settings), training={"early_stopping": settings})
    assert [TrainingLoop.watch(loop, {"loss": loss}, again=again) for loss in (1.0, 0.5, 0.5)] == [
        False, False, True
    ]  # fmt: skip
    assert ("Stopped early: loss no longer improves." in capsys.readouterr().out) is not again


def test_what_is_watched_is_there() -> None:
    loop = watching(best=Best("val_loss"))
    with pytest.raises(TrainerError, match=r"no metric val_loss to watch; this training has accuracy, loss"):
        TrainingLoop.watch(loop, {"epoch": 0.0, "loss": 1.0, "accuracy": 0.5})


@pytest.mark.parametrize(
    ("ago", "save_seconds", "is_set", "is_saved"),
    [
        (CHECKPOINT_SECONDS - 1, 0.0, False, False),
        (CHECKPOINT_SECONDS + 1, 0.0, False, True),
        (CHECKPOINT_SECONDS + 1, (CHECKPOINT_SECONDS + 2) / CHECKPOINT_SHARE, False, False),
        (CHECKPOINT_SECONDS + 3, (CHECKPOINT_SECONDS + 2) / CHECKPOINT_SHARE, False, True),
        (0.0, 0.0, True, True),  # who is to stop saves whatever it is
    ],
)
def test_a_checkpoint_takes_a_small_part_of_the_time(
    monkeypatch: pytest.MonkeyPatch, ago: float, save_seconds: float, is_set: bool, is_saved: bool
) -> None:
    done: list[str] = []
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    loop = SimpleNamespace(
        saved=1000.0 - ago,
        save_seconds=save_seconds,
        save=lambda: done.append("save"),
        leave_model=lambda: done.append("model"),
        stop=SimpleNamespace(is_set=is_set, check=lambda: done.append("check")),
    )
    TrainingLoop.save_when_due(cast(Any, loop))
    assert done == (["save", "model", "check"] if is_set else ["save", "check"] if is_saved else [])


@pytest.mark.parametrize("best", [None, [1, 2]])
def test_the_model_has_the_best_weights_in_the_end_or_an_optimizers_averages(best: list[int] | None) -> None:
    done: list[Any] = []
    model = SimpleNamespace(
        set_weights=lambda weights: done.append(weights),
        trainable_weights="w",
        optimizer=SimpleNamespace(
            finalize_variable_values=lambda weights: done.append(f"averages of {weights}")
        ),
    )
    TrainingLoop.settle(cast(Any, SimpleNamespace(position=SimpleNamespace(best=best), model=model)))
    assert done == [best if best is not None else "averages of w"]
