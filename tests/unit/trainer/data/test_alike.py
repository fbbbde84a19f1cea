"""What looks alike and is not, and what is so narrow that it looks constant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gpujobs.trainer.failures import DataError

from .making import csv, prepared

CLASSES = (
    "model: {layers: [LSTM: {units: 2}, Dense: {units: 2, activation: softmax}]}\n"
    "training: {loss: sparse_categorical_crossentropy}\n"
)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["x", "x "], "'x' and 'x ' are two series, as they are written."),
        (["x", "X"], "'X' and 'x' are two series, as they are written."),
        (["gr\u00fcn", "gru\u0308n"], r"'gru\u0308n' and 'gr\xfcn' are two series, as they are written."),
        (["x", "y"], None),
    ],
)
def test_groups_that_look_alike_are_said(
    tmp_path: Path, capsys: Any, names: list[str], said: str | None
) -> None:
    table = csv({"g": [names[0]] * 6 + [names[1]] * 6, "a": range(12)})
    prepared(tmp_path, "{train: t.csv, target: a, group: g, window: {length: 3}}", {"t.csv": table})
    lines = [line for line in capsys.readouterr().out.splitlines() if "as they are written" in line]
    assert lines == ([] if said is None else [f"t.csv: column g: {said}"])


def test_classes_whose_accents_are_encoded_otherwise_are_said(tmp_path: Path, capsys: Any) -> None:
    table = csv({"c": ["gr\u00fcn", "gru\u0308n"] * 6, "a": range(12)})
    data = "{train: t.csv, target: c, window: {length: 3, horizon: 0}}"
    prepared(tmp_path, data, {"t.csv": table}, rest=CLASSES)
    assert r"column c: 'gru\u0308n' and 'gr\xfcn' are two classes" in capsys.readouterr().out


def test_the_only_class_is_called_by_its_name(tmp_path: Path) -> None:
    table = csv({"c": ["rot"] * 12, "a": range(12)})
    data = "{train: t.csv, target: c, window: {length: 3, horizon: 0}}"
    with pytest.raises(
        DataError, match=r"column c: the training part has one class only, 'rot'; expected several"
    ):
        prepared(tmp_path, data, {"t.csv": table}, rest=CLASSES)
