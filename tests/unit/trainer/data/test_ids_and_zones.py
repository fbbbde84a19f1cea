"""What tells series apart, and files of one table whose times are not of one kind. Right values come from pandas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from gpujobs.trainer.failures import DataError

from .making import prepared

FILES = "{train: [a.%s, b.%s], group: file, time: when, target: v, window: {length: 2}}"
GROUPS = "{train: t.csv, group: site, time: when, target: v, window: {length: 2}}"
NUMBERS = "model: {layers: [LSTM: {units: 2}, Dense: {units: 1}]}\ntraining: {loss: mse}\n"
HOURS = pd.date_range("2024-01-01", periods=5, freq="h")


def written(kind: str, times: Any) -> Any:
    frame = pd.DataFrame({"when": times, "v": np.arange(5.0)})
    if kind == "parquet":
        return pa.Table.from_pandas(frame)
    return frame.assign(when=[str(one) for one in times]).to_csv(index=False)


def refused(root: Path, kind: str, first: Any, second: Any) -> str:
    files = {f"a.{kind}": written(kind, first), f"b.{kind}": written(kind, second)}
    with pytest.raises(DataError) as error:
        prepared(root, FILES.replace("%s", kind), files, rest=NUMBERS)
    return str(error.value)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_times_of_one_file_with_a_zone_and_of_another_without(tmp_path: Path, kind: str) -> None:
    zoned = HOURS.tz_localize("Europe/Berlin")
    with_zone, without = "times with a zone", "times without a zone"
    assert refused(tmp_path, kind, HOURS, zoned) == (
        f"b.{kind}: column when: has {with_zone}, and a.{kind} {without}; expected one kind in all files of a table"
    )
    assert f"b.{kind}: column when: has {without}, and a.{kind} {with_zone}" in refused(
        tmp_path, kind, zoned, HOURS
    )


def test_times_that_are_numbers_beside_dates(tmp_path: Path) -> None:
    assert refused(tmp_path, "csv", HOURS, np.arange(5)) == (
        "b.csv: column when: has times that are numbers, and a.csv times without a zone; expected one kind in all "
        "files of a table"
    )


def test_files_of_several_zones_are_instants(tmp_path: Path) -> None:
    berlin, tokyo = (HOURS.tz_localize(zone) for zone in ("Europe/Berlin", "Asia/Tokyo"))
    files = {"a.parquet": written("parquet", berlin), "b.parquet": written("parquet", tokyo)}
    part = prepared(tmp_path, FILES.replace("%s", "parquet"), files, rest=NUMBERS).train
    expected = [*berlin.tz_convert("UTC")[2:], *tokyo.tz_convert("UTC")[2:]]
    found = part.samples.all_of(part.samples.labels["time"])
    assert [pd.Timestamp(one, tz="UTC") for one in found] == expected
    assert part.assembled.raw.zone == "UTC"


@pytest.mark.parametrize(
    "names",
    [
        [10, 9, 100, -1], [2**60 + 1, 2**60, 5], [2.5, 10.0, 9.0], ["b", "a", "10"], ["007", "7b", "10"],
    ],
)  # fmt: skip
def test_series_that_stand_mixed_come_as_pandas_groups_them(tmp_path: Path, names: list[Any]) -> None:
    frame = pd.concat([pd.DataFrame({"site": name, "when": range(4), "v": np.arange(4.0)}) for name in names])
    frame = frame.sort_values("when", kind="stable")
    part = prepared(tmp_path, GROUPS, {"t.csv": frame.to_csv(index=False)}, rest=NUMBERS).train
    found = part.samples.all_of(part.samples.labels["group"])
    assert list(dict.fromkeys(found.tolist())) == [str(name) for name, _ in frame.groupby("site")]


def test_a_nul_byte_in_a_parquet_file_names_its_row(tmp_path: Path) -> None:
    frame = pd.DataFrame({"site": ["a"] * 5 + ["a\0"] * 5, "when": [*range(5)] * 2, "v": np.arange(10.0)})
    with pytest.raises(
        DataError, match=r"t.parquet: column site has a NUL byte \(0x00\) in a text \(row 6\)"
    ):
        prepared(
            tmp_path,
            GROUPS.replace("csv", "parquet"),
            {"t.parquet": pa.Table.from_pandas(frame)},
            rest=NUMBERS,
        )


def test_bytes_that_are_no_text_name_their_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"site": [b"\xff"] * 5, "when": range(5), "v": np.arange(5.0)})
    with pytest.raises(DataError, match=r"t.parquet: column site holds binary that is not UTF-8"):
        prepared(
            tmp_path,
            GROUPS.replace("csv", "parquet"),
            {"t.parquet": pa.Table.from_pandas(frame)},
            rest=NUMBERS,
        )


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_labels_that_float32_does_not_tell_apart_are_classes_of_their_own(tmp_path: Path, kind: str) -> None:
    labels = [20240101, 20240102, 2**60 + 1, 2**60]
    frame = pd.DataFrame(
        {"who": np.repeat(range(8), 2), "v": np.arange(16.0), "kind": np.repeat(labels * 2, 2)}
    )
    content = pa.Table.from_pandas(frame) if kind == "parquet" else frame.to_csv(index=False)
    found = prepared(
        tmp_path,
        f"{{train: t.{kind}, sequence: {{by: who}}, features: [v], target: kind, classes: {sorted(labels)}}}",
        {f"t.{kind}": content},
        rest="model: {layers: [LSTM: {units: 2}, Dense: {units: 4}]}\n"
        "training: {loss: {SparseCategoricalCrossentropy: {from_logits: true}}}\n",
    )
    classes = found.preprocessing.classes["y"]
    assert classes.decode(found.train.truth.target("y").astype(int)).tolist() == labels * 2
