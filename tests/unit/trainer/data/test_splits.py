"""Each method of splitting: nothing lost, nothing twice, the same parts for the same seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpujobs.trainer.data.samples import splits
from gpujobs.trainer.failures import DataError

from .making import alone, csv, everything, prepared

SAMPLES = 200
PARTS = ("train", "validation", "test")
REST = "model: {layers: [LSTM: {units: 2}, Dense: {units: 4}]}\ntraining: {loss: sparse_categorical_crossentropy}\n"


def arrays() -> dict[str, Any]:
    random = np.random.default_rng(0)
    numbers = np.arange(SAMPLES)
    return {
        "x": np.repeat(numbers.astype(np.float32)[:, None, None], 3, axis=1),
        "y": random.choice(4, SAMPLES, p=[0.7, 0.1, 0.1, 0.1]),
        "who": random.permutation(np.repeat([f"p{n}" for n in range(20)], 10)),
        "when": random.permutation(SAMPLES),
    }


def parts(tmp_path: Path, method: str, seed: int = 0) -> dict[str, Any]:
    """The numbers of the samples of each part."""
    data = (
        "{train: t.npz, group: who, time: when, "
        f"split: {{method: {method}, validation: 0.2, test: 0.3, seed: {seed}}}}}"
    )
    found = prepared(tmp_path, data, {"t.npz": arrays()}, rest=REST)
    return {name: everything(part.samples)[:, 0, 0].astype(int) for name, part in found.parts.items()}


@pytest.mark.parametrize("method", ["random", "stratified", "group", "chronological"])
def test_every_sample_is_in_one_part_and_the_shares_are_right(tmp_path: Path, method: str) -> None:
    found = parts(tmp_path, method)
    assert sorted(np.concatenate(list(found.values()))) == list(range(SAMPLES))
    sizes = [len(found[name]) for name in PARTS]
    np.testing.assert_allclose(sizes, [100, 40, 60], atol=0 if method != "stratified" else 3)


@pytest.mark.parametrize("method", ["random", "stratified", "group"])
def test_the_seed_decides(tmp_path: Path, method: str) -> None:
    one, again, other = parts(tmp_path, method, 7), parts(tmp_path, method, 7), parts(tmp_path, method, 8)
    assert all(np.array_equal(one[name], again[name]) for name in PARTS)
    assert not np.array_equal(one["train"], other["train"])


def test_stratified_parts_have_the_shares_of_the_classes(tmp_path: Path) -> None:
    y = arrays()["y"]
    for name, numbers in parts(tmp_path, "stratified").items():
        shares = np.bincount(y[numbers], minlength=4) / len(numbers)
        np.testing.assert_allclose(shares, np.bincount(y) / SAMPLES, atol=0.03, err_msg=name)


def test_no_group_is_in_two_parts(tmp_path: Path) -> None:
    who = arrays()["who"]
    groups = [set(who[numbers]) for numbers in parts(tmp_path, "group").values()]
    assert [len(one) for one in groups] == [10, 4, 6]
    assert len(set.union(*groups)) == 20


def test_chronological_parts_follow_each_other_in_time(tmp_path: Path) -> None:
    when = arrays()["when"]
    times = [when[numbers] for numbers in parts(tmp_path, "chronological").values()]
    assert times[0].max() < times[1].min() and times[1].max() < times[2].min()


def test_the_validation_split_of_keras_takes_the_last(tmp_path: Path) -> None:
    rest = REST.replace("{loss", "{validation_split: 0.25, loss")
    found = prepared(tmp_path, "{train: t.npz}", {"t.npz": arrays()}, rest=rest)
    assert everything(found.parts["validation"].samples)[:, 0, 0].tolist() == list(range(150, 200))


def test_what_trains_is_rounded_down_as_keras_does(tmp_path: Path) -> None:
    """`int(math.floor(batch_dim * (1.0 - validation_split)))`: of 200 x 0.879 = 175.8 the first 175."""
    rest = REST.replace("{loss", "{validation_split: 0.121, loss")
    found = prepared(tmp_path, "{train: t.npz}", {"t.npz": arrays()}, rest=rest)
    assert everything(found.parts["validation"].samples)[:, 0, 0].tolist() == list(range(175, 200))


@pytest.mark.parametrize("method", ["random", "stratified", "group"])
def test_the_samples_of_a_part_are_in_the_order_of_the_file(tmp_path: Path, method: str) -> None:
    for numbers in parts(tmp_path, method).values():
        assert numbers.tolist() == sorted(numbers)


@pytest.mark.parametrize(
    ("count", "validation", "test", "expected"),
    [(10, 0.2, 0.3, (5, 2, 3)), (7, 0.2, 0.2, (5, 1, 1)), (3, 0.5, 0.0, (1, 2, 0)), (9, 0.3, 0.3, (3, 3, 3)),
     (1000, 0.1, 0.7, (200, 100, 700)), (4, 0.0, 0.25, (3, 0, 1))],
)  # fmt: skip
def test_shares_are_rounded_and_training_has_the_rest(
    count: int, validation: float, test: float, expected: tuple[int, int, int]
) -> None:
    a, b = splits.shares(count, validation, test)
    assert (a, b - a, count - b) == expected


@pytest.mark.parametrize(
    ("stride", "horizon", "is_said"), [(4, 2, True), (6, 2, False), (5, 2, True), (5, 1, False)]
)
def test_windows_whose_targets_are_others_rows_overlap(
    tmp_path: Path, capsys: Any, stride: int, horizon: int, is_said: bool
) -> None:
    data = (
        f"{{train: t.csv, target: v, window: {{length: 4, horizon: {horizon}, stride: {stride}}}, "
        "split: {method: random, test: 0.5}}"
    )
    rest = f"model: {{layers: [LSTM: {{units: 2}}, Dense: {{units: {horizon}}}]}}\ntraining: {{loss: mse}}\n"
    prepared(tmp_path, data, {"t.csv": csv({"v": range(60)})}, rest=rest)
    assert ("Windows overlap: with this split" in capsys.readouterr().out) is is_said


def test_a_part_that_is_asked_for_and_empty() -> None:
    settings = {"validation": 0.1, "test": 0.0}
    with pytest.raises(
        DataError, match=r"^t.npz: the validation part is empty \(0.1 of 3 samples\); expected"
    ):
        splits.require_some("t.npz", {"train": 3, "validation": 0, "test": 0}, settings)
    splits.require_some("t.npz", {"train": 2, "validation": 1, "test": 0}, settings)


@pytest.mark.parametrize(("stride", "shared"), [(1, 5), (4, 2), (6, 0)])
def test_windows_that_training_and_validation_share_rows_of_are_said(
    tmp_path: Path, capsys: Any, stride: int, shared: int
) -> None:
    data = f"{{train: t.csv, target: v, window: {{length: 4, horizon: 2, stride: {stride}}}}}"
    rest = "model: {layers: [LSTM: {units: 2}, Dense: {units: 2}]}\ntraining: {loss: mse, validation_split: 0.5}\n"
    parts = prepared(tmp_path, data, {"t.csv": csv({"v": range(60)})}, rest=rest).parts
    seen = {
        name: {*alone(part.truth.x(np.arange(len(part.truth)))).ravel(), *part.truth.target("y").ravel()}
        for name, part in parts.items()
    }
    assert len(seen["train"] & seen["validation"]) == shared
    assert (f"up to {shared} rows in common" in capsys.readouterr().out) == (shared > 0)


def test_no_split_is_advised_where_a_class_has_less_samples_than_there_are_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    y = np.array([0, 1] * 20 + [2])
    rest = "model: {layers: [Flatten: {}, Dense: {units: 3, activation: softmax}]}\n" + (
        "training: {loss: sparse_categorical_crossentropy}\n"
    )
    for method in ("chronological", "stratified"):
        data = f"{{train: t.npz, split: {{method: {method}, validation: 0.25}}}}"
        prepared(tmp_path, data, {"t.npz": {"x": np.zeros((41, 4, 1)), "y": y}}, rest=rest)
        (line,) = (one for one in capsys.readouterr().out.splitlines() if "no sample of class 2 (1 in" in one)
        assert line.endswith("2 parts need at least 2 samples of a class: give more of them.")
