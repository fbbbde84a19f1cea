"""Files beside each other, and rows within a sequence, that do not say the same: refused, or said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpujobs.trainer.failures import DataError

from .making import csv, everything, prepared

CLASSES = (
    "model: {layers: [Flatten: {}, Dense: {units: 4}]}\ntraining: {loss: sparse_categorical_crossentropy}\n"
)
NUMBERS = "model: {layers: [LSTM: {units: 2}, Dense: {units: 1}]}\ntraining: {loss: mse}\n"


def labelled(*labels: str, rows: int = 24) -> str:
    return csv({"x": range(rows), "kind": [labels[row % len(labels)] for row in range(rows)]})


@pytest.mark.parametrize("part", ["validation", "test"])
def test_words_beside_labels_that_are_numbers_are_refused(tmp_path: Path, part: str) -> None:
    """Numbered by their own order, `no` and `yes` would be the training's 0 and 1, and 1 the first class."""
    files = {"t.csv": labelled("0", "1", "2"), "v.csv": labelled("1", "2", "unknown", "yes")}
    data = f"{{train: t.csv, {part}: v.csv, features: [x], target: kind, window: {{length: 4}}}}"
    with pytest.raises(
        DataError, match=r"v.csv: column kind: holds 'unknown', 'yes'; expected numbers, as the labels"
    ):
        prepared(tmp_path, data, files, rest=CLASSES)


def test_numbers_that_stand_as_words_are_the_classes_of_the_training(tmp_path: Path) -> None:
    x = np.arange(48, dtype=np.float32).reshape(8, 3, 2)
    y = np.array([2, 1, 0, 1, 2, 0, 1, 1])
    files: dict[str, Any] = {"t.npz": {"x": x, "y": y}, "v.npz": {"x": x, "y": y.astype(str)}}
    found = prepared(tmp_path, "{train: t.npz, validation: v.npz}", files, rest=CLASSES)
    assert found.parts["validation"].samples.target("y").tolist() == y.tolist()
    files["v.npz"]["y"] = np.array(["2", "1", "cat", "1", "2", "dog", "1", "1"])
    with pytest.raises(DataError, match=r"v.npz: array y: holds 'cat', 'dog'; expected numbers"):
        prepared(tmp_path, "{train: t.npz, validation: v.npz}", files, rest=CLASSES)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (("True", "False", "yes", "no"), "holds False, True beside no, yes, which would be 4 classes"),
        (("yes", "no", "On"), "holds no, yes beside On, which would be 3 classes"),
        (("True", "False", "1"), "holds False, True beside 1, which would be 3 classes"),
        (("N", "T"), None),
        (("F", "N", "T", "Y"), None),
        (("0", "1", "N"), None),
        (("yes", "no", "maybe", "True"), None),
        (("yes", "no", "No"), None),
    ],
)
def test_yes_and_no_are_written_in_one_way(tmp_path: Path, labels: tuple[str, ...], said: str | None) -> None:
    data = "{train: t.csv, features: [x], target: kind, window: {length: 4}%s}"
    rest = CLASSES.replace("4", str(len(labels)))
    if said is not None:
        with pytest.raises(DataError, match=f"column kind: {said}; expected yes and no to be written alike"):
            prepared(tmp_path, data % "", {"t.csv": labelled(*labels)}, rest=rest)
    named = "" if said is None else f", classes: [{', '.join(map(repr, labels))}]"
    found = prepared(tmp_path, data % named, {"t.csv": labelled(*labels)}, rest=rest)
    order = sorted(labels) if said is None else labels
    y = found.train.samples.target("y").tolist()
    assert [order[code] for code in y] == [labels[row % len(labels)] for row in range(4, 24)]


def runs(*names: int, y: Any = 0.0) -> str:
    return csv({"run": np.repeat(names, 4), "x": range(4 * len(names)), "y": np.resize(y, 4 * len(names))})


@pytest.mark.parametrize(("second", "said"), [((1, 2), "1 stands"), ((0, 1), "0, 1 stand"), ((2, 3), None)])
def test_sequences_of_one_name_in_several_files_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], second: tuple[int, int], said: str | None
) -> None:
    files = {"a.csv": runs(0, 1), "b.csv": runs(*second)}
    data = "{train: [a.csv, b.csv], features: [x], target: y, sequence: {by: run}}"
    prepared(tmp_path, data, files, rest=NUMBERS)
    out = capsys.readouterr().out
    assert ("in several files" in out) == (said is not None)
    assert (
        said is None
        or f"a.csv, b.csv: column run: {said} in several files, whose rows are one sequence" in out
    )


def test_series_of_one_name_in_several_files_are_said_where_no_time_tells_their_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"a.csv": runs(0, 1), "b.csv": runs(1, 2)}
    data = "{train: [a.csv, b.csv], features: [x], target: y, group: run, window: {length: 2}}"
    prepared(tmp_path, data, files, rest=NUMBERS)
    assert (
        "a.csv, b.csv: column run: 1 stands in several files, whose rows are one series"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(("y", "said"), [([1, 2, 3, 4], True), ([5], False)])
def test_numbers_that_differ_within_a_sequence_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], y: list[int], said: bool
) -> None:
    data = "{train: a.csv, features: [x], target: y, sequence: {by: run}}"
    found = prepared(tmp_path, data, {"a.csv": runs(0, 1, 2, y=y)}, rest=NUMBERS)
    line = (
        "a.csv: column y: differs within 3 of 3 sequences: the number of a sequence is that of its last row."
    )
    assert (line in capsys.readouterr().out) == said
    assert found.train.samples.target("y").ravel().tolist() == [y[-1]] * 3


@pytest.mark.parametrize(
    ("first", "step", "said"),
    [
        (1_700_000_000, 1, "128"),
        (16_777_216, 1, "2"),
        (16_777_216, 1000, None),
        (1_000_000, 1, None),
        (1_000_000.3, 0.01, "0.0625"),
        (0, 1, None),
        (0.001, 1e-9, "1.16e-10"),
    ],
)
def test_numbers_that_float32_rounds_are_said_where_nothing_is_scaled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], first: float, step: float, said: str | None
) -> None:
    values = [f"{first + step * row:.12g}" for row in range(40)]
    table = csv({"x": range(40), "v": values, "y": values})
    data = "{train: a.csv, features: [x, v], target: y, window: {length: 3}}"
    prepared(tmp_path, data, {"a.csv": table}, rest=NUMBERS)
    out = capsys.readouterr().out
    exact = np.asarray([float(one) for one in values])
    held = exact.astype(np.float32)
    is_near = np.ptp(held) < 1000 * np.spacing(held[-1])
    assert (is_near and (held != exact).any()) == (said is not None)
    for column in ("v", "y"):
        assert (f"a.csv: column {column}: " in out) == (said is not None)
    assert "column x:" not in out
    assert said is None or f"steps of {said} there: where they differ they are rounded" in out


@pytest.mark.parametrize("other", [("2", "1"), ("0", "0.5")])
def test_numbers_beside_yes_and_no_are_refused(tmp_path: Path, other: tuple[str, str]) -> None:
    """Read as they stand, 1 would be a yes, and 2 twice as much."""
    files = {
        name: csv({"x": [words[row % 2] for row in range(12)], "y": range(12)})
        for name, words in {"a.csv": ("yes", "no"), "b.csv": other, "c.csv": ("1", "0")}.items()
    }
    data = "{train: %s, validation: %s, features: [x], target: y, window: {length: 3}}"
    found = prepared(tmp_path, data % ("a.csv", "c.csv"), files)
    assert np.array_equal(everything(found.parts["validation"].samples), everything(found.train.samples))
    for train, validation in (("a.csv", "b.csv"), ("[a.csv, b.csv]", "a.csv")):
        with pytest.raises(
            DataError, match=r"b.csv: column x: holds .* and other rows or files yes and no; expected"
        ):
            prepared(tmp_path, data % (train, validation), files)
