"""Tables in csv and parquet give the same arrays, whatever the pieces, types and line ends."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from gpujobs.trainer.data.reading import table_files, tables, text
from gpujobs.trainer.data.reading.wanted import Wanted
from gpujobs.trainer.failures import DataError

from .making import everything, prepared, there

COLUMNS: dict[str, list[Any]] = {
    "a": [1.5, -2.0, 1e10],
    "b": [1, 2, 3],
    "who": ["y", "x", "y"],
    "day": ["2026-01-30", "2026-01-31", "2026-02-01"],
}


def read(path: Path, **wanted: Any) -> tables.Table:
    return tables.read([table_files.look(path.name, path)], Wanted(**wanted), path.parent)


def as_csv(path: Path, newline: str = "\n") -> Path:
    lines = [",".join(COLUMNS), *(",".join(map(str, row)) for row in zip(*COLUMNS.values(), strict=True))]
    path.write_bytes(newline.join(lines).encode())
    return path


def as_parquet(path: Path) -> Path:
    days = [datetime.date.fromisoformat(day) for day in COLUMNS["day"]]
    pyarrow.parquet.write_table(pa.table({**COLUMNS, "day": days}), path)
    return path


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r", None])
def test_numbers_words_and_times(tmp_path: Path, newline: str | None) -> None:
    path = as_csv(tmp_path / "t.csv", newline) if newline else as_parquet(tmp_path / "t.parquet")
    table = read(path, numbers=("b", "a"), words=("who",), time=("day",))
    assert table.values.dtype == np.float32
    assert table.values.tolist() == [[1, 1.5], [2, -2], [3, 1e10]]
    assert table.words["who"].decode(table.words["who"].codes).tolist() == ["y", "x", "y"]
    assert there(table.words["who"].names).tolist() == ["x", "y"]
    assert there(table.time).astype("datetime64[D]").tolist() == [
        datetime.date.fromisoformat(day) for day in COLUMNS["day"]
    ]


def test_many_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "BLOCK_BYTES", 1 << 12)
    monkeypatch.setattr(tables, "PIECE_ROWS", 7)
    count = 3000
    words = [f"w{n % 11:02}" for n in range(count)]
    columns = {"v": np.arange(count, dtype=float), "w": words}
    lines = "\n".join(["v,w", *(f"{v},{w}" for v, w in zip(*columns.values(), strict=True))])
    (tmp_path / "t.csv").write_text(lines)
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=100)
    for name in ("t.csv", "t.parquet"):
        table = read(tmp_path / name, numbers=("v",), words=("w",))
        assert table.values[:, 0].tolist() == list(range(count))
        assert table.words["w"].decode(table.words["w"].codes).tolist() == words


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([True, False, None], [1, 0, np.nan]),
        ([Decimal("1.25"), None, Decimal("-3")], [1.25, np.nan, -3]),
        ([None, None, None], [np.nan] * 3),
        (pa.array([1, None, 3], pa.uint8()), [1, np.nan, 3]),
    ],
    ids=["bool", "decimal", "null", "uint8"],
)
def test_what_counts_as_a_number(tmp_path: Path, values: Any, expected: list[float]) -> None:
    pyarrow.parquet.write_table(pa.table({"v": values}), tmp_path / "t.parquet")
    np.testing.assert_array_equal(read(tmp_path / "t.parquet", numbers=("v",)).values[:, 0], expected)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-01-01T00:00:00Z", np.datetime64("2026-01-01")),
        ("2026-01-01 02:00:00+02:00", np.datetime64("2026-01-01")),
        ("3000-01-01", np.datetime64("3000-01-01")),
        ("9007199254740993", 9007199254740993),
        ("1.5", 1.5),
    ],
)
def test_times(tmp_path: Path, written: str, expected: Any) -> None:
    (tmp_path / "t.csv").write_text(f"v,t\n1,{written}\n")
    assert there(read(tmp_path / "t.csv", numbers=("v",), time=("t",)).time)[0] == expected


def test_empty_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\ufeffa,b\n\n1,2\n\n3,\n\n")
    np.testing.assert_array_equal(read(tmp_path / "t.csv", numbers=("a", "b")).values, [[1, 2], [3, np.nan]])


def test_another_file_is_read_by_the_columns_of_the_training_file(tmp_path: Path) -> None:
    """Whatever else it has, and in whatever order."""
    data = "{train: t.csv, validation: v.csv, target: a, window: {length: 2}}"
    files = {"t.csv": "a,b\n1,10\n2,20\n3,30\n", "v.csv": "note,b,a\nx,40,4\ny,50,5\nz,60,6\n"}
    found = prepared(tmp_path, data, files)
    assert everything(found.parts["validation"].samples).tolist() == [[[4, 40], [5, 50]]]
    assert found.parts["validation"].samples.target("y").tolist() == [[6]]


WALL, ZONED = (
    "t,v\n2026-01-01 00:00,1\n2026-01-01 01:00,2\n",
    "t,v\n2026-01-02T00:00Z,3\n2026-01-02T01:00Z,4\n",
)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (WALL, ZONED, "b.csv: column t: has times with a zone, and a.csv times without a zone; expected one kind"),
        (ZONED, WALL, "b.csv: column t: has times without a zone, and a.csv times with a zone; expected one kind"),
        (ZONED, ZONED, None),
        (WALL, WALL, None),
    ],
)  # fmt: skip
def test_files_with_instants_and_files_with_times_of_a_wall_are_no_table(
    tmp_path: Path, first: str, second: str, said: str | None
) -> None:
    """Whose hours nobody could tell apart."""
    sources = []
    for name, content in (("a.csv", first), ("b.csv", second)):
        (tmp_path / name).write_text(content)
        sources.append(table_files.look(name, tmp_path / name))
    wanted = Wanted(numbers=("v",), time=("t",))
    if said is None:
        table = tables.read(sources, wanted, tmp_path)
        assert len(table) == 4 and table.zone == ("UTC" if first == ZONED else None)
    else:
        with pytest.raises(DataError) as refused:
            tables.read(sources, wanted, tmp_path)
        assert str(refused.value).startswith(said)


def test_parquet_with_a_zone_and_a_csv_without_one_are_no_table(tmp_path: Path) -> None:
    times = pa.array([datetime.datetime(2026, 1, 1, hour) for hour in (0, 1)], pa.timestamp("s", "UTC"))
    pyarrow.parquet.write_table(pa.table({"t": times, "v": [1.0, 2.0]}), tmp_path / "a.parquet")
    (tmp_path / "b.csv").write_text(WALL)
    sources = [table_files.look(name, tmp_path / name) for name in ("a.parquet", "b.csv")]
    with pytest.raises(DataError, match=r"has times without a zone, and a\.parquet times with a zone"):
        tables.read(sources, Wanted(numbers=("v",), time=("t",)), tmp_path)
