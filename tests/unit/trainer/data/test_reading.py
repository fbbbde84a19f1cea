"""Small things of csv files on which numbers, names and times hang: each value is written out here, or is pandas's."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pandas._libs.parsers import STR_NA_VALUES

from gpujobs.trainer.data.reading import cells, dialect, times
from gpujobs.trainer.data.reading.cells import Writing
from gpujobs.trainer.failures import DataError


def head(tmp_path: Path, content: str | bytes, **given: Any) -> dialect.Head:
    path = tmp_path / "t.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return dialect.look("t.csv", path, given)


@pytest.mark.parametrize(
    ("encoding", "name"),
    [("cp1252", "in €"), ("cp1252", "a – b"), ("cp1252", "„v“"), ("latin-1", "Wärme"), ("utf-8", "in €"),
     ("utf-16-le", "v"), ("utf-16-be", "v"), ("utf-16", "in €")],
)  # fmt: skip
def test_names_are_read_in_the_encoding_that_they_are_written_in(
    tmp_path: Path, encoding: str, name: str
) -> None:
    assert head(tmp_path, f"t,{name}\n1,2\n2,3\n".encode(encoding)).dialect.names == ("t", name)


def test_a_sign_that_stands_in_most_rows_of_a_text_separates_nothing(tmp_path: Path) -> None:
    rows = "".join(f"{n};{'a|b' if n % 3 else 'c'}\n" for n in range(30))
    found = head(tmp_path, "t;x|y\n" + rows).dialect
    assert (found.separator, found.names) == (";", ("t", "x|y"))


def test_the_first_line_of_excel_is_no_row(tmp_path: Path) -> None:
    found = head(tmp_path, "sep=;\nt;v\n1;2\n2;3\n")
    assert (found.dialect.separator, found.dialect.names) == (";", ("t", "v"))
    assert found.table.num_rows == 2


def test_numbers_as_names_are_those_that_pandas_gives(tmp_path: Path) -> None:
    found = head(tmp_path, "0,1,2\n7,8,9\n4,5,6\n")
    assert found.dialect.names == ("0", "1", "2") and found.table.num_rows == 2
    with pytest.raises(DataError, match=r"row 1 holds 0, 2, 1, which are values"):
        head(tmp_path, "0,2,1\n7,8,9\n4,5,6\n")


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"]])
def test_names_are_given_for_each_column(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(DataError, match=rf"has 2 columns, and data.csv.names {len(names)} names"):
        head(tmp_path, "1.5,2\n3,4\n", names=names, header="none")


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("a,b\nkW,[C]\n1,2\n2,3\n", 2),
        ("a,b\nkW,ready\n1,stop\n2,go\n3,stop\n", 4),  # a row with a value that is wrong, which is told
        ("a,b\nkW,-\n1,stop\n2,go\n3,stop\n", 3),
        ("a,b\nNA,C\n1,2\n2,3\n", 3),
    ],
)
def test_a_line_of_units_has_nothing_but_units(tmp_path: Path, content: str, rows: int) -> None:
    assert head(tmp_path, content).table.num_rows == rows


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2", "NA"], "number"),
        (["yes", "no", "yes"], "truth"),
        (["1", "2", "3", "a", "b"], "mixed"),
        (["1e5", "2e5", "3e5", "a", "b"], "mixed"),
        (["1", "2", "a", "b", "c"], "text"),
        (["7 kg", "8 kg", "9 kg"], "mixed"),
        (["2021-01-01", "2021-01-02", "2021-01-03"], "text"),
    ],
)
def test_what_a_column_holds(tmp_path: Path, values: list[str], kind: str) -> None:
    content = "t,v\n" + "".join(f"{n},{value}\n" for n, value in enumerate(values))
    assert head(tmp_path, content, header="first").kind(1) == kind


@pytest.mark.parametrize("word", sorted(STR_NA_VALUES))
def test_what_stands_for_no_number_in_pandas_does_here(word: str) -> None:
    found = cells.numbers(pa.array(["1", word, "2"]), Writing())
    np.testing.assert_array_equal(found.values, [1, np.nan, 2])
    assert len(found.wrong) == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [("1,234,567.5", 1234567.5), ("-12,345", -12345.0), ("999", 999.0), ("1234.5", 1234.5), ("1,23", None),
     ("12,34,567", None), ("1,2345", None), ("1.234,5", None), (",123", None)],
)  # fmt: skip
def test_signs_between_thousands_stand_between_thousands(text: str, value: float | None) -> None:
    found = cells.numbers(pa.array([text]), Writing(thousands=","))
    assert len(found.wrong) == (value is None)
    assert found.values.tolist() == [value] if value is not None else np.isnan(found.values[0])


MARKED = "t;v\n0;-1,5\n1;-9,999\n2;-9.999\n3;1.000\n4;3,5\n"


@pytest.mark.parametrize("marker", ["-9.999", "-9,999", "1.000", "1000", "3,5", "3.5", "-1,50"])
def test_a_marker_is_read_as_the_cells_are(marker: str) -> None:
    """pandas takes na_values as text, and as numbers that its parser reads: its own decimal sign and thousands."""
    read = pd.read_csv(io.StringIO(MARKED), sep=";", decimal=",", thousands=".")["v"]
    text = pd.read_csv(io.StringIO(MARKED), sep=";", dtype=str)["v"]
    own = pd.read_csv(io.StringIO(f"v\n{marker}"), sep=";", decimal=",", thousands=".")["v"][0]
    same = float(marker) if marker == "3.5" else own  # as a job file has numbers
    found = cells.numbers(pa.array(text), Writing(",", ".", (marker,)))
    np.testing.assert_array_equal(found.values, read.where((text != marker) & (read != same)))
    assert len(found.wrong) == 0


def test_a_cell_that_is_a_marker_is_missing_whatever_else_it_could_be() -> None:
    writing = Writing(".", ",", ("1,000", "5%"), ("%",))
    english = cells.numbers(pa.array(["1,000", "1", "1.0", "1000", "5%", "5"]), writing)
    np.testing.assert_array_equal(english.values, [np.nan, 1, 1, np.nan, np.nan, np.nan])
    truths = cells.truths(pa.array(["True", "False", "0", "0.0", "1", "no"]), Writing(missing=("0", "no")))
    np.testing.assert_array_equal(truths.values, [1, 0, np.nan, np.nan, 1, np.nan])
    assert not len(english.wrong) and not len(truths.wrong)


def test_truths_are_written_as_numbers_too() -> None:
    found = cells.truths(pa.array(["1", "0", "1.0", "0.0", "yes", "no", "", "2"]), Writing())
    np.testing.assert_array_equal(found.values, [1, 0, 1, 0, 1, 0, np.nan, np.nan])
    assert found.wrong.tolist() == [7]


@pytest.mark.parametrize(
    ("given", "decimal", "thousands"),
    [({"thousands": "."}, ",", "."), ({"thousands": ","}, ".", ","), ({"decimal": ","}, ",", None)],
)
def test_of_point_and_comma_one_says_what_the_other_is(
    tmp_path: Path, given: dict[str, str], decimal: str, thousands: str | None
) -> None:
    writing = head(tmp_path, "t;v\n1;2\n2;3\n", **given).dialect.writing
    assert (writing.decimal, writing.thousands) == (decimal, thousands)


SECOND = "2021-02-01T10:00:30"


@pytest.mark.parametrize(
    ("written", "declared", "expected"),
    [
        (["2021-02-01T10:00:30.123456789"], [], f"{SECOND}.123456789"),
        (["2021-02-01T10:00:30.5"], [], f"{SECOND}.5"),
        (["01.02.2021 10:00:30.123456789"], [], f"{SECOND}.123456789"),
        (["01/02/2021 10:00:30"], ["%d/%m/%Y %T", "%m/%d/%Y %T"], SECOND),  # the first that reads it
        (["02/01/2021 10:00:30"], ["%m/%d/%Y %T", "%d/%m/%Y %T"], SECOND),
        (["2021-02-01 10:00:30"], ["%d.%m.%Y", "%Y-%m-%d %T"], SECOND),
        (["2021-02-01 12:00:30+02:00"], [], SECOND),
        (["2021-02-01 12:00:30 +0200"], ["%Y-%m-%d %H:%M:%S %z"], SECOND),
        (["2/1/21 10:00 AM", "2/13/21 10:00 AM"], [], "2021-02-01T10:00"),
        (["2/1/21 12:00 AM", "2/13/21 12:00 AM"], [], "2021-02-01T00:00"),
        (["1.2.21 10:00"], [], "2021-02-01T10:00"),
    ],
)
def test_a_time_is_the_instant_that_it_says(written: list[str], declared: list[str], expected: str) -> None:
    form = times.look("t.csv", written, declared)
    found, wrong = times.parse(pa.array(written), form)
    assert found[0] == np.datetime64(expected) and len(wrong) == 0
    assert form.has_zone == ("+" in written[0])


@pytest.mark.parametrize("cells", [["13-02-21"], ["01.02.2021 10:00", "13.02.2021 10:00:30"], ["13.02.021"]])
def test_what_is_no_time_for_sure_is_none(cells: list[str]) -> None:
    """13-02-21 may be a day of 2013 or of 2021; of rows that are written differently some would be left out."""
    form = times.look("t.csv", cells, [])
    assert form.kind == "iso" and len(times.parse(pa.array(cells), form)[1]) == len(cells)


@pytest.mark.parametrize("day", ["29", "30", "31"])
def test_a_day_that_february_lacks_is_no_time(day: str) -> None:
    """C's strptime makes days of March of them, the 3rd too."""
    written = [f"{day}.02.2021 10:00", "28.02.2021 10:00"]
    _, wrong = times.parse(pa.array(written), times.look("t.csv", written, []))
    assert wrong.tolist() == [0]
