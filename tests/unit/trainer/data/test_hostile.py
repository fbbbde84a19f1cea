"""Data files that cannot be used: each is refused, saying which file, which array or column, what was found and
what was expected. What the job file alone shows is refused earlier: see tests/hostile."""

# ruff: noqa: E501 - a case on each line

from __future__ import annotations

import io
import re
import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from gpujobs.trainer.data import prepare
from gpujobs.trainer.data.fitting.targets import Output, shaped
from gpujobs.trainer.failures import DataError

from .making import csv, spec_of

MSE = "model: {layers: [LSTM: {units: 2}, Dense: {units: 1}]}\ntraining: {loss: mse}\n"
CLASSES = "model: {layers: [LSTM: {units: 2}, Dense: {units: 3}]}\ntraining: {loss: sparse_categorical_crossentropy}\n"
STEPS = CLASSES.replace("units: 2", "units: 2, return_sequences: true", 1)
MULTILABEL = (
    "task: multilabel\nmodel: {layers: [LSTM: {units: 2}, Dense: {units: 2, activation: sigmoid}]}\n"
    "training: {loss: binary_crossentropy}\n"
)
IDS = (
    "model: {layers: [Embedding: {input_dim: 9, output_dim: 2, mask_zero: true}, LSTM: {units: 2}, "
    "Dense: {units: 1}]}\ntraining: {loss: mse}\n"
)
TWO_EMBEDDINGS = (
    "model: {branches: {a: {inputs: x, layers: [Embedding: {input_dim: %s, output_dim: 2}, LSTM: {units: 2}]}, "
    "b: {inputs: x, layers: [Embedding: {input_dim: %s, output_dim: 2}, LSTM: {units: 2}]}, "
    "end: {inputs: [a, b], layers: [Dense: {units: 1}]}}}\ntraining: {loss: mse}\n"
)
MASKED = "model: {layers: [Masking: {mask_value: 0.0}, LSTM: {units: 2}, Dense: {units: 1}]}\ntraining: {loss: mse}\n"
X, Y = np.ones((6, 4, 2)), np.arange(6) % 3
NUL = "row %d has a NUL byte (0x00); expected a csv file, which is text: a program that was cut off may have left it, write the file again"
WINDOWS = "{train: t.csv, time: t, target: v, window: {length: 3, horizon: 2}%s}"
SERIES: dict[str, Any] = {"t": np.arange(8), "v": np.arange(8.0), "w": np.arange(8.0)}


@dataclass(frozen=True)
class Case:
    data: str
    content: Any
    expected: str
    """The message, without the `t.SUFFIX: ` that it begins with; a regular expression where it starts with ^."""

    rest: str = MSE
    more: dict[str, Any] = field(default_factory=dict)


def header(shape: str, descr: str = "<f8") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def npz(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def npy(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=True)
    return file.getvalue()


def twice() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("x.npy", npy(X))
        archive.writestr("x.npy", npy(X))
    return file.getvalue()


def parquet(columns: Any) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(columns), file)
    return file.getvalue()


def replaced(values: Any, at: Any, value: Any) -> Any:
    values = np.array(values, None if isinstance(value, str) else np.float64)
    values[at] = value
    return values


def damaged(content: bytes, at: int) -> bytes:
    at %= len(content)
    return content[:at] + bytes(255 - byte for byte in content[at : at + 40]) + content[at + 40 :]


ARCHIVES = {
    "a text file for npz": Case("{train: t.npz}", "hello", "begins with b'hello'; expected an npz file"),
    "an empty npz": Case("{train: t.npz}", b"", "is empty; expected an npz file"),
    "an npz cut short": Case("{train: t.npz}", npz(x=npy(X), y=npy(Y))[:-200], "is cut short: its end is missing; expected the whole of an npz file"),
    "an npz with damaged values": Case(
        "{train: t.npz}", damaged(npz(x=npy(np.random.default_rng(0).random((6, 40, 2))), y=npy(Y)), 900), "^is not a whole npz file \\(Bad CRC-32 for file 'x.npy'\\); expected one that numpy.savez has written"),
    "an npz without arrays": Case("{train: t.npz}", npz(), "has no array x; expected x, y, and it holds none of those"),
    "two arrays of one name": Case("{train: t.npz}", twice(), "holds 2 arrays named x; expected one of each name"),
    "an array that is not there": Case("{train: t.npz}", {"x": X, "labels": Y}, "has no array y; expected x, y, and it holds x"),
    "a header that claims 10^12 floats": Case(
        "{train: t.npz}", npz(x=header("(1000000000000,)") + bytes(80), y=npy(Y)),
        "^array x: its header claims shape \\(1000000000000,\\) of float64, 8000000000000 bytes; expected the 80 bytes"),
    "an npy that claims 10^12 floats": Case(
        "{train: t.npy, window: {length: 3}}", header("(1000000000000,)") + bytes(80),
        "its header claims shape (1000000000000,) of float64, 8000000000000 bytes; expected the 80 bytes that the file has"),
    "a header that is no header": Case(
        "{train: t.npz}", npz(x=b"\x93NUMPY\x01\x00\x10\x00{'descr': 'x', )\n", y=npy(Y)),
        "^array x: has a broken header \\(.*\\); expected one that numpy has written"),
    "a dtype that holds nothing": Case(
        "{train: t.npz}", npz(x=header("(1000000000000,)", "<U0"), y=npy(Y)), "array x: has dtype <U0; expected numbers or text"),
    "pickled objects": Case(
        "{train: t.npz}", npz(x=npy(np.array([{"a": 1}, None], object)), y=npy(Y)),
        "array x: holds Python objects, which are never unpickled; expected numbers or text: convert it, for example with "
        "numpy.array(values, dtype=numpy.float32)"),
    "a pickled npy": Case(
        "{train: t.npy, window: {length: 3}}", np.array([[1], None], object), "^holds Python objects, which are never unpickled"),
    "complex numbers": Case("{train: t.npz}", {"x": X.astype(complex), "y": Y}, "array x: has dtype complex128; expected numbers or text"),
    "text for inputs": Case("{train: t.npz}", {"x": X.astype(str), "y": Y}, "array x: has dtype <U32; expected numbers"),
    "bytes that are no text": Case(
        "{train: t.npz}", {"x": X, "y": np.array([b"\xff\xfe"] * 6)}, "^array y: holds bytes that are not UTF-8 text", CLASSES),
}  # fmt: skip

SHAPES = {
    "wrong rank": Case("{train: t.npz}", {"x": X[0, 0], "y": Y}, "array x: has shape (2,); expected (samples, timesteps, features), none of them 0"),
    "a scalar": Case("{train: t.npz}", {"x": np.array(1.0), "y": Y}, "array x: has shape (); expected (samples, timesteps, features), none of them 0"),
    "no samples": Case("{train: t.npz}", {"x": X[:0], "y": Y[:0]}, "array x: has shape (0, 4, 2); expected (samples, timesteps, features), none of them 0"),
    "x and y of different length": Case("{train: t.npz}", {"x": X, "y": Y[:5]}, "array y: has shape (5,); expected 6 samples, as x has: (6, 4, 2)"),
    "y a scalar": Case("{train: t.npz}", {"x": X, "y": np.array(1.0)}, "array y: has shape (); expected (6,)"),
    "two inputs of different length": Case(
        "{train: t.npz, x: {a: a, b: b}}", {"a": X, "b": X[:4], "y": Y}, "array b: has shape (4, 4, 2); expected 6 samples, as a has: (6, 4, 2)",
        "model:\n  branches: {one: {inputs: [a, b], layers: [LSTM: {units: 2}, Dense: {units: 1}]}}\ntraining: {loss: mse}\n"),
    "a series with three dimensions": Case("{train: t.npz, window: {length: 3}}", {"x": X}, "array x: has shape (6, 4, 2); expected (steps, features), none of them 0"),
    "times as y": Case("{train: t.npz}", {"x": X, "y": np.arange(6).astype("datetime64[D]")}, "array y: has dtype datetime64[D]; expected numbers or text"),
    "as many numbers as another output has": Case(
        "{train: t.npz}", {"x": X, "y": np.ones((6, 3))}, "array y: has 3 numbers for each sample, and the model's output 1 number; expected as many: make the last layer's units 3"),
    "several steps ahead for one unit": Case(
        "{train: t.npy, window: {length: 2, horizon: 3}}", np.arange(9.0), "array x: has 3 numbers (3 x 1) for each sample, and the model's output 1 number; expected as many: make the last layer's units 3"),
    "lengths that do not add up": Case(
        "{train: t.npz, lengths: n}", {"x": np.ones((10, 2)), "y": Y[:3], "n": np.array([3, 3, 3])},
        "array x: has shape (10, 2); expected all sequences in one, 9 steps as n says, or padded ones, 3 samples of at least 3 steps"),
    "a length of 0": Case("{train: t.npz, lengths: n}", {"x": np.ones((3, 2)), "y": Y[:2], "n": np.array([3, 0])}, "array n: holds 0; expected integers of at least 1"),
    "lengths that are no integers": Case(
        "{train: t.npz, lengths: n}", {"x": X, "y": Y, "n": np.ones(6)}, "array n: has shape (6,) of float64; expected an integer for each sequence"),
    "lengths that are one number": Case(
        "{train: t.npz, lengths: n}", {"x": X, "y": Y, "n": np.array(3)}, "array n: has shape () of int64; expected an integer for each sequence"),
    "steps that look like padding": Case(
        "{train: t.npz, lengths: n}", {"x": np.array([[1.0], [0], [2]]), "y": np.ones(2), "n": np.array([2, 1])},
        "array x: 1 steps are 0 in every feature, which stands for padding and would be skipped; expected none: choose another mask_value in Masking", MASKED),
    "an id that stands for padding": Case(
        "{train: t.npz, lengths: n}", {"x": np.array([1, 0, 2]), "y": np.ones(2), "n": np.array([2, 1])},
        "array x: 1 steps are 0 in every feature, which stands for padding and would be skipped; expected none: number the ids from 1", IDS),
    "negative weights": Case(
        "{train: t.npz, sample_weight: w}", {"x": X, "y": Y, "w": np.arange(6.0) - 1}, "array w: holds the weight -1; expected numbers of at least 0, and some above"),
    "no weight at all": Case(
        "{train: t.npz, sample_weight: w}", {"x": X, "y": Y, "w": np.zeros(6)}, "array w: holds zeros only; expected numbers of at least 0, and some above"),
    "weights of more dimensions": Case("{train: t.npz, sample_weight: w}", {"x": X, "y": Y, "w": X}, "array w: has shape (6, 4, 2); expected (6,)"),
    "groups that are no names": Case(
        "{train: t.npz, group: g}", {"x": X, "y": Y, "g": np.ones(6)}, "array g: has dtype float64; expected integers or text"),
    "series in several places": Case(
        "{train: t.npz, group: g, window: {length: 1}}", {"x": X[:, 0], "y": Y, "g": np.array([1, 1, 2, 2, 1, 3])},
        "array g: the rows of 1 of 3 series stand in several places; expected those of a series together: sort the arrays by it"),
    "times out of order in arrays": Case(
        "{train: t.npz, time: t, window: {length: 1}}", {"x": X[:, 0], "y": Y, "t": np.array([1, 2, 3, 3, 5, 4])},
        "array t: its times are out of order: row 6 has 4, row 5 before it 5; expected each later than the one before: sort the file, "
        "and name the column that tells series apart in data.group"),
}  # fmt: skip

VALUES = {
    "NaN and infinities": Case(
        "{train: t.npz}", {"x": replaced(X, (0, 1), [np.nan, -np.inf]), "y": Y}, "array x: holds 1 NaN and 1 infinite values (row 1); expected finite numbers: remove or replace them"),
    "NaN": Case(
        "{train: t.npz}", {"x": replaced(X, (0, 1), np.nan), "y": Y},
        "array x: holds 2 NaN and 0 infinite values (row 1); expected finite numbers: remove or replace them, or say data.missing: drop or fill"),
    "NaN as target": Case(
        "{train: t.npz}", {"x": X, "y": replaced(Y, 2, np.nan)},
        "array y: holds 1 NaN and 0 infinite values (row 3); expected finite numbers: remove or replace them, or say data.missing: drop or fill"),
    "infinities where NaN are dropped": Case(
        "{train: t.npz, missing: drop}", {"x": replaced(X, (0, 1), np.inf), "y": Y}, "array x: holds 2 infinite values (row 1); expected finite numbers: remove or replace them"),
    "numbers too large for float32": Case(
        "{train: t.npz}", {"x": X * 1e300, "y": Y}, "array x: holds 0 NaN and 48 infinite values (rows 1, 2, 3, 4, 5 and 1 more); expected finite numbers: remove or replace them"),
    "one class only": Case("{train: t.npz}", {"x": X, "y": Y * 0 + 2}, "array y: the training part has one class only, 2; expected several: give more data, or another data.split", CLASSES),
    "one class only, one-hot": Case(
        "{train: t.npz}", {"x": X, "y": np.eye(3)[Y * 0 + 1]}, "array y: the training part has one class only, 1; expected several: give more data, or another data.split", CLASSES),
    "labels outside the classes": Case(
        "{train: t.npz}", {"x": X, "y": np.arange(6)},
        "array y: holds labels 0 to 5, of which 3 are no class; expected integers from 0 to 2, as the last layer has 3 units (data.classes can name others)", CLASSES),
    "labels that are no whole numbers": Case(
        "{train: t.npz}", {"x": X, "y": np.arange(6) / 4},
        "array y: holds labels 0 to 1.25, of which 4 are no class; expected integers from 0 to 2, as the last layer has 3 units (data.classes can name others)", CLASSES),
    "a label that is misspelt": Case(
        "{train: t.npz, classes: [red, green, blue]}", {"x": X, "y": np.array(["red", "green", "bleu"] * 2)},
        "array y: holds the label 'bleu', which is no class; did you mean blue? (expected any of red, green, blue)", CLASSES),
    "a label that is not among those given": Case(
        "{train: t.npz, classes: [10, 20, 30]}", {"x": X, "y": np.array([10, 20, 99] * 2)}, "array y: holds the label 99, which is no class (expected any of 10, 20, 30)", CLASSES),
    "more words than units": Case(
        "{train: t.npz}", {"x": X, "y": np.array(list("abcdab"))}, "array y: has 4 classes (a, b, c, d), and the last layer 3 units; expected units: 4", CLASSES),
    "words for a regression": Case(
        "{train: t.npz}", {"x": X, "y": np.array(list("abcabc"))},
        "array y: holds text, such as 'a'; expected numbers, as the task is regression: classes need a crossentropy loss"),
    "a label for each step, and none returned": Case(
        "{train: t.npz}", {"x": X, "y": np.ones((6, 4), int) * (np.arange(4) % 2)},
        "array y: has labels of shape ('samples', 4), and the model's output is ('samples', 3); expected a class for each sample: give the last recurrent layer return_sequences: true",
        "task: labelling\n" + CLASSES),
    "a label for each sample, and steps returned": Case(
        "{train: t.npz}", {"x": X, "y": Y},
        "array y: has labels of shape ('samples',), and the model's output is ('samples', 4, 3); expected a class for each step: give the last recurrent layer return_sequences: false",
        STEPS),
    "several labels of a sample, and a loss of classes": Case(
        "{train: t.npz}", {"x": X, "y": np.array([[1, 1, 0], [0, 0, 1]] * 3)},
        "array y: has labels of shape ('samples', 3), and the model's output is ('samples', 3); expected a class for each sample, with one 1 in each row; several to a sample are task: multilabel",
        CLASSES.replace("sparse_", "")),
    "multi-label that is no yes or no": Case(
        "{train: t.npz}", {"x": X, "y": np.arange(12).reshape(6, 2)}, "array y: holds 0 to 11; expected 0 or 1 for each label, as the task is multilabel", MULTILABEL),
    "ids that the embedding has not": Case(
        "{train: t.npz}", {"x": np.arange(12).reshape(6, 2), "y": Y}, "array x: holds ids 0 to 11; expected integers from 0 to 8, as Embedding has input_dim 9", IDS),
    "the first id that the embedding has not": Case(
        "{train: t.npz}", {"x": np.minimum(np.arange(12), 9).reshape(6, 2), "y": Y}, "array x: holds ids 0 to 9; expected integers from 0 to 8, as Embedding has input_dim 9", IDS),
    "ids that one of two embeddings has not": Case(
        "{train: t.npz}", {"x": np.arange(12).reshape(6, 2), "y": Y}, "array x: holds ids 0 to 11; expected integers from 0 to 8, as Embedding has input_dim 9", TWO_EMBEDDINGS % (9, 12)),
    "ids that the other of two embeddings has not": Case(
        "{train: t.npz}", {"x": np.arange(12).reshape(6, 2), "y": Y}, "array x: holds ids 0 to 11; expected integers from 0 to 8, as Embedding has input_dim 9", TWO_EMBEDDINGS % (12, 9)),
    "ids that are no whole numbers": Case(
        "{train: t.npz}", {"x": np.arange(12).reshape(6, 2) / 2, "y": Y}, "array x: holds 6 numbers that are not whole; expected integers from 0 to 8, as Embedding has input_dim 9", IDS),
    "an empty validation part": Case(
        "{train: t.npz, split: {method: random, validation: 0.05}}", {"x": X, "y": Y},
        "the validation part is empty (0.05 of 6 samples); expected at least one sample: give more data, or another data.split"),
    "an empty validation part of windows": Case(
        WINDOWS % ", split: {method: chronological, validation: 0.1}", csv(SERIES),
        "the validation part is empty (0.1 of 3 samples); expected at least one sample: give more data, or another data.split", MSE.replace("units: 1", "units: 2")),
    "a class split by class that has no class for each sample": Case(
        "{train: t.npz, split: {method: stratified, test: 0.5}}", {"x": X, "y": np.ones((6, 4), int) * (np.arange(4) % 2)},
        "array y: has shape (6, 4), and data.split.method is stratified; expected one class for each sample: use random", CLASSES),
    "a validation file of another width": Case(
        "{train: t.npz, validation: v.npz}", {"x": X, "y": Y}, "v.npz: array x: has shape (4, 3) for each sample; expected shape (4, 2), as the training data has", MSE, {"v.npz": {"x": np.ones((6, 4, 3)), "y": Y}}),
}  # fmt: skip

TABLES = {
    "windows longer than the series": Case(
        WINDOWS % "", csv({name: one[:4] for name, one in SERIES.items()}), "the longest series without a gap has 4 rows; expected at least 5, as data.window has length 3, horizon 2"),
    "windows longer than what gaps leave": Case(
        WINDOWS % ", missing: drop", csv(SERIES | {"w": replaced(SERIES["w"], 4, np.nan)}),
        "the longest series without a gap has 4 rows; expected at least 5, as data.window has length 3, horizon 2"),
    "a column that is not there": Case(
        "{train: t.csv, target: vv, window: {length: 3}}", csv(SERIES), "has no column vv (did you mean v?); it has t, v, w"),
    "a feature that is not there": Case(
        "{train: t.csv, target: v, features: [v, humidity], window: {length: 3}}", csv(SERIES), "has no column humidity; it has t, v, w"),
    "columns separated by another sign": Case(WINDOWS % "", csv(SERIES).replace(",", "~"), "has no column v, t; it has t~v~w"),
    "columns separated by another sign than the job file says": Case(
        WINDOWS % ", csv: {separator: tab}", csv(SERIES).replace(",", ";"), 'has no column v, t; it has t;v;w: say data.csv: {separator: ";"}'),
    "two columns of one name": Case(WINDOWS % "", csv(SERIES).replace("t,v,w", "t,v,v"), "columns 2 and 3 are both named v; expected one of each name: rename them, or say data.csv: {header: first, names: [t, v, v_2]}"),
    "rows of different length": Case(WINDOWS % "", "t,v,w\n1,2,3\n4,5\n", "row 3 has 2 fields; expected 3, as the first row has; it holds '4,5': a comment or a total is told by data.csv.comment, or removed"),
    "text among numbers": Case(
        "{train: t.csv, target: v, features: [v, w], window: {length: 3}}", csv(SERIES).replace("3.0,3.0", "3.0,abc"),
        "row 5: column w: holds 'abc'; expected a number: data.csv: {missing: [\"abc\"]} says that it stands for no value"),
    "a column of text as a feature": Case(
        WINDOWS % "", csv(SERIES | {"w": list("abcdefgh")}), "column w holds text: 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'; expected numbers: name the columns to use in data.features, or write a column of 0 and 1 for each of its values"),
    "a target of text for numbers": Case(
        "{train: t.csv, target: w, window: {length: 3}}", csv(SERIES | {"w": list("abcdefgh")}),
        "column w holds text: 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'; expected numbers, as the task is forecasting: names of classes need a crossentropy loss"),
    "times out of order": Case(
        WINDOWS % "", csv(SERIES | {"t": [0, 1, 2, 2, 4, 5, 7, 6]}),
        "column t: its times are out of order: row 9 has 6, row 8 before it 7; expected each later than the one before: sort the file, "
        "and name the column that tells series apart in data.group"),
    "times that are missing": Case(WINDOWS % "", csv(SERIES | {"t": ["0", "", *"234567"]}), "row 3: column t: holds ''; expected a time, a number as in the rows before"),
    "times that are words": Case(
        WINDOWS % "", csv(SERIES | {"t": [f"{day}/1/2026" for day in range(8)]}), "column t: holds times such as '7/1/2026', in which the day or the month may stand first; say which: data.csv: {dates: \"%d/%m/%Y\"} or {dates: \"%m/%d/%Y\"}"),
    "groups that are missing": Case(
        WINDOWS % ", group: g", csv(SERIES | {"g": ["a", "a", "", "", *"bbbb"]}), "column g: has no value in 2 rows (rows 4, 5); expected one in each"),
    "NaN in columns": Case(
        WINDOWS % "", csv(SERIES | {"w": replaced(SERIES["w"], [1, 2], np.nan)}),
        "column w: holds 2 NaN and 0 infinite values (rows 3, 4); expected finite numbers: remove or replace them, or say data.missing: drop or fill"),
    "an infinity in a column": Case(
        WINDOWS % ", missing: fill", csv(SERIES | {"v": replaced(SERIES["v"], 1, np.inf)}), "column v: holds 1 infinite values (row 3); expected finite numbers: remove or replace them"),
    "a number beyond float32 in a column": Case(
        WINDOWS % "", csv(SERIES | {"w": replaced(SERIES["w"], 1, 1e39)}), "column w: holds 0 NaN and 1 infinite values (row 3); expected finite numbers: remove or replace them"),
    "a number beyond float32 in a parquet file": Case(
        WINDOWS.replace("csv", "parquet") % "", pa.table(SERIES | {"w": replaced(SERIES["w"], 1, -1e39)}),
        "column w: holds 0 NaN and 1 infinite values (row 2); expected finite numbers: remove or replace them"),
    "a class that is missing": Case(
        "{train: t.csv, target: k, window: {length: 3}}", csv(SERIES | {"k": ["a", "b", "", *"abcab"]}), "column k: has no value in 1 rows (row 4); expected one in each", CLASSES),
    "a label that changes within a sequence": Case(
        "{train: t.csv, target: k, features: v, sequence: {by: s}}", csv(SERIES | {"s": list("aabbccdd"), "k": list("xxxyyyzz")}),
        "column k: differs within 1 of 4 sequences; expected one label for each, or say task: labelling", CLASSES),
    "weights below 0 in a column": Case(
        WINDOWS % ", sample_weight: w", csv(SERIES | {"w": SERIES["w"] - 1}), "column w: holds -1 (row 2); expected weights of at least 0"),
    "no column left": Case(
        "{train: t.csv, target: v, task: x, window: {length: 3}}".replace(", task: x", ""), csv({"v": list("aabbabab")}), "has no column left for features; expected some beside v", CLASSES),
    "an empty csv": Case(WINDOWS % "", "", "is empty; expected a csv file"),
    "a csv of an empty line": Case(WINDOWS % "", "\n", "has no rows; expected a row of column names, and rows of values below it"),
    "a csv with column names only": Case(WINDOWS % "", "t,v,w\n", "has no rows; expected some below its column names"),
    "a csv that is not UTF-8": Case(WINDOWS % ", csv: {encoding: utf-8}", b"t,v,w\n\xff\xfe,1,2\n", "row 2 has the byte 0xff, which is no utf-8; expected text in utf-8: name its encoding, as in data.csv: {encoding: latin-1}"),
    "a csv that is no text": Case(WINDOWS % "", b"t,v,w\n\x00,1,2\n", NUL % 2),
    "a csv with a NUL byte in its names": Case(WINDOWS % "", csv(SERIES).replace("w", "w\0"), NUL % 1),
    "a csv with a NUL byte at its end": Case(WINDOWS % "", csv(SERIES) + "\0", NUL % 10),
    "a csv with a NUL byte after a cell with a line end": Case(
        "{train: t.csv, target: k, features: v, window: {length: 3}}", 'v,k\n1,"a\nb"\n2,c\n3,\0\n', NUL % 5, CLASSES),
    "a csv of nothing but NUL bytes": Case(WINDOWS % "", bytes(500), NUL % 1),
    "a csv in UTF-16 with a NUL byte": Case(WINDOWS % "", csv(SERIES).replace("2.0,2.0", "2.0,2.\0").encode("utf-16"), NUL % 4),
    "a NUL byte far behind the beginning of a csv": Case(
        "{train: t.csv, target: k, features: v, window: {length: 3}}", "v,k\n" + "1,a\n2,b\n" * 200_000 + "1,a\0\n", NUL % 400_002, CLASSES),
    "a parquet that is no parquet": Case(WINDOWS.replace("csv", "parquet") % "", csv(SERIES), "begins with b't,v,w\\n0,'; expected a parquet file"),
    "a parquet cut short": Case(WINDOWS.replace("csv", "parquet") % "", parquet(SERIES)[:-50], "is cut short: its end is missing; expected the whole of a parquet file"),
    "a parquet that is damaged": Case(
        WINDOWS.replace("csv", "parquet") % "", damaged(parquet(SERIES), -200), "^cannot be read as parquet \\(.*\\); expected a file that a parquet writer has written"),
    "a parquet with lists in a column": Case(
        "{train: t.parquet, target: v, features: [v, w], window: {length: 3}}", parquet(SERIES | {"w": [[1, 2]] * 8}), "^column w holds list<.*>; expected numbers"),
    "a parquet named csv": Case(WINDOWS % "", parquet(SERIES), "is a parquet file by its content; expected a csv file: name it .parquet"),
    "an npz named parquet": Case(WINDOWS.replace("csv", "parquet") % "", npz(x=npy(X)), "is an npz file by its content; expected a parquet file: name it .npz"),
}  # fmt: skip

CASES = ARCHIVES | SHAPES | VALUES | TABLES


def refusal(root: Path, case: Case) -> str:
    name = re.search(r"train: (t\.\w+)", case.data)
    assert name is not None
    spec = spec_of(root, case.data, {name[1]: case.content, **case.more}, rest=case.rest)
    with pytest.raises(DataError) as caught:
        found = prepare(spec)
        output = Output(*outputs(case.rest))
        for part in found.parts.values():
            shaped(part.samples, {"y": output}, part.assembled.raw, found.preprocessing.classes)
    message = str(caught.value)
    assert message.startswith((f"{name[1]}: ", *(f"{other}: " for other in case.more)))
    return message.removeprefix(f"{name[1]}: ")


def outputs(rest: str) -> tuple[str, tuple[int | None, ...], str]:
    """The task, output and loss of the only output."""
    units = re.findall(r"Dense: \{units: (\d+)", rest)
    shape = (None, 4) if "return_sequences" in rest else (None,)
    loss = re.search(r"loss: (\w+)", rest)
    assert loss is not None
    kind = "labelling" if "labelling" in rest else "multilabel" if "multilabel" in rest else "classification"
    return (kind if "crossentropy" in rest else "regression", (*shape, int(units[-1])), loss[1])


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 40


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_refused(tmp_path: Path, case: Case) -> None:
    message = refusal(tmp_path, case)
    if case.expected.startswith("^"):
        assert re.match(case.expected, message), message
    else:
        assert message == case.expected
    assert all(line.isprintable() and len(line) < 700 for line in message.splitlines())


def mutations(content: bytes, seed: int) -> bytes:
    """The content with a few bytes changed, cut out, doubled or lost at the end."""
    random = np.random.default_rng(seed)
    changed = bytearray(content)
    for _ in range(int(random.integers(1, 5))):
        at, length = int(random.integers(len(changed))), int(random.integers(1, 9))
        match random.integers(4):
            case 0:
                changed[at : at + length] = random.bytes(length)
            case 1:
                del changed[at : at + length]
            case 2:
                changed[at:at] = changed[at : at + length]
            case _:
                del changed[len(changed) - length :]
    return bytes(changed)


FUZZED = {
    "npz": ("{train: t.npz}", npz(x=npy(X), y=npy(Y)), CLASSES),
    "npy": ("{train: t.npy, window: {length: 2}}", npy(np.arange(9.0)), MSE),
    "csv": (WINDOWS.replace("horizon: 2", "horizon: 1") % ", group: g", csv(SERIES | {"g": list("aaaabbbb")}).encode(), MSE),
    "parquet": (WINDOWS.replace("csv", "parquet").replace("horizon: 2", "horizon: 1") % "", parquet(SERIES), MSE),
}  # fmt: skip


@pytest.mark.parametrize("kind", FUZZED)
def test_damaged_files_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    """Nothing but DataError, and no warning of numpy's, comes out of 250 damaged files of each kind."""
    data, content, rest = FUZZED[kind]
    refused = 0
    for seed in range(250):
        spec = spec_of(tmp_path, data, {f"t.{kind}": mutations(content, seed)}, rest=rest)
        try:
            prepare(spec).train.samples.batch(np.arange(1))
        except DataError as error:
            refused += 1
            assert str(error).startswith(f"t.{kind}: ")
    assert refused > 100
