"""Times as files have them, compared with those that pandas and Python read."""

from __future__ import annotations

import datetime
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pytest

from gpujobs.trainer.data.prepare import read_training
from gpujobs.trainer.data.reading import times
from gpujobs.trainer.failures import DataError

from .making import spec_of

MOMENTS = [datetime.datetime(2024, 2, 29, 0, 59, 59), datetime.datetime(2026, 12, 31, 12, 5, 6),
           datetime.datetime(1969, 7, 20, 20, 17, 40)]  # fmt: skip
DATA = "{train: %s, time: %s, features: [v], target: v, window: {length: 2}%s}"


def times_of(tmp_path: Path, content: Any, name: str = "t.csv", time: str = "t", more: str = "") -> Any:
    """As the training file has them."""
    return read_training(spec_of(tmp_path, DATA % (name, time, more), {name: content})).time


# Fractions of a second


FOUND = ["%d.%m.%Y %H:%M:%S.%f", "%m/%d/%Y %I:%M:%S.%f %p", "%Y-%m-%d %H:%M:%S,%f"]
DECLARED = [
    "%H:%M:%S.%f %d.%m.%Y",
    "%Y%m%d%H%M%S.%f",
    "%Y%m%d%H%M%S%f",
    "%Y%m%dT%H%M%S,%f%z",
    "%f/%S/%M %H %Y-%j",
]


def written(form: str, digits: int) -> list[str]:
    fractions = ["123456789"[:digits], "9" * digits, "0" * digits, "1".zfill(digits)]
    moments = [moment.replace(tzinfo=datetime.UTC) for moment in MOMENTS]
    return [moment.strftime(form.replace("%f", part)) for moment in moments for part in fractions]


@pytest.mark.parametrize("digits", [1, 3, 6, 7, 9])
@pytest.mark.parametrize("form", [*FOUND, *DECLARED])
def test_fractions_of_a_second_stand_anywhere_and_have_up_to_nine_digits(form: str, digits: int) -> None:
    texts = written(form, digits)
    found, wrong = times.parse(
        pa.array(texts), times.look("t.csv", texts, [form] if form in DECLARED else [])
    )
    expected = pandas.to_datetime(texts, format=form).tz_localize(None)
    assert not len(wrong)
    np.testing.assert_array_equal(found, expected.to_numpy("datetime64[ns]"))


@pytest.mark.parametrize("form", [FOUND[0], *DECLARED[:2]])
def test_what_lacks_its_fraction_or_its_day_is_no_time(form: str) -> None:
    """As Python's strptime has it."""
    texts = [*written(form, 3)[:2], *written(form.replace("%f", ""), 1)[:1]]
    texts.append(texts[0].replace("29", "30", 1))
    _, wrong = times.parse(pa.array(texts), times.look("t.csv", texts[:2], [form]))
    assert wrong.tolist() == [2, 3]
    for text in (texts[2], texts[3]):
        with pytest.raises(
            ValueError, match=r"does not match format|day (of month|is) out of range|must be in range"
        ):
            datetime.datetime.strptime(text, form)


@pytest.mark.parametrize("digits", [3, 9])
def test_rows_may_have_more_digits_than_the_beginning_of_the_file(digits: int) -> None:
    form = times.look("t.csv", ["2026-01-31 12:00:00"], [])
    texts = ["2026-01-31 12:00:01", "2026-01-31 12:00:02." + "123456789"[:digits]]
    found, wrong = times.parse(pa.array(texts), form)
    assert not len(wrong)
    np.testing.assert_array_equal(
        found, pandas.to_datetime(texts, format="ISO8601").to_numpy("datetime64[ns]")
    )
    found, wrong = times.parse(pa.array([*texts, "2026-02-30 12:00:00"]), form)
    assert found[1] == np.datetime64(texts[1]) and wrong.tolist() == [2]


def test_years_that_nanoseconds_cannot_count_are_refused(tmp_path: Path) -> None:
    """NumPy would make 1830 of 3000."""
    form = times.look("t.csv", [], ["%d.%m.%Y %H:%M:%S.%f"])
    found, wrong = times.parse(
        pa.array(["31.01.3000 12:00:00.000000001", "31.01.2026 12:00:00.000000001"]), form
    )
    assert wrong.tolist() == [0] and found[1] == np.datetime64("2026-01-31T12:00:00.000000001")
    found, wrong = times.parse(pa.array(["31.01.3000 12:00:00.000001"]), form)
    assert not len(wrong) and found[0] == np.datetime64("3000-01-31T12:00:00.000001")
    files = {"a.csv": "t,v\n2026-01-31 12:00:00.000000001,1\n", "b.csv": "t,v\n3000-01-31,1\n"}
    spec = spec_of(tmp_path, DATA % ("[a.csv, b.csv]", "t", ""), files)
    with pytest.raises(DataError, match=r"b.csv: column t: the table has more than six digits of a second"):
        read_training(spec)


def test_the_fractions_of_a_file_are_read(tmp_path: Path) -> None:
    texts = [f"20260131120000.{part}" for part in ("000", "250", "500", "750")]
    rows = "".join(f"{text},{number}\n" for number, text in enumerate(texts))
    found = times_of(tmp_path, "t,v\n" + rows, more=', csv: {dates: "%Y%m%d%H%M%S.%f"}')
    assert found.tolist() == [datetime.datetime.strptime(text, "%Y%m%d%H%M%S.%f") for text in texts]


# Numbers


@pytest.mark.parametrize(
    ("cells", "values", "given", "decimal", "thousands"),
    [
        (["0,5", "1,0", "1,5", "2,0"], ["1,5", "2,5", "3,5", "4,5"], "", ",", None),
        (["1.001", "1.002", "1.003", "1.004"], ["1.234,5", "2.234,5", "3,5", "4,5"], "", ",", "."),
        (["999", "1.000", "1.001", "1.002"], ["1,5", "2,5", "3,5", "4,5"], 'thousands: "."', ",", "."),
        (["1,001", "1,002", "1,003", "1,004"], ["1,234", "2", "3", "4"], 'thousands: ","', ".", ","),
        (["1 000 001,5", "1 000 002,5", "1 000 003,5"], ["1,5", "2,5", "3,5"], 'thousands: " "', ",", " "),
        (["9007199254740993", "9007199254740994"], ["1,5", "2,5"], "", ",", None),
        (["1700000000.25", "1700000000.5"], ["1,5", "2,5"], 'decimal: ","', ".", None),
        ([".5", "1", "1.5"], ["1.5", "2.5", "3.5"], "", ".", None),
        (["-1", "0", "1"], ["1.5", "2.5", "3.5"], "", ".", None),
    ],
)
def test_times_that_are_numbers_are_written_as_those_of_the_other_columns(
    tmp_path: Path, cells: list[str], values: list[str], given: str, decimal: str, thousands: str | None
) -> None:
    """But where they have a point that can be nothing else."""
    content = "t;v\n" + "".join(f"{cell};{value}\n" for cell, value in zip(cells, values, strict=True))
    found = times_of(tmp_path, content, more=f', csv: {{separator: ";", {given}}}')
    expected = pandas.read_csv(io.StringIO(content), sep=";", decimal=decimal, thousands=thousands)["t"]
    assert found.dtype == expected.dtype
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("cells", "value", "said"),
    [
        (["1.001", "1.002"], "1,5", "'1.001'; expected a time, or a number: data.csv: {thousands: \".\", decimal"),
        (["1,001", "1,002"], "1.5", "'1,001'; expected a time, or a number: data.csv: {thousands: \",\"} reads it"),
        (["1", "2", "3,5"], "1.5", "'3,5'; expected a time, a number as in the rows before: data.csv: {decimal"),
    ],
)  # fmt: skip
def test_numbers_that_may_be_two_are_no_times(
    tmp_path: Path, cells: list[str], value: str, said: str
) -> None:
    content = "t;v\n" + "".join(f"{cell};{value}\n" for cell in cells)
    with pytest.raises(DataError) as refused:
        times_of(tmp_path, content)
    row = 2 + next(number for number, cell in enumerate(cells) if not cell.isdigit())
    assert str(refused.value).startswith(f"t.csv: row {row}: column t: holds {said}")


@pytest.mark.parametrize("kind", ["csv", "parquet", "npz"])
def test_dates_written_as_a_float_are_dates(tmp_path: Path, kind: str) -> None:
    """As pandas has a column of integers in which one had been absent."""
    days = pandas.date_range("2026-01-30", periods=6)
    numbers = np.array([float(day.strftime("%Y%m%d")) for day in days])
    if kind == "npz":
        data = "{train: t.npz, x: v, time: t, window: {length: 2}}"
        arrays = {"v": np.arange(6.0)[:, None], "t": numbers}
        found: Any = read_training(spec_of(tmp_path, data, {"t.npz": arrays})).time
    else:
        table = pandas.DataFrame({"t": numbers, "v": range(6)})
        content = table.to_csv(index=False) if kind == "csv" else pa.Table.from_pandas(table)
        found = times_of(tmp_path, content, f"t.{kind}")
    np.testing.assert_array_equal(found, days.to_numpy())


@pytest.mark.parametrize(
    "numbers", [[20260130.0, 20260130.5], [20260130.0, np.inf], np.array([20260130, 20260131], np.float32)]
)
def test_floats_that_are_not_whole_stay_numbers(tmp_path: Path, numbers: Any) -> None:
    """float32 has no 20260131: it is 20260132 there."""
    found = times_of(tmp_path, pa.table({"t": numbers, "v": [1.0, 2.0]}), "t.parquet")
    np.testing.assert_array_equal(found, numbers)


def test_integers_of_a_parquet_file_that_are_too_large_are_named(tmp_path: Path) -> None:
    table = pa.table({"t": pa.array([1, 2**63], pa.uint64()), "v": [1.0, 2.0]})
    with pytest.raises(
        DataError, match=r"t.parquet: column t holds uint64 such as 9223372036854775808; expected"
    ):
        times_of(tmp_path, table, "t.parquet")


# Two columns


@pytest.mark.parametrize(
    ("day", "clock", "said"),
    [
        ("2026-01-02", "", "holds '2026-01-02'; expected a time: column b is empty"),
        ("02.01.2026", " ", "holds '02.01.2026'; expected a time: column b is empty"),
        ("", "22:00", "holds '22:00'; expected a time: column a is empty"),
    ],
)
def test_a_day_without_its_time_of_day_is_no_midnight(
    tmp_path: Path, day: str, clock: str, said: str
) -> None:
    form = "%d.%m.%Y" if "." in day else "%Y-%m-%d"
    rows = [f"{datetime.date(2026, 1, 1):{form}},{hour}:00,{hour}\n" for hour in (21, 22, 23)]
    with pytest.raises(DataError) as refused:
        times_of(tmp_path, "a,b,v\n" + "".join(rows) + f"{day},{clock},3\n", time="[a, b]")
    assert str(refused.value) == f"t.csv: row 5: columns a, b: {said}"


def test_a_blank_between_two_columns_stands_between_no_thousands(tmp_path: Path) -> None:
    content = "a;b;v\n" + "".join(f"12;{minute};1 00{minute % 10}\n" for minute in (130, 131, 132))
    with pytest.raises(DataError, match=r"row 2: columns a, b: holds '12 130'; expected a time"):
        times_of(tmp_path, content, time="[a, b]", more=', csv: {separator: ";", thousands: " "}')
