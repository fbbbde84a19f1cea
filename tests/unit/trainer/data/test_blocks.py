"""What is read block by block, by several threads, is what pandas reads, and each row keeps its number."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gpujobs.trainer.data import growing, memory
from gpujobs.trainer.data.growing import Growing
from gpujobs.trainer.data.missing import by_column
from gpujobs.trainer.data.reading import table_files, tables, text
from gpujobs.trainer.data.reading.loaded import LoadedData
from gpujobs.trainer.data.reading.wanted import Wanted
from gpujobs.trainer.failures import DataError

COUNT = 60
NUMBERS = np.random.default_rng(3).normal(0, 1e4, (COUNT, 2)).round(5)
WORDS = ["plain", "a\nb", 'say ""so""\n\n', "c,d", "", "e\r\nf", "\n", "7"]


def read(path: Path, threads: int = 2, csv: dict[str, Any] | None = None, **wanted: Any) -> tables.Table:
    source = table_files.look(path.name, path, csv or {})
    return tables.read([source], Wanted(**wanted), path.parent, threads)


def content(newline: str = "\n", *, is_ended: bool = True, quoting: int = csv.QUOTE_MINIMAL) -> str:
    """A column of words, some with line ends within, and two of numbers."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator=newline, quoting=quoting)  # type: ignore[arg-type]
    writer.writerow(["who", "v", "w"])
    writer.writerows([WORDS[n % len(WORDS)], *row] for n, row in enumerate(NUMBERS.tolist()))
    return file.getvalue() if is_ended else file.getvalue().removesuffix(newline)


def first_lines(text: str) -> list[int]:
    """The number of the line in which each row begins, by Python's own reader; the names are no row."""
    reader, found, line = csv.reader(io.StringIO(text, newline="")), [], 1
    for row in reader:
        if row:
            found.append(line)
        line = reader.line_num + 1
    return found[1:]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("size", [30, 31, 1000])
@pytest.mark.parametrize("written", [
    content(), content("\r\n"), content(is_ended=False), content(quoting=csv.QUOTE_ALL),
    content().replace("plain", '5" wide').replace("\n7,", '\nthe "best",'),
], ids=["minimal", "crlf", "no end", "all quoted", "inches"])  # fmt: skip
def test_line_ends_in_quotes_wherever_blocks_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, size: int, threads: int
) -> None:
    monkeypatch.setattr(text, "BLOCK_BYTES", size)
    path = tmp_path / "t.csv"
    path.write_bytes(written.encode())
    expected = pd.read_csv(path, keep_default_na=False, dtype={"who": str})
    table = read(path, threads, numbers=("v", "w"), words=("who",))
    np.testing.assert_array_equal(table.values, expected[["v", "w"]].to_numpy(np.float32))
    who = table.words["who"]
    found = [who.texts[code] if code >= 0 else "" for code in who.codes]
    assert found == expected["who"].tolist()
    if "\r" not in written:
        assert [table.rows.of(row).number for row in range(COUNT)] == first_lines(written)


@pytest.mark.parametrize("size", [20, 61, 1000])
def test_a_carriage_return_in_a_cell_ends_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(text, "BLOCK_BYTES", size)
    cells = ["x\ry", "a\n\rb", "", "plain", "\r", "e\r\nf"]
    path, rows = tmp_path / "t.csv", [f'"{cells[n % 6]}",{n}\n' + "\n" * (n % 5 == 0) for n in range(30)]
    path.write_bytes("".join(["who,v\n", *rows]).encode())
    table = read(path, numbers=("v",), words=("who",))
    before = [2 + "".join(rows[:n]).count("\n") for n in range(30)]
    assert [table.rows.of(row).number for row in range(30)] == before
    expected = pd.read_csv(path, keep_default_na=False)
    assert table.values[:, 0].tolist() == expected["v"].tolist()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_wrong_cell_far_down_has_the_row_that_an_editor_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setattr(text, "BLOCK_BYTES", 50)
    lines = content().splitlines()
    at = next(n for n, line in enumerate(lines) if n > 70 and line.startswith("plain"))
    lines[at] = "plain,none of it,1"
    lines.insert(20, "")  # a blank line counts, and is no row
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=rf"^t.csv: row {at + 2}: column v: holds 'none of it'"):
        read(path, threads, numbers=("v", "w"), words=("who",))


@pytest.mark.parametrize("threads", [1, 2])
def test_problems_of_many_blocks_are_those_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    rows = [f"{n},{'x' if n % 7 == 0 else n},{n}{',' if n == 40 else ''}" for n in range(60)]
    (tmp_path / "t.csv").write_text("t,v,w\n" + "\n".join(rows) + "\n")

    def refusal() -> str:
        with pytest.raises(DataError) as caught:
            read(tmp_path / "t.csv", threads, numbers=("v", "w"), time=("t",))
        return str(caught.value)

    whole = refusal()
    assert "row 2: column v" in whole and "row 42 has 4 fields" in whole and "(4 more such rows)" in whole
    monkeypatch.setattr(text, "BLOCK_BYTES", 25)
    assert sorted(refusal().splitlines()) == sorted(whole.splitlines())


@pytest.mark.parametrize("size", [40, 1 << 20])
def test_a_quote_that_nothing_closes_is_refused_where_it_would_be_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """pyarrow takes the rest of the file for one cell, and says nothing."""
    monkeypatch.setattr(text, "BLOCK_BYTES", size)
    rows = [f"{n},{'ab'[n % 2]}" for n in range(50)]
    rows[-1] = '49,"a'
    (tmp_path / "t.csv").write_text("v,kind\n" + "\n".join(rows) + "\n")
    with pytest.raises(DataError, match=r"^t.csv: row 51: a quote that is opened there is not closed"):
        read(tmp_path / "t.csv", numbers=("v",), words=("kind",))


def test_a_quote_is_looked_for_no_further_than_a_row_may_be_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "BLOCK_BYTES", 40)
    monkeypatch.setattr(text, "LONGEST_ROW", 200)
    rows = [f"{n},{'ab'[n % 2]}" for n in range(500)]
    rows[30] = '30,"a'
    (tmp_path / "t.csv").write_text("v,kind\n" + "\n".join(rows) + "\n")
    with pytest.raises(DataError, match=r"^t.csv: row 32: a quote that is opened there is not closed"):
        read(tmp_path / "t.csv", numbers=("v",), words=("kind",))


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("is_ended", [True, False])
def test_a_file_of_one_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, newline: str, is_ended: bool
) -> None:
    monkeypatch.setattr(text, "BLOCK_BYTES", 16)
    lines = ["v", *map(str, range(40))]
    lines[10] = ""
    path = tmp_path / "t.csv"
    path.write_bytes((newline.join(lines) + newline * is_ended).encode())
    table = read(path, numbers=("v",))
    assert table.values[:, 0].tolist() == pd.read_csv(path)["v"].tolist()
    assert table.rows.of(8).number == 10 and table.rows.of(9).number == 12


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "latin-1", "shift_jis", "gb18030"])
def test_characters_of_several_bytes_at_the_end_of_a_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    word = "日本" if encoding in ("shift_jis", "gb18030") else "é"
    rows = "".join(f'{n},"{word}\n{n % 3}"\n' for n in range(40))
    path = tmp_path / "t.csv"
    path.write_bytes(("v,kind\n" + rows).encode(encoding))
    given = {} if encoding.startswith("utf") else {"encoding": encoding}
    expected = pd.read_csv(path, encoding=encoding)
    for size in (21, 22, 23):
        monkeypatch.setattr(text, "BLOCK_BYTES", size)
        table = read(path, csv=given, numbers=("v",), words=("kind",))
        assert table.words["kind"].decode(table.words["kind"].codes).tolist() == expected["kind"].tolist()
        assert table.values[:, 0].tolist() == expected["v"].tolist()


def test_comments_and_lines_above_with_quotes_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "BLOCK_BYTES", 40)
    above = 'Station,"the north\nat 5" above,"sea\n'
    rows = [f"{n},{n}" if n % 5 else f'# as seen by,"somebody\n{n},"{n}"' for n in range(40)]
    path = tmp_path / "t.csv"
    path.write_text(above + "t,v\n" + "\n".join(rows) + "\n")
    table = read(path, csv={"skip": 2, "comment": "#"}, numbers=("v",), time=("t",))
    assert table.values[:, 0].tolist() == list(range(40))
    assert [table.rows.of(row).number for row in (0, 1, 5)] == [5, 6, 11]


def test_fields_between_blanks_with_quotes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "".join(f' {n}  \t"a {n % 2}\n"   {n}\n' for n in range(30))
    path = tmp_path / "t.txt"
    path.write_text("v kind  w\n" + rows)
    for size in (25, 1 << 20):
        monkeypatch.setattr(text, "BLOCK_BYTES", size)
        table = read(path, csv={"separator": "whitespace"}, numbers=("v", "w"), words=("kind",))
        assert table.values[:, 1].tolist() == list(range(30))
        assert table.words["kind"].texts.tolist() == ["a 0\n", "a 1\n"]


def test_two_kinds_of_line_ends_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"t,v\n" + b"".join(b"%d,%d\n" % (n, n) for n in range(9)) + b"9,9\r" * 9)
    with pytest.raises(DataError, match="more rows than its line ends say; expected one kind of line end"):
        read(path, numbers=("v",), time=("t",))


@pytest.mark.parametrize("pack", [gzip.compress, bytes], ids=["packed", "plain"])
@pytest.mark.parametrize("share", [memory.MAPPED_SHARE, 0.0], ids=["in memory", "in files"])
def test_rows_that_are_many_more_than_the_beginning_makes_likely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, pack: Callable[[bytes], bytes]
) -> None:
    """Long rows first, then short ones; of a packed file nothing says how much it holds."""
    monkeypatch.setattr(memory, "MAPPED_SHARE", share)
    monkeypatch.setattr(growing, "MAPPED_SHARE", share)
    long = "".join(f"{n},{n:0300}\n" for n in range(4000))
    short = "".join(f"{n},{n % 10}\n" for n in range(4000, 60_000))
    path = tmp_path / ("t.csv.gz" if pack is gzip.compress else "t.csv")
    path.write_bytes(pack(("t,v\n" + long + short).encode()))
    likely = table_files.likely_rows(table_files.look(path.name, path))
    assert likely < 50_000
    table = read(path, numbers=("v",), time=("t",))
    expected = pd.read_csv(path)
    np.testing.assert_array_equal(table.values[:, 0], expected["v"].to_numpy(np.float32))
    np.testing.assert_array_equal(table.time, expected["t"])
    assert isinstance(table.values, np.memmap) == (share == 0.0)
    assert list(tmp_path.iterdir()) == [path]


def test_an_array_moves_into_a_file_where_it_grows_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = Growing(10, (2,), np.float32, tmp_path)
    array.rows[:] = np.arange(20).reshape(10, 2)
    array.reserve(11)
    assert len(array.rows) >= 11 and not isinstance(array.rows, np.memmap)
    monkeypatch.setattr(memory, "MAPPED_SHARE", 0.0)
    monkeypatch.setattr(growing, "MAPPED_SHARE", 0.0)
    array.reserve(1000)
    assert isinstance(array.rows, np.memmap)
    np.testing.assert_array_equal(array.first(10), np.arange(20).reshape(10, 2))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, None])
def test_a_look_at_the_whole_table_misses_no_value(value: float | None) -> None:
    """Also where what is finite adds up to what is not, and where infinities add up to none."""
    values = np.full((300_000, 3), np.finfo(np.float32).max, np.float32)
    if value is not None:
        values[[7, 299_999], [1, 2]] = value, -value
    raw = LoadedData("t.csv", {"x": values}, {}, features=("a", "b", "c"))
    what = "1 NaN and 0" if value is not None and np.isnan(value) else "0 NaN and 1"
    columns = [] if value is None else [("b", 8), ("c", 300_000)]
    found = [str(error) for error in by_column(raw, values, handling="error")]
    assert [line.partition(";")[0] for line in found] == [
        f"t.csv: column {name}: holds {what} infinite values (row {row})" for name, row in columns
    ]
