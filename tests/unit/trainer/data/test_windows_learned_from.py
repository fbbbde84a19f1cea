"""What a training may learn from windows: scales of its own rows alone, targets that were there, the right class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .making import alone, csv, prepared

DATA = "{train: t.csv, group: g, target: v, features: [u], window: {length: 3, horizon: %d}%s}"
REST = "model: {layers: [LSTM: {units: 2}, Dense: {units: %d}]}\ntraining: {loss: mse%s}\n"
GROUPS = np.repeat(["a", "b", "c", "d"], 15)
# A value tells its row.
V = np.random.default_rng(3).permutation(60) / 10 - 3
U = np.random.default_rng(4).permutation(60) / 2 + 30


def made(root: Path, more: str, values: Any = V, horizon: int = 1, training: str = "") -> Any:
    text = csv({"g": GROUPS, "v": ["" if one != one else one for one in values], "u": U})
    return prepared(root, DATA % (horizon, more), {"t.csv": text}, rest=REST % (horizon, training))


def rows_of(part: Any, horizon: int = 1) -> tuple[Any, Any]:
    """The rows of the file that the part's windows show, and those of their targets."""
    x, y = part.truth.x(np.arange(len(part.truth))), part.truth.target("y").reshape(len(part.truth), -1)
    inputs = [int(np.flatnonzero(np.isclose(U, one, atol=1e-4))[0]) for one in np.unique(x)]
    targets = [int(np.flatnonzero(np.isclose(V, one, atol=1e-4))[0]) for one in np.unique(y)]
    return np.array(inputs), np.array(targets)


SPLITS = {
    "random": (", split: {method: random, test: 0.8, seed: 2}", ""),
    "group": (", split: {method: group, test: 0.5}", ""),
    "validation_split": ("", ", validation_split: 0.6"),
}


@pytest.mark.parametrize(("split", "training"), SPLITS.values(), ids=SPLITS)
def test_scales_are_of_the_rows_that_the_training_sees(tmp_path: Path, split: str, training: str) -> None:
    found = made(tmp_path, split + ", scaling: standard", training=training)
    inputs, targets = rows_of(found.train)
    assert len(inputs) < 55
    for scale, values in (
        (found.preprocessing.x["x"], U[inputs]),
        (found.preprocessing.y["y"], V[targets]),
    ):
        np.testing.assert_allclose(
            [scale.center[0], scale.width[0]], [values.mean(), values.std()], rtol=1e-5
        )


def test_the_last_windows_validate(tmp_path: Path) -> None:
    found = made(tmp_path, "", training=", validation_split: 0.25")
    assert [len(found.parts[name].samples) for name in ("train", "validation")] == [36, 12]
    assert rows_of(found.train)[1].max() == 44 and rows_of(found.parts["validation"])[1].min() == 48


def test_filled_targets_are_neither_scaled_by_nor_trained_on(tmp_path: Path) -> None:
    values = V.copy()
    values[[4, 5, 20, 21, 22]] = np.nan
    more = ", missing: fill, scaling: {y: standard}, split: {method: chronological, test: 0.2}"
    found = made(tmp_path, more, values, horizon=2)
    seen = set(rows_of(found.train)[1])
    assert not seen & {4, 5, 20, 21, 22} and found.train.truth.target("y").shape == (4 * 8 - 3 - 4, 2, 1)
    # all rows of the training part that have a value, in the series' own order
    rows = [row for row in range(60) if row % 15 < 12 and not np.isnan(values[row])]
    scale = found.preprocessing.y["y"]
    np.testing.assert_allclose([scale.center[0], scale.width[0]], [V[rows].mean(), V[rows].std()], rtol=1e-5)


CLASSES = "model: {layers: [LSTM: {units: 2}, Dense: {units: 3}]}\ntraining: {loss: sparse_categorical_crossentropy}\n"


@pytest.mark.parametrize("horizon", [0, 1, 3])
def test_the_class_and_the_time_of_a_window_are_those_of_the_last_row(tmp_path: Path, horizon: int) -> None:
    kinds = np.random.default_rng(0).integers(0, 3, 30)
    data = f"{{train: t.csv, time: t, target: k, features: [v], window: {{length: 4, horizon: {horizon}}}}}"
    text = csv({"t": np.arange(30) * 2, "v": np.arange(30), "k": kinds})
    samples = prepared(tmp_path, data, {"t.csv": text}, rest=CLASSES).train.samples
    last = np.arange(len(samples)) + 3 + horizon
    assert len(samples) == 27 - horizon
    assert samples.target("y").tolist() == kinds[last].tolist()
    assert samples.all_of(samples.labels["time"]).tolist() == (2 * last).tolist()


def test_a_target_that_no_window_has_takes_none_away(tmp_path: Path) -> None:
    """A label between the rows that are shown, or before the last row of a horizon, is the target of none."""
    kinds = np.array(list("abcab" * 4), object)
    kinds[[5, 12]] = ""
    text = csv({"v": np.arange(20), "k": kinds})
    data = "{train: t.csv, target: k, features: [v], missing: fill, window: {%s}}"
    steps = (
        "task: labelling\nmodel: {layers: [LSTM: {units: 2, return_sequences: true}, Dense: {units: 3}]}\n"
    )
    steps += "training: {loss: sparse_categorical_crossentropy}\n"
    window = "length: 3, sampling_rate: 2, horizon: 0"
    found = prepared(tmp_path, data % window, {"t.csv": text}, rest=steps).train.truth
    without = [first for first in range(16) if not {first, first + 2, first + 4} & {5, 12}]
    np.testing.assert_array_equal(alone(found.x(np.arange(len(found))))[:, 0, 0], without)
    found = prepared(tmp_path, data % "length: 4, horizon: 3", {"t.csv": text}, rest=CLASSES).train.truth
    without = [first for first in range(14) if first + 6 != 12]
    np.testing.assert_array_equal(alone(found.x(np.arange(len(found))))[:, 0, 0], without)


def test_scales_do_not_hang_on_whether_one_target_is_missing(tmp_path: Path) -> None:
    """Where nothing is split off, they are of all values that there are."""
    values = V.copy()
    values[8] = np.nan
    found = made(tmp_path, ", missing: fill, scaling: standard", values)
    for scale, held in ((found.preprocessing.x["x"], U), (found.preprocessing.y["y"], np.delete(V, 8))):
        assert scale.center[0] == pytest.approx(held.mean(), rel=1e-5)
        assert scale.width[0] == pytest.approx(held.std(), rel=1e-5)


def test_the_windows_that_are_said_are_those_of_the_parts(tmp_path: Path) -> None:
    """With a stride, those of each part begin anew: there may be more of them than without the split."""
    for stride in (1, 2, 3):
        for share in (0.2, 0.3, 0.4):
            text = csv({"g": GROUPS, "v": V, "u": U})
            data = (DATA % (2, f", split: {{method: chronological, test: {share}}}")).replace(
                "horizon: 2", f"horizon: 2, stride: {stride}"
            )
            found = prepared(tmp_path, data, {"t.csv": text}, rest=REST % (2, ""))
            (account,) = found.accounts
            assert account.makes == sum(len(part.samples) for part in found.parts.values())


def test_weights_that_are_zero_are_said(tmp_path: Path, capsys: Any) -> None:
    weight = np.ones(60)
    weight[[3, 7]] = 0
    text = csv({"g": GROUPS, "v": V, "u": U, "w": weight})
    data = DATA % (1, ", sample_weight: w")
    prepared(tmp_path, data, {"t.csv": text}, rest=REST % (1, ""))
    assert "t.csv: 2 rows have the weight 0: nothing is learned from that." in capsys.readouterr().out


def test_samples_and_sequences_that_are_left_out_are_named(tmp_path: Path, capsys: Any) -> None:
    x = np.zeros((9, 2, 1))
    x[[2, 5], 0] = np.nan
    (account,) = prepared(
        tmp_path, "{train: t.npz, missing: drop}", {"t.npz": {"x": x, "y": np.zeros(9)}}
    ).accounts
    assert [one.to_json() for one in account.left_out] == [
        {"what": "samples", "count": 2, "why": "with missing values", "where": ["3", "6"]}
    ]
    table = csv(
        {"s": np.repeat(["p", "q", "r"], 4), "u": [1, 2, 3, 4, 5, "", 7, 8, 9, 1, 2, 3], "v": range(12)}
    )
    data = "{train: s.csv, missing: drop, sequence: {by: s}, features: [u], target: v}"
    prepared(tmp_path, data, {"s.csv": table})
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if "differs within" not in line] == [
        "t.npz: 9 samples, 7 of them used; left out: 2 samples with missing values (3, 6).",
        "s.csv: 3 sequences, 2 of them used; left out: 1 sequence with missing values (q).",
    ]
