"""Times as files have them, compared with those that pandas and Python read."""

from __future__ import annotations

import datetime
import io
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pytest

from gpujobs.trainer.data.fitting.preprocessing import from_json
from gpujobs.trainer.data.prepare import read_training, to_predict
from gpujobs.trainer.data.reading import times
from gpujobs.trainer.failures import DataError

from .making import DENSE, prepared, spec_of

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


# What no calendar has


def drawn(form: str, parts: dict[str, list[str]]) -> list[str]:
    """All that the format makes of these parts."""
    names = [name for name in parts if f"%{name}" in form]
    found = []
    for chosen in itertools.product(*(parts[name] for name in names)):
        text = form
        for name, part in zip(names, chosen, strict=True):
            text = text.replace(f"%{name}", part)
        found.append(text)
    return found


PARTS = {
    "Y": ["1900", "2000", "2024", "2026", "26"], "y": ["24", "26"], "m": ["0", "2", "04", "12", "13"],
    "b": ["Feb", "Apr", "Dec"], "d": ["0", "1", "28", "29", "30", "31", "32"],
    "j": ["000", "001", "059", "365", "366", "367"],
    "H": ["00", "23", "24"], "I": ["0", "12", "13"], "p": ["AM", "PM"], "M": ["00", "59", "60"],
    "S": ["00", "59", "60", "61"], "f": ["5"], "z": ["+0200", "-1130", "Z", "+2400", "-2500"],
}  # fmt: skip


def by_datetime(text: str, form: str) -> np.datetime64:
    """UTC. A year has as many days as it has, of which Python makes days of the next."""
    try:
        found = datetime.datetime.strptime(text, form)
    except ValueError:
        return np.datetime64("NaT")
    if "%j" in form and f"{found:%Y}" not in text:
        return np.datetime64("NaT")
    return np.datetime64(
        found if found.tzinfo is None else found.astimezone(datetime.UTC).replace(tzinfo=None)
    )


@pytest.mark.parametrize(
    "form",
    ["%Y-%j", "%j/%Y %H:%M:%S.%f", "%d.%m.%Y", "%d.%m.%y %H:%M:%S", "%m/%d/%Y %I:%M %p", "%d-%b-%Y %H:%M",
     "%Y-%m-%d %H:%M:%S.%f%z", "%d.%m.%Y %H:%M %z", "%z %Y-%j"],
)  # fmt: skip
def test_what_no_calendar_or_clock_has_is_no_time(form: str) -> None:
    texts = drawn(form, PARTS)
    found, wrong = times.parse(pa.array(texts), times.look("t.csv", [], [form]))
    expected = np.array([by_datetime(text, form) for text in texts], "datetime64[us]")
    np.testing.assert_array_equal(found, expected)
    assert wrong.tolist() == np.flatnonzero(np.isnat(expected)).tolist() and 0 < len(wrong) < len(texts)


@pytest.mark.parametrize(
    ("form", "cells", "wrong"),
    [
        ("%d.%m.%Y %H:%M", ["30. 4.2026  9:00", "31. 4.2026  9:00"], [1]),
        (
            "%d.%m.%Y %H:%M%z",
            ["30.04.2026 09:00 +02:00", "31.04.2026 09:00 +02:00", "30.04.2026 09:00Z"],
            [1],
        ),
    ],
)
def test_blanks_before_numbers_hide_no_day_that_is_none(
    form: str, cells: list[str], wrong: list[int]
) -> None:
    assert times.parse(pa.array(cells), times.look("t.csv", [], [form]))[1].tolist() == wrong


@pytest.mark.parametrize(
    ("form", "cell", "said"),
    [
        ("%Y-%j", "2026-366", ": 2026 has 365 days"),
        ("%Y-%j", "2026-000", ": there is no day 0"),
        ("%d.%m.%Y %H:%M:%S", "31.01.2026 23:59:60", ": there is no second 60"),
        ("%d.%m.%Y %H:%M:%S %z", "31.04.2026 00:00:00 +0200", ": April 2026 has 30 days"),
    ],
)
def test_rows_that_no_calendar_has_are_refused_with_the_reason(
    tmp_path: Path, form: str, cell: str, said: str
) -> None:
    rows = [f"{datetime.datetime(2026, 1, day, tzinfo=datetime.UTC):{form}},{day}\n" for day in (1, 2, 3)]
    with pytest.raises(DataError) as refused:
        times_of(tmp_path, "t,v\n" + "".join(rows) + f"{cell},4\n", more=f', csv: {{dates: "{form}"}}')
    assert (
        str(refused.value) == f"t.csv: row 5: column t: holds {cell!r}; expected a time written {form}{said}"
    )


# Forms that are found


HOURS = [datetime.datetime(2026, 5, 8) + datetime.timedelta(hours=7 * number) for number in range(30)]


@pytest.mark.parametrize("bad", ["?", "5.5.2026x", "2026-05-03 04:00:00", "05.13.2026 10:00", "5"])
@pytest.mark.parametrize(
    "form", ["%d.%m.%Y %H:%M", "%m/%d/%Y %I:%M %p", "%d-%b-%y %H:%M", "%d/%m/%Y %H:%M:%S.%f", "%Y/%m/%d %H:%M"]
)  # fmt: skip
def test_a_cell_that_is_no_date_is_named_alone(tmp_path: Path, form: str, bad: str) -> None:
    cells = [f"{hour:{form}}" for hour in HOURS]
    cells[17] = bad
    content = "t,v\n" + "".join(f"{cell},{number}\n" for number, cell in enumerate(cells))
    with pytest.raises(DataError) as refused:
        times_of(tmp_path, content)
    assert refused.value.problems == (
        f"t.csv: row 19: column t: holds {bad!r}; expected a time written {form}"
        + (": there is no month 13" if bad == "05.13.2026 10:00" and form == "%d.%m.%Y %H:%M" else ""),
    )


def test_an_empty_part_of_a_date_is_named_alone(tmp_path: Path) -> None:
    rows = [f"{hour:%d.%m.%Y,%H:%M},{number}\n" for number, hour in enumerate(HOURS)]
    rows[17] = f"{HOURS[17]:%d.%m.%Y},,17\n"
    with pytest.raises(DataError) as refused:
        times_of(tmp_path, "a,b,v\n" + "".join(rows), time="[a, b]")
    assert refused.value.problems == (
        f"t.csv: row 19: columns a, b: holds '{HOURS[17]:%d.%m.%Y}'; expected a time: column b is empty",
    )


@pytest.mark.parametrize(("has_zone", "said"), [(False, "without"), (True, "with")])
def test_a_zone_in_one_row_alone_is_named(tmp_path: Path, has_zone: bool, said: str) -> None:
    cells = [f"{hour}{'+02:00' if has_zone else ''}" for hour in HOURS]
    cells[17] = f"{HOURS[17]}{'' if has_zone else '+02:00'}"
    content = "t,v\n" + "".join(f"{cell},{number}\n" for number, cell in enumerate(cells))
    with pytest.raises(DataError) as refused:
        times_of(tmp_path, content)
    (problem,) = refused.value.problems
    assert problem.startswith(
        f"t.csv: row 19: column t: holds '{cells[17]}'; expected a time such as 2026-01-31"
    )
    assert problem.endswith(f", {said} a zone as most rows")


@pytest.mark.parametrize(
    ("form", "step"),
    [
        ("%Y-%m-%d %H:%M:%S %z", "h"), ("%d.%m.%Y %H:%M%z", "h"), ("%m/%Y", "MS"), ("%m-%Y", "MS"), ("%Y/%m", "MS"),
        ("%Y-%m-%d %H:%M:%S,%f", "s"), ("%d/%m/%Y %H:%M:%S,%f", "D"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_forms_are_found(tmp_path: Path, form: str, step: str, zone: str) -> None:
    moments = pandas.date_range("2026-03-28", periods=30, freq=step, tz=zone)
    content = "t;v\n" + "".join(f"{moment:{form}};{number}\n" for number, moment in enumerate(moments))
    texts = pandas.read_csv(io.StringIO(content), sep=";")["t"]
    expected = pandas.to_datetime(texts, format=form, utc=True)
    found = times_of(tmp_path, content, more=', csv: {separator: ";"}')
    np.testing.assert_array_equal(found, expected.dt.tz_localize(None).to_numpy())


@pytest.mark.parametrize("cells", [["01.2026", "02.2026"], ["2026.01", "2026.02"]])
def test_numbers_with_a_point_are_no_months(cells: list[str]) -> None:
    form = times.look("t.csv", [*cells * 10, "?"], [])
    assert form.kind == "number"


# The order of days and months in several files


EITHER = [datetime.datetime(2026, month, day) for month in (2, 3) for day in range(1, 13)]
TOLD = [datetime.datetime(2026, 1, day) for day in range(1, 31)]
ORDERS = ["%d/%m/%Y", "%m/%d/%Y", "%m.%d.%Y"]
ORDERED = "{train: t.csv, validation: p.csv, time: t, features: [v], target: v, window: {length: 2}}"


def moments_of(part: Any) -> list[datetime.datetime]:
    found: list[datetime.datetime] = part.assembled.raw.time.tolist()
    return found


def days_as(form: str, days: list[datetime.datetime], extra: str = "") -> str:
    return "t,v\n" + "".join(f"{day:{form}},{number}\n" for number, day in enumerate(days)) + extra


@pytest.mark.parametrize("form", ORDERS)
def test_days_and_months_stand_as_in_the_training_file(tmp_path: Path, form: str, capsys: Any) -> None:
    """In a file of the validation, and in one to predict for, of which no job file says it."""
    files = {"t.csv": days_as(form, TOLD), "p.csv": days_as(form, EITHER)}
    found = prepared(tmp_path, ORDERED, files)
    said = (
        f"p.csv: read as: times as {form} (days and months in the order that other files of this job show)."
    )
    assert said in capsys.readouterr().out
    assert moments_of(found.parts["validation"]) == EITHER
    spec = spec_of(tmp_path, ORDERED, files, rest=DENSE + "training: {loss: mse}\npredict: [p.csv]\n")
    learned = from_json(json.loads(json.dumps(found.preprocessing.to_json())))
    applied = to_predict(spec, {"path": "p.csv"}, learned)
    assert moments_of(applied) == EITHER
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("names", ["[t.csv, p.csv]", "[p.csv, t.csv]"])
@pytest.mark.parametrize("form", ORDERS[:2])
def test_days_and_months_stand_as_in_another_file_of_a_list(tmp_path: Path, form: str, names: str) -> None:
    files = {"t.csv": days_as(form, TOLD), "p.csv": days_as(form, EITHER)}
    found: Any = read_training(spec_of(tmp_path, DATA % (names, "t", ""), files)).time
    assert sorted(found.tolist()) == sorted([*TOLD, *EITHER])


def test_one_row_does_not_turn_the_order_of_the_training_file(tmp_path: Path) -> None:
    files = {"t.csv": days_as("%d/%m/%Y", TOLD), "p.csv": days_as("%d/%m/%Y", EITHER, "04/13/2026,1\n")}
    with pytest.raises(DataError) as refused:
        prepared(tmp_path, ORDERED, files)
    assert refused.value.problems == (
        "p.csv: row 26: column t: holds '04/13/2026'; expected a time written %d/%m/%Y: there is no month 13",
    )


def test_files_that_show_their_own_order_keep_it(tmp_path: Path, capsys: Any) -> None:
    later = [day + datetime.timedelta(days=60) for day in TOLD]
    files = {"t.csv": days_as("%d/%m/%Y", TOLD), "p.csv": days_as("%m/%d/%Y", later)}
    found = prepared(tmp_path, ORDERED, files)
    assert moments_of(found.parts["validation"]) == later
    assert "p.csv: read as: times as %m/%d/%Y.\n" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["%Y/%m/%d", "%d-%b-%Y"])
def test_a_training_file_that_shows_no_order_tells_none(tmp_path: Path, form: str) -> None:
    files = {"t.csv": days_as(form, TOLD), "p.csv": days_as("%d/%m/%Y %H:%M", EITHER)}
    with pytest.raises(DataError) as refused:
        prepared(tmp_path, ORDERED, files)
    either = '{dates: "%d/%m/%Y %H:%M"} or {dates: "%m/%d/%Y %H:%M"}'
    assert str(refused.value).endswith(f"say which: data.csv: {either}")


HOURLY = [datetime.datetime(2026, 5, 1) + datetime.timedelta(hours=hour) for hour in range(300)]


@pytest.mark.parametrize(
    ("shown", "form"),
    [
        (None, "%m.%d.%Y %H:%M"),
        ("%d.%m", "%m.%d.%Y %H:%M"),
        ("%d/%m", "%m/%d/%Y %H:%M"),
        ("%m/%d", "%d/%m/%Y %H:%M"),
    ],
)
def test_a_day_beyond_the_12th_tells_whatever_is_usual(shown: str | None, form: str) -> None:
    """Twelve of three hundred rows are of the 13th."""
    texts = [moment.strftime(form) for moment in HOURLY]
    found = times.look("t", texts, (), date_order=shown)
    assert found.formats == (form,)
    parsed, wrong = times.parse(pa.array(texts), found)
    assert not len(wrong) and parsed.tolist() == HOURLY


@pytest.mark.parametrize("shown", ["%m/%d", "%m-%d", None])
def test_what_other_files_show_holds_for_dates_with_the_same_sign(shown: str | None) -> None:
    """US dates in the training file, and German ones in another."""
    texts = [f"0{day}.03.2026" for day in range(1, 9)]
    assert times.look("t", texts, (), date_order=shown).formats == ("%d.%m.%Y",)
