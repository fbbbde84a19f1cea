"""What is wrong with the data of a job is said in one go: cells, values that are missing, times, and other files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gpujobs.protocol.spec import AttemptSpec
from gpujobs.trainer.data import prepare
from gpujobs.trainer.data.fitting.targets import Output, shaped
from gpujobs.trainer.failures import DataError

from .making import csv, spec_of

WINDOWS = "{train: t.csv, time: t, target: v, window: {length: 3, horizon: 2}%s}"
ROWS = ["t,a,b,v", *(f"2024-01-{day:02d},{day},{2 * day},{day}" for day in range(1, 29))]


def with_rows(**changed: str) -> str:
    """`r5=...`: the row of the file with this number, counted from 1, is another."""
    rows = list(ROWS)
    for number, row in changed.items():
        rows[int(number[1:]) - 1] = row
    return "\n".join(rows) + "\n"


def problems(root: Path, data: str, files: Mapping[str, Any], rest: str = "") -> list[str]:
    with pytest.raises(DataError) as caught:
        prepare(spec_of(root, data, files, rest=rest))
    return list(caught.value.problems)


def test_cells_missing_values_and_times_of_a_table_are_named_together(tmp_path: Path) -> None:
    content = with_rows(
        r6="2024-01-05,x,10,5", r9="2024-01-08,8,,8", r11="2024-01-10,10,inf,10", r13="2024-01-99,12,24,12"
    )
    found = problems(tmp_path, WINDOWS % "", {"t.csv": content})
    begins = [
        "t.csv: row 6: column a: holds 'x'; expected a number",
        "t.csv: row 13: column t: holds '2024-01-99'; expected a time",
        "t.csv: row 9: column b: holds no value; expected a number, or say data.missing: drop or fill",
        "t.csv: row 11: column b: holds an infinite value; expected a finite number",
    ]
    assert [one[: len(begin)] for one, begin in zip(found, begins, strict=True)] == begins


def test_where_values_may_be_missing_only_the_others_are_named(tmp_path: Path) -> None:
    content = with_rows(r6="2024-01-05,x,10,5", r9="2024-01-08,8,,8")
    (one,) = problems(tmp_path, WINDOWS % ", missing: drop", {"t.csv": content})
    assert one.startswith("t.csv: row 6: column a: holds 'x'")


def test_doubled_times_and_missing_values_are_named_together(tmp_path: Path) -> None:
    content = "t,v\n" + "".join(f"2024-01-0{1 + day // 3},{day or ''}\n" for day in range(12))
    found = problems(tmp_path, WINDOWS % "", {"t.csv": content})
    assert len(found) == 2
    assert "have the time of the row before" in found[0] and "holds 1 NaN" in found[1]


def test_the_files_of_validation_and_test_are_looked_at_too(tmp_path: Path) -> None:
    bad, lacking = with_rows(r6="2024-01-05,x,10,5"), with_rows(r9="2024-01-08,8,,8")
    files = {"t.csv": bad, "u.csv": lacking, "w.csv": bad}
    found = problems(tmp_path, WINDOWS % ", validation: u.csv, test: w.csv", files)
    assert [one[:5] for one in found] == ["t.csv", "w.csv"], "cells are seen as the file is read"
    files["t.csv"] = lacking
    found = problems(tmp_path, WINDOWS % ", validation: u.csv, test: w.csv", files)
    assert [one[:5] for one in found] == ["t.csv", "u.csv", "w.csv"]


def refused(spec: AttemptSpec, output: Output) -> str:
    found = prepare(spec)
    with pytest.raises(DataError) as caught:
        part = found.train
        shaped(part.samples, {"y": output}, part.assembled.raw, {}, spec.jobfile["data"].get("window"))
    return str(caught.value)


def test_one_number_for_twelve_steps_names_the_window_of_the_last_one(tmp_path: Path) -> None:
    data = (WINDOWS % "").replace("horizon: 2", "horizon: 12")
    spec = spec_of(tmp_path, data, {"t.csv": with_rows()})
    said = refused(spec, Output("forecasting", (None, 1), "mse"))
    assert (
        "make the last layer's units 12; or, for the last of the 12 steps alone, say gap: 11, horizon: 1"
        in said
    )
    data = data.replace("horizon: 12", "horizon: 4, gap: 5")
    assert "say gap: 8, horizon: 1" in refused(
        spec_of(tmp_path, data, {"t.csv": with_rows()}), Output("forecasting", (None, 1), "mse")
    )
    assert "gap" not in refused(spec, Output("forecasting", (None, 5), "mse"))


def test_labels_of_steps_without_their_task_get_the_advice_to_name_it(tmp_path: Path) -> None:
    rest = "model: {layers: [LSTM: {units: 2}, Dense: {units: 3}]}\ntraining: {loss: sparse_categorical_crossentropy}\n"
    y: Any = np.arange(24).reshape(6, 4) % 3
    spec = spec_of(tmp_path, "{train: t.npz}", {"t.npz": {"x": np.ones((6, 4, 2)), "y": y}}, rest=rest)
    said = refused(spec, Output("classification", (None, 3), "sparse_categorical_crossentropy"))
    assert said.endswith("say task: labelling, and return_sequences: true in the last recurrent layer")


@pytest.mark.parametrize("threads", [1, 3])
def test_a_csv_file_is_read_by_as_many_threads_as_the_job_has(tmp_path: Path, threads: int) -> None:
    from dataclasses import replace

    before = pa.cpu_count()
    try:
        prepare(replace(spec_of(tmp_path, WINDOWS % "", {"t.csv": with_rows()}), cpu_threads=threads))
        assert pa.cpu_count() == threads
    finally:
        pa.set_cpu_count(before)


TWO = "{train: t.csv, time: t, target: v, window: {length: 2}}"


def test_names_that_stand_in_the_file_again_are_called_so(tmp_path: Path) -> None:
    text = csv({"t": range(9), "v": range(9)})
    first = problems(tmp_path, TWO, {"t.csv": text + text})[0]
    assert first.startswith("t.csv: row 11: column ")
    assert "the names of the columns stand there once more" in first


def test_a_quote_that_is_not_closed_is_one_line(tmp_path: Path) -> None:
    lines = csv({"t": range(9), "v": range(9)}).replace("\n3,3", '\n3,"3')
    (only,) = problems(tmp_path, TWO, {"t.csv": lines})
    assert only.startswith("t.csv: row 5: column v: holds ") and len(only.splitlines()) == 1
    assert only.endswith("a quote that is opened there is not closed where it should be")
