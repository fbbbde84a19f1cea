"""Sequences of different length: right padding that cuDNN takes, masks, labels, weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpujobs.trainer.failures import DataError

from .making import alone, csv, everything, prepared, there

LENGTHS = [3, 1, 4, 2]
MASKED = "model: {layers: [Masking: {mask_value: -9.0}, LSTM: {units: 2}, Dense: {units: %d}]}\ntraining: {loss: %s}\n"


def concatenated() -> dict[str, Any]:
    return {
        "x": np.arange(20, dtype=np.float32).reshape(10, 2),
        "n": np.array(LENGTHS),
        "y": np.array([0.5, 1.5, 2.5, 3.5]),
    }


def padded() -> dict[str, Any]:
    given = concatenated()
    x = np.full((4, 6, 2), 777.0)
    for row, (begin, length) in enumerate(zip(np.cumsum([0, *LENGTHS[:-1]]), LENGTHS, strict=True)):
        x[row, :length] = given["x"][begin : begin + length]
    return {**given, "x": x}


@pytest.mark.parametrize("given", [concatenated(), padded()], ids=["concatenated", "padded"])
def test_padding_is_on_the_right_and_nowhere_else(tmp_path: Path, given: dict[str, Any]) -> None:
    data = "{train: t.npz, lengths: n}"
    x = everything(prepared(tmp_path, data, {"t.npz": given}, rest=MASKED % (1, "mse")).train.samples)
    assert x.shape == (4, 4, 2)
    is_there = np.arange(4) < np.array(LENGTHS)[:, None]
    assert x[is_there].tolist() == concatenated()["x"].tolist()
    assert (x[~is_there] == -9).all()


def test_padding_is_not_scaled_and_does_not_count_for_the_scale(tmp_path: Path) -> None:
    data = "{train: t.npz, lengths: n, scaling: {x: standard}}"
    found = prepared(tmp_path, data, {"t.npz": padded()}, rest=MASKED % (1, "mse"))
    given = concatenated()["x"]
    np.testing.assert_allclose(found.preprocessing.x["x"].center, given.mean(axis=0))
    x = everything(found.train.samples)
    is_there = np.arange(4) < np.array(LENGTHS)[:, None]
    np.testing.assert_allclose(x[is_there], (given - given.mean(axis=0)) / given.std(axis=0), rtol=1e-6)
    assert (x[~is_there] == -9).all()


def test_ids_are_padded_with_zero(tmp_path: Path) -> None:
    rest = (
        "model: {layers: [Embedding: {input_dim: 11, output_dim: 2, mask_zero: true}, LSTM: {units: 2}, "
        "Dense: {units: 1}]}\ntraining: {loss: mse}\n"
    )
    given = {**concatenated(), "x": np.arange(1, 11)}
    x = everything(
        prepared(tmp_path, "{train: t.npz, lengths: n}", {"t.npz": given}, rest=rest).train.samples
    )
    assert x.tolist() == [[1, 2, 3, 0], [4, 0, 0, 0], [5, 6, 7, 8], [9, 10, 0, 0]]


def test_padding_that_nothing_masks_is_mentioned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepared(tmp_path, "{train: t.npz, lengths: n}", {"t.npz": concatenated()})
    said = capsys.readouterr().out
    assert said.startswith(
        "t.npz: array x: sequences differ in length, and no layer skips the steps that pad"
    )


def table(order: list[int] | None = None) -> str:
    """One row a step, sequences named s0 to s3."""
    who = np.repeat(np.arange(4), LENGTHS)
    columns: dict[str, Any] = {
        "who": [f"s{n}" for n in who],
        "step": np.concatenate([np.arange(n) for n in LENGTHS]),
        "a": np.arange(10.0),
        "kind": [("up", "down")[n % 2] for n in who],
        "each": list("ppqpqqpppq"),
    }
    order = order or list(range(10))
    return csv({name: [one[row] for row in order] for name, one in columns.items()})


DATA = "{train: t.csv, time: step, sequence: {by: who%s}, features: a, target: %s}"


def test_sequences_of_a_table(tmp_path: Path) -> None:
    rest = MASKED % (2, "sparse_categorical_crossentropy")
    found = prepared(tmp_path, DATA % ("", "kind"), {"t.csv": table()}, rest=rest)
    samples = found.train.samples
    assert found.preprocessing.classes["y"].names == ("down", "up")
    assert samples.target("y").tolist() == [1, 0, 1, 0]
    assert samples.labels["sequence"].take(np.arange(4)).tolist() == ["s0", "s1", "s2", "s3"]
    assert everything(samples)[2, :, 0].tolist() == [4, 5, 6, 7]


def test_sequences_that_stand_mixed_in_the_file(tmp_path: Path) -> None:
    mixed = [0, 3, 4, 1, 8, 5, 2, 6, 9, 7]
    rest = MASKED % (2, "sparse_categorical_crossentropy")
    parts = [
        prepared(tmp_path, DATA % ("", "kind"), {"t.csv": table(order)}, rest=rest).train.samples
        for order in (None, mixed)
    ]
    assert (everything(parts[0]) == everything(parts[1])).all()


def test_a_label_for_each_step_and_padding_does_not_count(tmp_path: Path) -> None:
    rest = (
        "model: {layers: [Masking: {mask_value: -9.0}, LSTM: {units: 2, return_sequences: true}, "
        "Dense: {units: 2, activation: softmax}]}\ntraining: {loss: sparse_categorical_crossentropy}\n"
    )
    found = prepared(tmp_path, DATA % (", label: each", "each"), {"t.csv": table()}, rest=rest)
    assert found.preprocessing.task == "labelling"
    y, weight = map(alone, found.train.samples.batch(np.arange(4))[1:])
    assert y.tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0]]
    assert weight.tolist() == [[1, 1, 1, -1], [1, -1, -1, -1], [1, 1, 1, 1], [1, 1, -1, -1]]


def test_weights_of_steps_are_those_of_the_file_and_padding_does_not_count(tmp_path: Path) -> None:
    rest = (
        "task: labelling\nmodel: {layers: [LSTM: {units: 2, return_sequences: true}, Dense: {units: 2}]}\n"
        "training: {loss: sparse_categorical_crossentropy}\n"
    )
    given = {**concatenated(), "y": np.arange(10) % 2, "w": np.array([1.0, 2.0, 3.0, 4.0])}
    data = "{train: t.npz, lengths: n, sample_weight: w}"
    weight = prepared(tmp_path, data, {"t.npz": given}, rest=rest).train.samples.batch(np.arange(4)).weight
    assert alone(weight).tolist() == [[1, 1, 1, -1], [2, -1, -1, -1], [3, 3, 3, 3], [4, 4, -1, -1]]


def test_facts_beside_sequences(tmp_path: Path) -> None:
    """An input with a row of facts for each sequence is not padded."""
    rest = (
        "model:\n  branches:\n    reads: {inputs: s, layers: [Masking: {mask_value: -9.0}, LSTM: {units: 2}]}\n"
        "    out: {inputs: [reads, f], layers: [Dense: {units: 1}]}\ntraining: {loss: mse}\n"
    )
    given = {**concatenated(), "facts": np.arange(20.0).reshape(4, 5)}
    data = "{train: t.npz, lengths: n, x: {s: x, f: facts}}"
    x = everything(prepared(tmp_path, data, {"t.npz": given}, rest=rest).train.samples)
    assert x["s"].shape == (4, 4, 2) and (x["f"] == given["facts"]).all()


@pytest.mark.parametrize(("handling", "left", "third"), [("drop", 3, None), ("fill", 4, [4, 4, 6, 7])])
def test_missing_values(tmp_path: Path, handling: str, left: int, third: list[float] | None) -> None:
    given = concatenated()
    given["x"] = given["x"].copy()
    given["x"][5, 0] = np.nan  # the second step of the third sequence
    data = f"{{train: t.npz, lengths: n, missing: {handling}}}"
    samples = prepared(tmp_path, data, {"t.npz": given}, rest=MASKED % (1, "mse")).train.samples
    assert len(samples) == left
    if third is not None:
        assert everything(samples)[2, :, 0].tolist() == [2 * n for n in third]
    assert not np.isnan(everything(samples)).any()


def test_a_chronological_split_goes_by_the_first_step(tmp_path: Path) -> None:
    given = {**concatenated(), "t": np.array([5, 6, 7, 1, 9, 10, 11, 12, 3, 4])}
    data = "{train: t.npz, lengths: n, time: t, split: {method: chronological, test: 0.5}}"
    found = prepared(tmp_path, data, {"t.npz": given}, rest=MASKED % (1, "mse"))
    assert there(found.train.samples.numbers).tolist() == [1, 3]


def test_a_number_that_differs_within_a_sequence_is_that_of_its_last_step(tmp_path: Path) -> None:
    given = {**concatenated(), "y": np.arange(10.0)}
    found = prepared(tmp_path, "{train: t.npz, lengths: n}", {"t.npz": given}, rest=MASKED % (1, "mse"))
    assert found.train.samples.target("y").ravel().tolist() == [2.0, 3.0, 7.0, 9.0]


def test_a_sequence_that_has_nothing_to_fill_with_is_called_by_its_number(tmp_path: Path) -> None:
    given = concatenated()
    given["x"] = given["x"].copy()
    given["x"][4:8, 1] = np.nan  # all of the third
    with pytest.raises(DataError, match=r"column 1: holds no value in sequence 3; expected one at least"):
        prepared(
            tmp_path, "{train: t.npz, lengths: n, missing: fill}", {"t.npz": given}, rest=MASKED % (1, "mse")
        )


@pytest.mark.parametrize("split", ["split: {method: random, validation: 0.4}",
                                   "split: {method: chronological, validation: 0.4}, time: t",
                                   "split: {method: group, validation: 0.4}, group: g"])  # fmt: skip
def test_what_was_dropped_is_in_no_part(tmp_path: Path, split: str) -> None:
    """Of twelve samples the first four: whoever counts the samples that are left counts others."""
    times = np.array([0, 1, 2, 3, 11, 4, 10, 5, 9, 6, 8, 7])
    groups = np.array([9, 9, 9, 9, 0, 1, 1, 1, 0, 3, 0, 3])
    x = np.repeat(np.arange(12.0)[:, None, None], 2, axis=1)
    x[:4, 1] = np.nan
    given = {"x": x, "y": np.arange(12.0), "t": times, "g": groups}
    found = prepared(tmp_path, f"{{train: t.npz, missing: drop, {split}}}", {"t.npz": given})
    samples = [found.parts[name].samples for name in ("train", "validation")]
    train, validation = (everything(one)[:, 0, 0].astype(int).tolist() for one in samples)
    assert sorted(train + validation) == list(range(4, 12))
    assert [one.target("y").ravel().astype(int).tolist() for one in samples] == [train, validation]
    if "chronological" in split:
        assert max(times[train]) < min(times[validation])
    if "group" in split:
        assert not {*groups[train]} & {*groups[validation]}


@pytest.mark.parametrize("kind", ["validation_split", "split"])
def test_the_last_of_what_is_left_validate(tmp_path: Path, kind: str) -> None:
    x = np.repeat(np.arange(12.0)[:, None, None], 2, axis=1)
    x[[0, 5], 1] = np.nan
    rest = (
        MASKED % (1, "mse")
        if kind == "split"
        else (MASKED % (1, "mse")).replace("mse", "mse, validation_split: 0.3")
    )
    more = ", split: {method: chronological, validation: 0.3}, time: t" if kind == "split" else ""
    given = {"x": x, "y": np.arange(12.0), "t": np.arange(12)}
    found = prepared(tmp_path, f"{{train: t.npz, missing: drop{more}}}", {"t.npz": given}, rest=rest)
    assert found.parts["validation"].samples.target("y").ravel().tolist() == [9.0, 10.0, 11.0]
    assert found.train.samples.target("y").ravel().tolist() == [1, 2, 3, 4, 6, 7, 8]


def test_a_weight_of_each_step_fits_no_target_of_each_sequence(tmp_path: Path) -> None:
    rest = "model: {layers: [LSTM: {units: 2}, Dense: {units: 1}]}\ntraining: {loss: mse}\n"
    given = {"x": np.zeros((3, 4, 1)), "n": np.array([4, 2, 3]), "y": np.zeros(3), "w": np.ones((3, 4))}
    said = r"the weights have shape \(3, 4\), one for each step, .* expected a weight for each of 3 sequences"
    with pytest.raises(DataError, match=said):
        prepared(tmp_path, "{train: t.npz, lengths: n, sample_weight: w}", {"t.npz": given}, rest=rest)
