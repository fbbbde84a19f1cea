"""Labels as people write them become the classes' numbers, and numbers become labels again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpujobs.cli.checking import _classes
from gpujobs.trainer.checking.data import class_counts
from gpujobs.trainer.data import prepare
from gpujobs.trainer.data.fitting.classes import Classes
from gpujobs.trainer.data.fitting.targets import Output, shaped
from gpujobs.trainer.failures import DataError

from .making import csv, prepared, spec_of

NUMBERS = [2, 0, 1, 1, 2, 0]
REST = "model: {layers: [LSTM: {units: 2}, Dense: {units: 3}]}\ntraining: {loss: sparse_categorical_crossentropy}\n"


def learned(tmp_path: Path, y: Any, classes: str = "", rest: str = REST) -> tuple[list[Any], Any]:
    given = {"x": np.zeros((len(y), 2, 1)), "y": y}
    more = f", classes: {classes}" if classes else ""
    found = prepared(tmp_path, f"{{train: t.npz{more}}}", {"t.npz": given}, rest=rest)
    return found.train.samples.target("y").tolist(), found.preprocessing.classes.get("y")


@pytest.mark.parametrize(
    ("y", "classes", "names"),
    [
        (np.array(["c", "a", "b", "b", "c", "a"]), "", ("a", "b", "c")),
        (np.array([b"c", b"a", b"b", b"b", b"c", b"a"]), "", ("a", "b", "c")),
        (np.array(["low", "high", "mid", "mid", "low", "high"]), "[high, mid, low]", ("high", "mid", "low")),
        (np.array([30, 10, 20, 20, 30, 10]), "[10, 20, 30]", (10, 20, 30)),
        (np.array([30.0, 10, 20, 20, 30, 10]), "[10, 20, 30]", (10, 20, 30)),
        (np.array(["30", "10", "20", "20", "30", "10"]), "[10, 20, 30]", (10, 20, 30)),
        (np.array(NUMBERS), "[red, green, blue]", ("red", "green", "blue")),
    ],
)
def test_round_trip(tmp_path: Path, y: Any, classes: str, names: tuple[Any, ...]) -> None:
    numbers, known = learned(tmp_path, y, classes)
    assert numbers == NUMBERS
    assert known.names == names
    shown = known.decode(np.array(numbers))
    if y.dtype.kind == "S":
        y = y.astype(str)
    if not (np.array_equal(y, NUMBERS)):
        assert [str(one) for one in shown] == [str(one).removesuffix(".0") for one in y.tolist()]


def test_numbers_without_names_are_the_classes(tmp_path: Path) -> None:
    assert learned(tmp_path, np.array(NUMBERS)) == (NUMBERS, None)


def test_one_hot_rows_stay_what_they_are(tmp_path: Path) -> None:
    y = np.eye(3)[NUMBERS]
    numbers, known = learned(tmp_path, y, "[red, green, blue]")
    assert numbers == y.tolist() and known.names == ("red", "green", "blue")


def test_labels_of_steps_are_no_one_hot_rows(tmp_path: Path) -> None:
    """As many steps as there are classes: it is the values that tell."""
    rest = "task: labelling\n" + REST.replace("units: 2}", "units: 2, return_sequences: true}", 1)
    y = np.array([[2, 0, 1], [1, 1, 2]])
    given = {"x": np.zeros((2, 3, 1)), "y": y}
    found = prepared(
        tmp_path, "{train: t.npz, classes: [10, 20, 30]}", {"t.npz": {**given, "y": 10 * (y + 1)}}, rest=rest
    )
    assert found.train.samples.target("y").tolist() == y.tolist()


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_column_of_numbers_is_what_an_array_of_numbers_is(tmp_path: Path, name: str) -> None:
    import pyarrow as pa

    columns = {"v": np.arange(6.0), "s": list("abcdef"), "k": NUMBERS}
    content = csv(columns) if name == "t.csv" else pa.table(columns)
    data = f"{{train: {name}, sequence: {{by: s}}, features: v, target: k}}"
    found = prepared(tmp_path, data, {name: content}, rest=REST)
    assert found.train.samples.target("y").tolist() == NUMBERS
    assert not found.preprocessing.classes


def test_another_file_has_only_some_of_the_classes(tmp_path: Path) -> None:
    """Names that look like numbers there are names still."""
    columns = {"v": np.arange(6.0), "s": list("abcdef"), "k": ["7", "x", "8", "8", "x", "7"]}
    few = {"v": np.arange(2.0), "s": list("gh"), "k": ["8", "7"]}
    data = "{train: t.csv, validation: v.csv, sequence: {by: s}, features: v, target: k}"
    found = prepared(tmp_path, data, {"t.csv": csv(columns), "v.csv": csv(few)}, rest=REST)
    assert found.preprocessing.classes["y"].names == ("7", "8", "x")
    assert found.parts["validation"].samples.target("y").tolist() == [1, 0]


def test_what_is_no_class_gets_the_nearest_that_is() -> None:
    known = Classes(("circle", "wave"))
    with pytest.raises(
        DataError, match=r"^p: holds the label 'wvae', which is no class; did you mean wave\?"
    ):
        known.encode("p", np.array([0, 1]), ["wave", "wvae"], is_one_hot=False)


EACH = (
    "model: {layers: [LSTM: {units: 2, return_sequences: true}, Dense: {units: 2, activation: softmax}]}\n"
    + ("training: {loss: sparse_categorical_crossentropy}\n")
)


@pytest.mark.parametrize("task", ["task: labelling\n", ""])
@pytest.mark.parametrize("lengths", ["", ", lengths: n"])
def test_as_many_steps_as_classes_are_no_one_hot_rows(tmp_path: Path, task: str, lengths: str) -> None:
    y = np.array([[1, 0], [0, 1], [1, 0], [0, 1]])
    given = {"x": np.zeros((4, 2, 1)), "y": y, "n": np.array([2, 2, 2, 2])}
    data = f"{{train: t.npz, classes: [1, 0]{lengths}}}"
    found = prepared(tmp_path, data, {"t.npz": given}, rest=task + EACH)
    assert found.train.samples.target("y").reshape(4, 2).tolist() == (1 - y).tolist()
    assert found.preprocessing.task == "labelling"
    both = class_counts(spec_of(tmp_path, data, {"t.npz": given}, rest=task + EACH), found)
    assert [(one["class"], one["samples"]) for one in both] == [("1", 4), ("0", 4)]


def test_numbers_beside_words_are_the_words_that_are_numbers(tmp_path: Path) -> None:
    """Of classes none of which is a number they are the numbers of the classes."""
    x = np.zeros((6, 2, 1))
    for words, numbers, expected in (
        (["1", "2", "x", "2", "1", "x"], [1, 2, 2, 1, 1, 2], [0, 1, 1, 0, 0, 1]),
        (["a", "b", "c", "b", "a", "c"], [1, 2, 2, 1, 1, 2], [1, 2, 2, 1, 1, 2]),
    ):
        files = {"t.npz": {"x": x, "y": np.array(words)}, "v.npz": {"x": x, "y": np.array(numbers)}}
        found = prepared(tmp_path, "{train: t.npz, validation: v.npz}", files, rest=REST)
        assert found.parts["validation"].samples.target("y").tolist() == expected
    wrong = {**files, "t.npz": {"x": x, "y": np.array(["1", "2", "x"] * 2)}}
    wrong["v.npz"] = {"x": x, "y": np.array([1, 2, 0] * 2)}
    with pytest.raises(DataError, match="holds the label 0, which is no class"):
        prepared(tmp_path, "{train: t.npz, validation: v.npz}", wrong, rest=REST)


@pytest.mark.parametrize(
    "names", ["[rest, '90', '180']", "['10', '20', '30']", "[none, '1', '2']", "['0.0', '1.0', '2.0']"]
)
def test_numbers_that_the_job_file_names_are_those_of_the_classes(tmp_path: Path, names: str) -> None:
    """Whatever the names look like."""
    for y in (np.array(NUMBERS), np.array(NUMBERS, np.float32)):
        numbers, known = learned(tmp_path, y, names)
        assert numbers == NUMBERS and len(known.names) == 3


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["0", "1", "n"], ""),
        (["F", "1", "T"], ""),
        (["0", "1", "no", "yes"], ", classes: ['0', '1', 'no', 'yes']"),
    ],
)
def test_a_word_that_may_be_yes_or_no_is_a_class_beside_numbers(
    tmp_path: Path, labels: list[str], classes: str
) -> None:
    columns = {"v": np.arange(8.0), "s": list("abcdefgh"), "k": (labels * 4)[:8]}
    data = f"{{train: t.csv, sequence: {{by: s}}, features: v, target: k{classes}}}"
    found = prepared(tmp_path, data, {"t.csv": csv(columns)}, rest=REST.replace("units: 3", "units: 4"))
    assert set(found.preprocessing.classes["y"].names) == set(labels)


def test_names_that_look_like_huge_numbers_are_names(tmp_path: Path, capsys: Any) -> None:
    names = ["3e1234567", "77abcdef9", "1" * 31 + "2", "1" * 31 + "3"]
    columns = {"g": np.repeat(names, 10), "v": np.arange(40.0)}
    data = "{train: t.csv, group: g, features: v, target: v, window: {length: 3}}"
    rest = "model: {layers: [LSTM: {units: 2}, Dense: {units: 1}]}\ntraining: {loss: mse}\n"
    assert len(prepared(tmp_path, data, {"t.csv": csv(columns)}, rest=rest).train.samples) == 4 * 7
    assert "as they are written" not in capsys.readouterr().out


def test_a_number_that_is_written_in_two_ways_is_said_to_be_two_classes(tmp_path: Path, capsys: Any) -> None:
    columns = {"v": np.arange(6.0), "s": list("abcdef"), "k": ["1", "1.0", "x", "2", "x", "1"]}
    data = "{train: t.csv, sequence: {by: s}, features: v, target: k}"
    rest = REST.replace("units: 3", "units: 4")
    prepared(tmp_path, data, {"t.csv": csv(columns)}, rest=rest)
    assert "t.csv: column k: '1' and '1.0' are two classes, as they are written." in capsys.readouterr().out


def test_missing_labels_are_left_out_before_they_are_looked_up(tmp_path: Path) -> None:
    y = np.array([30, np.nan, 10, 20, 20])
    given = {"x": np.zeros((5, 2, 1)), "y": y}
    data = "{train: t.npz, classes: [10, 20, 30], missing: drop}"
    assert prepared(tmp_path, data, {"t.npz": given}, rest=REST).train.samples.target("y").tolist() == [
        2,
        0,
        1,
        1,
    ]


def test_multilabel_rows(tmp_path: Path) -> None:
    rest = (
        "task: multilabel\nmodel: {layers: [LSTM: {units: 2}, Dense: {units: 3, activation: sigmoid}]}\n"
        "training: {loss: binary_crossentropy}\n"
    )
    y = np.array([[1, 0, 1], [0, 0, 0]])
    given = {"x": np.zeros((2, 2, 1)), "y": y}
    found = prepared(tmp_path, "{train: t.npz, classes: [wet, cold, dark]}", {"t.npz": given}, rest=rest)
    assert found.train.samples.target("y").tolist() == y.tolist()
    columns = {"v": [1.0, 2.0], "s": ["a", "b"], "wet": [1, 0], "cold": [0, 0], "dark": [1, 0]}
    data = "{train: t.csv, sequence: {by: s}, features: v, target: [wet, cold, dark]}"
    found = prepared(tmp_path, data, {"t.csv": csv(columns)}, rest=rest)
    assert found.train.samples.target("y").tolist() == y.tolist()
    assert found.preprocessing.target_names == ("wet", "cold", "dark")


def test_a_label_that_no_sample_of_a_part_has_is_said(tmp_path: Path, capsys: Any) -> None:
    y = np.array([[0, 1], [0, 0], [0, 1], [0, 0], [1, 1], [1, 1]])
    rest = "task: multilabel\nmodel: {layers: [LSTM: {units: 2}, Dense: {units: 2, activation: sigmoid}]}\n"
    rest += "training: {loss: binary_crossentropy}\n"
    data = "{train: t.npz, classes: [rain, wind], split: {method: chronological, validation: 0.34}}"
    prepared(tmp_path, data, {"t.npz": {"x": np.zeros((6, 2, 1)), "y": y}}, rest=rest)
    train, validation = capsys.readouterr().out.splitlines()
    assert train.startswith(
        "t.npz: array y: in the train part no sample has the label rain: the model cannot learn it."
    )
    assert (
        "in the validation part every sample has the labels rain, wind: no figure of that part" in validation
    )


@pytest.mark.parametrize("loss", ["binary_crossentropy", "hinge"])
@pytest.mark.parametrize("shape", [(6,), (3, 4)])
def test_two_columns_of_one_hot_rows_are_one_unit_of_the_second_class(
    tmp_path: Path, loss: str, shape: tuple[int, ...]
) -> None:
    labels = np.random.default_rng(0).integers(0, 2, shape)
    task = "labelling" if len(shape) > 1 else "classification"
    rest = f"task: {task}\nmodel: {{layers: [Dense: {{units: 1}}]}}\ntraining: {{loss: {loss}}}\n"
    given = {"x": np.zeros((len(labels), 4, 1)), "y": np.eye(2)[labels]}
    found = prepared(tmp_path, "{train: t.npz}", {"t.npz": given}, rest=rest)
    output = Output(task, (None, *shape[1:], 1), loss)
    part, named = found.train, found.preprocessing.classes
    y = shaped(part.samples, {"y": output}, part.assembled.raw, named).target("y")
    np.testing.assert_array_equal(y, labels[..., None])


def test_two_labels_that_may_both_be_there_are_no_classes_of_one_unit(tmp_path: Path) -> None:
    given = {"x": np.zeros((3, 4, 1)), "y": np.array([[1, 1], [0, 1], [0, 0]])}
    rest = "model: {layers: [Dense: {units: 1}]}\ntraining: {loss: binary_crossentropy}\n"
    part = prepared(tmp_path, "{train: t.npz}", {"t.npz": given}, rest=rest).train
    with pytest.raises(
        DataError,
        match="for 2 labels of a sample, of which several may be there, task: multilabel and units: 2",
    ):
        shaped(
            part.samples,
            {"y": Output("classification", (None, 1), "binary_crossentropy")},
            part.assembled.raw,
            {},
        )


def test_check_counts_the_samples_that_have_each_label(tmp_path: Path) -> None:
    y = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 1, 0]])
    rest = (
        "task: multilabel\nmodel: {layers: [Dense: {units: 3, activation: sigmoid}]}\ntraining: {loss: bce}\n"
    )
    for more, names in (("", "012"), (", classes: [a, b, c]", "abc")):
        files = {"t.npz": {"x": np.zeros((4, 2, 1)), "y": y}}
        spec = spec_of(tmp_path, f"{{train: t.npz{more}}}", files, rest=rest)
        found = class_counts(spec, prepare(spec))
        assert [(one["class"], one["samples"]) for one in found] == list(
            zip(names, y.sum(axis=0), strict=True)
        )


def test_check_counts_all_of_many_classes(tmp_path: Path) -> None:
    y = np.repeat(np.arange(25), 2)
    files = {"t.npz": {"x": np.zeros((50, 2, 1)), "y": y}}
    spec = spec_of(tmp_path, "{train: t.npz}", files, rest=REST.replace("units: 3", "units: 25"))
    found = class_counts(spec, prepare(spec))
    assert [(one["class"], one["samples"]) for one in found] == [(str(number), 2) for number in range(25)]
    assert _classes(found).endswith("19 (2) and 5 more")
