"""In which direction a metric is better: of each that Keras has, written down by hand, whatever stands around it."""

from __future__ import annotations

import pytest

from gpujobs.jobfile.keras_names import catalogue
from gpujobs.metric_names import direction, kinds_of, smaller_is_better
from gpujobs.trainer import outputs
from gpujobs.trainer.early_stopping import kept_epoch

ERRORS = {
    "BinaryCrossentropy", "CategoricalCrossentropy", "CategoricalHinge", "FalseNegatives", "FalsePositives", "Hinge",
    "KLDivergence", "LogCoshError", "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredError",
    "MeanSquaredLogarithmicError", "Poisson", "RootMeanSquaredError", "SparseCategoricalCrossentropy", "SquaredHinge",
}  # fmt: skip


def test_every_metric_of_keras_has_its_direction() -> None:
    for written, kind in catalogue()["metrics"]["ids"].items():
        for name in (
            written,
            f"val_{written}",
            f"error_{written}",
            f"accuracy_{written}",
            f"val_loss_{written}",
        ):
            assert smaller_is_better(name) is (kind in ERRORS), name


def test_a_name_of_the_jobs_own_tells_by_its_class() -> None:
    kinds = kinds_of(
        ["mae", {"MeanSquaredError": {"name": "fit"}}, {"AUC": {"name": "pr"}}, {"F1Score": None}]
    )
    assert kinds == {"fit": "MeanSquaredError", "pr": "AUC"}
    assert [smaller_is_better(name, kinds) for name in ("val_fit", "b_fit", "pr", "val_a_pr", "pr_0")] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert smaller_is_better("outfit", kinds) is None
    rows = [{"epoch": 0.0, "fit": 3.0, "pr": 0.5}, {"epoch": 1.0, "fit": 2.0, "pr": 0.7},
            {"epoch": 2.0, "fit": 4.0, "pr": 0.6}]  # fmt: skip
    assert outputs.values(rows, 2, kinds)["best"] == {"fit": 2.0, "pr": 0.7}


@pytest.mark.parametrize(
    ("monitor", "kept"), [("error_accuracy", 1), ("fit", 0), ("mean_io_u", 1), ("poisson", 0)]
)
def test_the_weights_that_are_kept_are_those_of_the_best_epoch(monitor: str, kept: int) -> None:
    training = {
        "metrics": [{"MeanSquaredError": {"name": "fit"}}],
        "best_weights": {"monitor": monitor, "mode": "auto"},
    }
    assert kept_epoch(training, [{monitor: 1.0}, {monitor: 2.0}, {monitor: 1.5}]) == kept
    assert direction({"monitor": monitor, "mode": "min"}, training) == "min"
