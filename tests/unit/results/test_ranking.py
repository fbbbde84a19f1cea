"""Ranking: by which figure, in which direction, in which order."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpujobs.daemon.jobs.ranked import swept_values
from gpujobs.errors import UsageError
from gpujobs.jobfile.settings import path_of, with_value
from gpujobs.metric_names import kinds_of
from gpujobs.results.ranking import (
    Criterion,
    Mode,
    chosen,
    default,
    evaluated_by,
    evaluation_lines,
    figures,
    rank,
)

KNOWN = {"loss", "val_loss", "val_mae", "mae", "test_mae", "parameters"}
TEST_MAE = ("test", "mae")


def watched(key: str, monitor: str, mode: str = "auto", **more: Any) -> dict[str, Any]:
    return {key: {"monitor": monitor, "mode": mode, **more}}


@pytest.mark.parametrize(
    ("training", "swept", "known", "evaluated_by", "expected"),
    [
        ({}, [], KNOWN, TEST_MAE, ("val_loss", "min")),
        (watched("best_weights", "val_mae"), [], KNOWN, TEST_MAE, ("val_mae", "min")),
        (watched("best_weights", "val_accuracy"), [], KNOWN | {"val_accuracy"}, None, ("val_accuracy", "max")),
        (watched("early_stopping", "val_thing", "max"), [], KNOWN | {"val_thing"}, None, ("val_thing", "max")),
        (watched("early_stopping", "val_thing"), [], KNOWN | {"val_thing"}, None, ("val_loss", "min")),
        (watched("early_stopping", "mae") | watched("best_weights", "val_mae"), [], KNOWN, None,
         ("val_mae", "min")),
        (watched("early_stopping", "mae", restore_best_weights=True) | watched("best_weights", "val_mae"), [],
         KNOWN, None, ("mae", "min")),
        # A loss says nothing of jobs whose losses differ.
        ({}, ["training.loss"], KNOWN, TEST_MAE, ("test_mae", "min")),
        (watched("best_weights", "val_loss"), ["training.loss.Huber.delta"], KNOWN, TEST_MAE, ("test_mae", "min")),
        ({}, ["training.loss"], {"loss"}, None, None),
        # Without a validation part.
        ({}, [], {"loss", "test_mae"}, TEST_MAE, ("test_mae", "min")),
        ({}, [], {"loss", "train_accuracy"}, ("train", "accuracy"), ("loss", "min")),
        ({}, ["training.loss"], {"loss", "train_accuracy"}, ("train", "accuracy"), ("train_accuracy", "max")),
        ({}, [], set(), None, None),
    ],
)  # fmt: skip
def test_the_default_is_what_the_jobs_watch_or_are_validated_by(
    training: dict[str, Any],
    swept: list[str],
    known: set[str],
    evaluated_by: tuple[str, str] | None,
    expected: tuple[str, str] | None,
) -> None:
    found = default(
        {"training": training, "data": {}, "model": {}}, {key: [1, 2] for key in swept}, known, evaluated_by
    )
    assert (found and (found.metric, found.mode)) == expected


def test_a_job_that_trains_nothing_is_ranked_by_nothing() -> None:
    assert default({"model": {"job": 7}}, {}, {"queue_seconds"}, None) is None


@pytest.mark.parametrize(
    ("metric", "mode", "expected"),
    [("val_mae", None, "min"), ("val_accuracy", None, "max"), ("train_seconds", None, "min"),
     ("parameters", None, "min"), ("peak_memory_bytes", None, "min"), ("val_mae", Mode.MAX, "max"),
     ("false_negatives", None, "min"), ("true_positives", None, "max"), ("thing", Mode.MAX, "max")],
)  # fmt: skip
def test_the_direction_follows_from_the_name(metric: str, mode: Mode | None, expected: str) -> None:
    assert chosen(metric, mode, {metric}).mode == expected
    assert chosen(metric, mode, set()).mode == expected


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("val_score", "min"), ("score", "min"), ("val_miss", "max"), ("val_thing", "min"), ("test_accuracy", "max")],
)  # fmt: skip
def test_a_metric_that_the_file_has_named_ranks_by_what_it_is(metric: str, expected: str) -> None:
    metrics = [
        {"MeanSquaredError": {"name": "score"}},
        {"Recall": {"name": "miss"}},
        {"MeanAbsoluteError": {"name": "thing"}},
    ]
    assert chosen(metric, None, {metric}, kinds_of(metrics)).mode == expected


def test_what_cannot_rank() -> None:
    with pytest.raises(UsageError, match=r"no job of this group has val_maae; expected one of loss, mae"):
        chosen("val_maae", None, KNOWN)
    with pytest.raises(UsageError, match="give --mode min or --mode max"):
        chosen("thing", None, {"thing"})


def test_figures_are_those_of_the_model_as_it_is() -> None:
    metrics = {
        "final": {"loss": 0.9, "val_loss": 0.8}, "best": {"loss": 0.1, "val_loss": 0.5},
        "kept": {"epoch": 3, "loss": 0.3, "val_loss": 0.5}, "task": "regression",
        "evaluation": {"part": "test", "metric": "mae", "model": {"mae": 2.0, "rmse": 3.0}},
        "parameters": 12, "train_seconds": 1.5, "predictions": {"test": {}}, "device_peak_memory_bytes": None,
    }  # fmt: skip
    expected = {"loss": 0.3, "val_loss": 0.5, "test_mae": 2.0, "test_rmse": 3.0}
    assert figures(metrics) == {**expected, "parameters": 12, "train_seconds": 1.5}
    assert figures({"final": {"loss": 0.9}}) == {"loss": 0.9}, "results of before had no `kept`"
    assert figures({**metrics, "loss": 0.1, "test_mae": 0.1, "epoch": 9}) == figures(metrics), (
        "of the same name"
    )


@pytest.mark.parametrize(
    "text",
    ['{"kept": {"loss": NaN}}', '{"kept": {"loss": Infinity}}', '{"kept": {"loss": true}}', '{"kept": [1]}',
     '{"kept": {"loss": 1' + "0" * 400 + "}}", '{"evaluation": [7]}', '{"evaluation": {"model": {"mae": "x"}}}',
     '{"kept": {"loss": "0.1"}}', "{}"],
)  # fmt: skip
def test_what_is_no_number_is_no_figure(text: str) -> None:
    assert figures(json.loads(text)) == {}


def test_a_user_cannot_make_the_answer_endless() -> None:
    assert len(figures({"kept": {f"m{number}": 1.0 for number in range(100_000)}})) == 200


numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-3, 3)


@given(
    st.dictionaries(st.integers(1, 50), st.dictionaries(st.sampled_from(["m", "n"]), numbers)),
    st.sampled_from(Mode),
)
def test_the_best_is_first_and_equals_share_a_rank(by_job: dict[int, dict[str, float]], mode: Mode) -> None:
    ranked = rank(by_job, Criterion("m", mode, ""))
    assert {one.job for one in ranked} == {job for job, found in by_job.items() if "m" in found}
    values = [one.value for one in ranked]
    assert values == sorted(values, reverse=mode is Mode.MAX)
    for one in ranked:
        better = [v for v in values if (v < one.value if mode is Mode.MIN else v > one.value)]
        assert one.rank == len(better) + 1
        assert math.isclose(by_job[one.job]["m"], one.value)


@pytest.mark.parametrize("mode", Mode)
def test_of_equals_the_older_job_stands_first(mode: Mode) -> None:
    by_job = {3: {"m": 1.0}, 12: {"m": 1.0}, 4: {"m": 1.0}}
    assert [one.job for one in rank(by_job, Criterion("m", mode, ""))] == [3, 4, 12]


REGRESSION = {"training": {"loss": "mse"}, "data": {"scaling": {"y": "standard"}}, "model": {"layers": []}}
UNSCALED = {**REGRESSION, "data": {"scaling": {"y": "none"}}}
SUMMED = {**UNSCALED, "training": {"loss": {"MeanSquaredError": {"reduction": "sum"}}}}
CLASSES = {"training": {"loss": "binary_crossentropy"}, "data": {"scaling": None}, "model": {"layers": []}}
VALIDATED = {"loss", "val_loss", "val_mae", "validation_mae", "validation_accuracy"}


@pytest.mark.parametrize(
    ("job", "swept", "expected"),
    [
        (REGRESSION, {"training.epochs": [1, 2]}, "val_loss"),
        (REGRESSION, {"data.scaling": ["standard", "none"]}, "validation_mae"),
        (REGRESSION, {"data.scaling.y": ["standard", "minmax"]}, "validation_mae"),
        (REGRESSION, {"data.scaling.x": ["standard", "minmax"]}, "val_loss"),
        (REGRESSION, {"data.scaling": [{"x": "minmax", "y": "robust"}, {"x": "none", "y": "robust"}]}, "val_loss"),
        (REGRESSION, {"data.scaling": ["standard", "standard"]}, "val_loss"),  # they do not differ
        (REGRESSION, {"training.loss": ["mse", "mae"]}, "validation_mae"),
        (REGRESSION, {"training.loss.Huber.delta": [1.0, 2.0]}, "validation_mae"),
        (REGRESSION, {"data.window.horizon": [1, 5]}, "validation_mae"),
        (REGRESSION, {"data.sample_weight": ["w", None]}, "validation_mae"),
        (REGRESSION, {"model.layers[0].LSTM.kernel_regularizer.L2.l2": [0.1, 0.2]}, "validation_mae"),
        (REGRESSION, {"model.layers[0]": [{"LSTM": {"kernel_regularizer": "l2"}}, {"GRU": {}}]}, "validation_mae"),
        (REGRESSION, {"model.layers[0].LSTM.units": [8, 9]}, "val_loss"),
        (CLASSES, {"data.scaling": ["standard", "none"]}, "val_loss"),  # classes are not scaled
        (CLASSES, {"training.class_weight": ["balanced", None]}, "validation_accuracy"),
        (REGRESSION, {"model.layers[1].ActivityRegularization.l2": [0.0, 0.1]}, "validation_mae"),
        (REGRESSION, {"model.layers[1]": [{"ActivityRegularization": {"l2": 1}}, {"Dropout": {"rate": 0}}]},
         "validation_mae"),
        (REGRESSION, {"data.split.seed": [0, 1]}, "validation_mae"),  # each fits a scale of its own
        (REGRESSION, {"training.validation_split": [0.1, 0.3]}, "validation_mae"),
        (REGRESSION, {"data.train": ["a.csv", "b.csv"]}, "validation_mae"),
        (REGRESSION, {"data.missing": ["drop", "fill"]}, "validation_mae"),
        (UNSCALED, {"data.split.seed": [0, 1]}, "val_loss"),
        (CLASSES, {"data.split.seed": [0, 1]}, "val_loss"),
        (CLASSES, {"data.classes": [["a", "b"], ["a", "b", "c"]]}, "validation_accuracy"),
        (SUMMED, {"training.batch_size": [16, 32]}, "validation_mae"),
        (REGRESSION, {"training.batch_size": [16, 32]}, "val_loss"),
        (CLASSES, {"data.target": ["kind", "state"]}, "validation_accuracy"),
        (REGRESSION, {"data.target": ["load", "load"]}, "val_loss"),  # they do not differ
        (REGRESSION, {"data": [{"target": "load", "scaling": "none"}, {"target": "load", "scaling": "standard"}]},
         "validation_mae"),
    ],
)  # fmt: skip
def test_jobs_whose_losses_have_other_scales_are_ranked_by_the_evaluation(
    job: dict[str, Any], swept: dict[str, list[Any]], expected: str
) -> None:
    metric = "accuracy" if job is CLASSES else "mae"
    found = default(job, swept, VALIDATED, ("validation", metric))
    assert found is not None and found.metric == expected
    if expected.startswith("validation"):
        assert "in the data's own units" in found.why and next(iter(swept)) in found.why


@pytest.mark.parametrize(
    "swept",
    [{"data.target": ["load", "price"]}, {"data.target": ["load", ["load", "price"]]}, {"data.y": ["y", "z"]},
     {"data": [{"target": "load"}, {"target": "price"}]}],
)  # fmt: skip
def test_errors_of_different_targets_rank_nobody(swept: dict[str, list[Any]]) -> None:
    watching = {**REGRESSION, "training": {"loss": "mse", **watched("best_weights", "val_mae")}}
    for job in (REGRESSION, UNSCALED, watching):
        assert default(job, swept, VALIDATED, ("validation", "mae")) is None, (
            "kilowatts and euros do not compare"
        )


@dataclass(frozen=True)
class Member:
    """A job of a sweep."""

    id: int
    sweep_values: dict[str, Any]
    uid: int = 0
    results: str | None = None


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        # Entries of a list may set different keys: the first trains with the file's own mse.
        ([{"training.optimizer": "sgd"}, {"training.loss": "mae"}], "validation_mae"),
        ([{"training.loss": "mae"}, {"training.optimizer": "sgd"}, {"training.loss": "mae"}], "validation_mae"),
        ([{}, {"data.scaling.y": "minmax"}], "validation_mae"),
        ([{"data.scaling": "none"}, {"data.scaling.y": "standard"}], "validation_mae"),
        ([{"model.layers[0].LSTM.kernel_regularizer": "l2"}, {"model.layers[0].LSTM.units": 8}], "validation_mae"),
        ([{"training.class_weight": "balanced"}, {"training.epochs": 3}], "validation_mae"),
        # What an entry sets is what the file says anyway.
        ([{"training.loss": "mse"}, {"training.optimizer": "sgd"}], "val_loss"),
        ([{"data.scaling.y": "standard"}, {"training.optimizer": "sgd"}], "val_loss"),
        ([{"training.optimizer": "adam", "training.batch_size": 64}, {"training.optimizer": "sgd"}], "val_loss"),
    ],
)  # fmt: skip
def test_a_job_that_a_sweep_leaves_as_it_is_counts_with_what_the_file_says(
    entries: list[dict[str, Any]], expected: str
) -> None:
    file = {**REGRESSION, "model": {"layers": [{"LSTM": {"units": 4}}]}}
    resolved = []
    for entry in entries:
        tree: Any = file
        for key, value in entry.items():
            whole = {"x": value, "y": value} if key == "data.scaling" else value  # as a resolved file has it
            tree = with_value(tree, path_of(key), whole)
        resolved.append(tree)
    jobs = [Member(number, entry) for number, entry in enumerate(entries)]
    found = default(resolved[0], swept_values(jobs, resolved.__getitem__), VALIDATED, ("validation", "mae"))
    assert found is not None and found.metric == expected


def test_a_metric_of_scaled_targets_that_is_watched_is_passed_over_too() -> None:
    job = {**REGRESSION, "training": {"loss": "mse", **watched("best_weights", "val_mae")}}
    swept = {"data.scaling.y": ["standard", "none"]}
    by_scale = default(job, swept, VALIDATED, ("validation", "mae"))
    by_loss = default(job, {"training.loss": ["mse", "mae"]}, VALIDATED, ("validation", "mae"))
    assert by_scale is not None and by_scale.metric == "validation_mae"
    assert by_loss is not None and by_loss.metric == "val_mae"  # of one unit, whatever the loss
    assert by_loss.why == "which training.best_weights watches (of targets as scaled: standard)"


def test_several_outputs_have_figures_of_their_own() -> None:
    evaluation = {"part": "test", "outputs": {"a": {"metric": "mae", "model": {"mae": 1.5}}, "b": {}}}
    assert evaluated_by({"evaluation": evaluation}) == ("test", "a_mae")
    assert figures({"evaluation": evaluation}) == {"test_a_mae": 1.5}


@pytest.mark.parametrize("written", [None, "text", {"part": "x"}, {"lines": [1, "said", None, "x" * 5000]}])
def test_what_a_user_writes_as_an_evaluation_is_not_trusted(written: Any) -> None:
    assert evaluation_lines({"evaluation": written}) in ([], ["said", "x" * 1000])
