"""Files of one export: where one could be read in two ways, another shows which is meant."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gpujobs.trainer.data.fitting.preprocessing import from_json
from gpujobs.trainer.data.prepare import Part, to_predict
from gpujobs.trainer.failures import DataError

from .making import everything, prepared, spec_of

GERMAN = "v;w\n1.234,5;1\n2.345,5;2\n3.456,5;3\n"
COMMA = "v;w\n1,5;1\n2,5;2\n3,5;3\n"
ENGLISH = "v;w\n1,234.5;1\n2,345.5;2\n3,456.5;3\n"
POINT = "v;w\n1.5;1\n2.5;2\n3.5;3\n"
EITHER = "v;w\n1.234;1\n2.345;2\n3.456;3\n"
GROUPS = "v;w\n1.234;1\n567;2\n3.456;3\n"
COMMAS = "v;w\n1,234;1\n2,345;2\n3,456;3\n"
WHOLE = "v;w\n1;1\n2;2\n3;3\n"

DATA = "{train: %s, features: [v, w], target: v, window: {length: 2}%s}"
WHICH = 'say which: data.csv: {thousands: ".", decimal: ","} or {decimal: "."}'


def numbers(content: str, decimal: str, thousands: str | None) -> np.ndarray[Any, Any]:
    """As pandas has them, whose user says how they are written."""
    separator = "\t" if "\t" in content else ";"
    frame = pd.read_csv(io.StringIO(content), sep=separator, decimal=decimal, thousands=thousands)
    return frame.to_numpy(np.float32)


def table(root: Path, files: Mapping[str, str], more: str = "") -> np.ndarray[Any, Any]:
    """The rows of all files."""
    found = prepared(root, DATA % (f"[{', '.join(files)}]", more), files)
    return np.asarray(found.train.assembled.raw.inputs["x"])


@pytest.mark.parametrize(
    ("shows", "other", "decimal", "thousands", "said"),
    [
        (GERMAN.replace(";", "\t"), EITHER, ",", ".", 'decimal comma and thousands "." as s.csv has'),
        (GERMAN, GROUPS.replace(";", "\t"), ",", ".", 'decimal comma and thousands "." as s.csv has'),
        (GERMAN, WHOLE, ",", ".", 'decimal comma and thousands "." as s.csv has'),
        (COMMA, COMMAS.replace(";", "\t"), ",", None, "decimal comma as s.csv has"),
        (ENGLISH, COMMAS, ".", ",", 'decimal point and thousands "," as s.csv has'),
        (POINT, EITHER, ".", None, "numbers such as 1.234 with a decimal point as s.csv has"),
        (POINT, GROUPS, ".", None, None),
        (POINT, WHOLE, ".", None, None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_first", [True, False])
def test_a_file_that_could_be_read_in_two_ways_is_read_as_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shows: str, other: str, decimal: str,
    thousands: str | None, said: str | None, is_first: bool,
) -> None:  # fmt: skip
    files = {"s.csv": shows, "o.csv": other} if is_first else {"o.csv": other, "s.csv": shows}
    expected = np.concatenate([numbers(content, decimal, thousands) for content in files.values()])
    np.testing.assert_array_equal(table(tmp_path, files), expected)
    lines = capsys.readouterr().out.splitlines()
    notice = next(line for line in lines if "read as" in line and "o.csv" in line)
    if said is not None:
        assert notice.endswith(f", {said}.")
    else:
        assert "s.csv has" not in notice and "with a decimal point" not in notice


def test_files_that_show_both_ways_leave_a_third_open(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        table(tmp_path, {"a.csv": COMMA, "b.csv": POINT, "c.csv": EITHER})
    assert str(caught.value) == (
        "c.csv: holds '1.234', which may be a thousand or one and a bit, and a.csv has a decimal comma and b.csv has a "
        f"decimal point; {WHICH}, with all files written alike"
    )


def test_files_that_each_show_how_they_are_written_are_read_so(tmp_path: Path) -> None:
    expected = np.concatenate(
        [numbers(COMMA, ",", None), numbers(POINT, ".", None), numbers(WHOLE, ".", None)]
    )
    found = table(tmp_path, {"a.csv": COMMA, "b.csv": POINT, "c.csv": WHOLE})
    np.testing.assert_array_equal(found, expected)


def test_points_in_a_file_beside_decimal_commas_are_refused_with_what_reads_them(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        table(tmp_path, {"a.csv": COMMA, "b.csv": EITHER})
    said = (
        'b.csv: row 2: column v: holds \'1.234\'; expected a number: data.csv: {thousands: ".", decimal: ","}'
    )
    assert str(caught.value).splitlines()[0] == f"{said} reads it"


def test_what_the_job_file_says_is_not_asked_for(tmp_path: Path) -> None:
    found = table(tmp_path, {"a.csv": EITHER, "b.csv": GROUPS}, ', csv: {thousands: "."}')
    np.testing.assert_array_equal(
        found, np.concatenate([numbers(EITHER, ",", "."), numbers(GROUPS, ",", ".")])
    )


# Other files than the training's


def predicted(root: Path, train: str, other: str) -> Part:
    """By a model that is stored, and read again."""
    files, data = {"t.csv": train, "o.csv": other}, DATA % ("t.csv", "")
    spec = spec_of(root, f"{data}\npredict: [{{path: o.csv, name: o}}]", files)
    stored = json.dumps(prepared(root, data, files).preprocessing.to_json())
    return to_predict(spec, {"name": "o", "path": "o.csv"}, from_json(json.loads(stored)))


@pytest.mark.parametrize(
    ("train", "other", "decimal", "thousands"),
    [(GERMAN, EITHER, ",", "."), (GERMAN, GROUPS, ",", "."), (ENGLISH, COMMAS, ".", ","), (POINT, GROUPS, ".", None)],
)  # fmt: skip
def test_a_file_beside_the_training_is_read_as_that(
    tmp_path: Path, train: str, other: str, decimal: str, thousands: str | None
) -> None:
    expected = numbers(other, decimal, thousands)
    new = predicted(tmp_path, train, other)
    np.testing.assert_array_equal(everything(new.samples)[0], expected[:2])
    found = prepared(tmp_path, DATA % ("t.csv", ", validation: o.csv"), {"t.csv": train, "o.csv": other})
    np.testing.assert_array_equal(everything(found.parts["validation"].samples)[0], expected[:2])


def test_a_training_that_could_be_read_in_two_ways_is_asked_about_where_another_file_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = (
        "o.csv: has decimal commas, as in '1.234,5', and '1.234' of t.csv, which the model is trained on, has been "
        f"read with a decimal point; {WHICH}"
    )
    with pytest.raises(DataError) as caught:
        predicted(tmp_path, EITHER, GERMAN)
    assert str(caught.value) == said
    with pytest.raises(DataError) as caught:
        prepared(tmp_path, DATA % ("t.csv", ", test: o.csv"), {"t.csv": EITHER, "o.csv": GERMAN})
    assert str(caught.value) == said
    assert "numbers such as 1.234 with a decimal point" in capsys.readouterr().out


def test_a_model_that_was_stored_before_has_none(tmp_path: Path) -> None:
    stored = prepared(tmp_path, DATA % ("t.csv", ""), {"t.csv": GERMAN}).preprocessing.to_json()
    del stored["number_format"]
    assert from_json(stored).number_format is None


@pytest.mark.parametrize("first", ["1.000,5", "1,5"])
def test_commas_between_fields_are_in_no_number(tmp_path: Path, first: str) -> None:
    """English measurements beside a German training file."""
    train = "v;w\n" + "".join(f"{number};{row}\n" for row, number in enumerate([first, "2,5", "3,5", "4,5"]))
    other = "v,w\n" + "".join(f"{row + 1}.20{row},{row}\n" for row in range(8))
    expected = pd.read_csv(io.StringIO(other)).to_numpy(np.float32)
    data = DATA % ("t.csv", ", validation: o.csv")
    found = prepared(tmp_path, data, {"t.csv": train, "o.csv": other}).parts["validation"].assembled
    np.testing.assert_array_equal(found.raw.inputs["x"], expected)
    np.testing.assert_array_equal(predicted(tmp_path, train, other).assembled.raw.inputs["x"], expected)


# One column of decimal commas, or two


DECIMALS = "1,5\n2,5\n3,25\n4,75\n"
ONE = "{train: t.csv, features: %s, target: %s, window: {length: 2}, csv: %s}"


@pytest.mark.parametrize("features", ["['0']", "null"])
def test_rows_of_one_comma_are_two_columns_or_decimals_and_asked_for(tmp_path: Path, features: str) -> None:
    with pytest.raises(DataError) as caught:
        prepared(tmp_path, ONE % (features, "'0'", "{header: none}"), {"t.csv": DECIMALS})
    assert str(caught.value) == (
        "t.csv: its rows, such as '1,5', may be two columns or one of decimal commas; say which: data.csv: "
        '{separator: ","} or {separator: ";", decimal: ","}'
    )


@pytest.mark.parametrize(
    ("features", "given", "separator"),
    [
        ("'0'", '{header: none, separator: ";", decimal: ","}', ";"), ("'0'", '{header: none, decimal: ","}', ";"),
        ("v", "{names: [v]}", ";"), ("'0'", '{header: none, separator: ","}', ","),
        ("'0', '1'", "{header: none}", ","), ("v", "{names: [v, w]}", ","),
    ],
)  # fmt: skip
def test_what_says_that_they_are_is_believed(
    tmp_path: Path, features: str, given: str, separator: str
) -> None:
    target = features.partition(",")[0]
    found = prepared(tmp_path, ONE % (f"[{features}]", target, given), {"t.csv": DECIMALS})
    decimal = "," if separator == ";" else "."
    frame = pd.read_csv(io.StringIO(DECIMALS), header=None, sep=separator, decimal=decimal)
    expected = frame.to_numpy(np.float32)[:, : features.count(",") + 1]
    np.testing.assert_array_equal(found.train.assembled.raw.inputs["x"], expected)


def test_a_file_to_predict_for_has_the_columns_of_the_training(tmp_path: Path) -> None:
    files = dict.fromkeys(("t.csv", "o.csv"), DECIMALS)
    data = ONE % ("['0']", "'1'", "{header: none}")
    spec = spec_of(tmp_path, f"{data}\npredict: [{{path: o.csv, name: o}}]", files)
    found = to_predict(spec, {"name": "o", "path": "o.csv"}, prepared(tmp_path, data, files).preprocessing)
    assert found.assembled.raw.inputs["x"][:, 0].tolist() == [1, 2, 3, 4]


# What only later rows show


COUNTS = "t\tv\tw\n" + "".join(
    f"2026-01-01T00:00:00.{row:06}\t{row % 900}\t{row % 90}\n" for row in range(40_000)
)
"""More than is looked at beforehand."""

THOUSANDTHS = "t\tv\tw\n" + "".join(
    f"2026-01-01T00:00:00.{row:06}\t{10 + row % 89}.{row % 999 + 1:03}\t{row % 90}\n" for row in range(40_000)
)
ONE_FILE = "{train: t.tsv, features: [v, w], target: v, time: t, window: {length: 2}%s}"
LATER = "2026-01-01T00:00:01\t%s\t5\n"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (COUNTS + LATER % "1.234", "row 40002: column v: holds '1.234', which may be a thousand or one and a bit "
         "beside '100' (row 102)"),
        (COUNTS + LATER % '"7.000"' + "\n" * 3, "row 40002: column v: holds '7.000', which may be a thousand or one "
         "and a bit beside '100' (row 102)"),
        (COUNTS.replace("\t9", "\t+9") + LATER % "1.234", "row 40002: column v: holds '1.234', which may be a "
         "thousand or one and a bit beside '100' (row 102)"),
        (THOUSANDTHS + LATER % "567", "row 2: column v: holds '10.001', which may be a thousand or one and a bit "
         "beside '567' (row 40002)"),
    ],
)  # fmt: skip
def test_numbers_that_later_rows_make_ambiguous_are_refused(tmp_path: Path, content: str, what: str) -> None:
    with pytest.raises(DataError) as caught:
        prepared(tmp_path, ONE_FILE % "", {"t.tsv": content})
    assert str(caught.value) == f"t.tsv: {what}; {WHICH}"


@pytest.mark.parametrize(
    ("content", "given", "decimal", "thousands"),
    [
        (COUNTS + LATER % "1.234" + LATER.replace(":01", ":02") % "0.5", "", ".", None),
        (COUNTS + LATER % "1.234", ', csv: {decimal: "."}', ".", None),
        (COUNTS + LATER % "1.234", ', csv: {thousands: "."}', ",", "."),
        (COUNTS + LATER % "1.234", ', csv: {missing: ["1.234"]}, missing: drop', ".", None),
        (THOUSANDTHS + LATER % "567.000", "", ".", None),
        (THOUSANDTHS + LATER % "567" + LATER.replace(":01", ":02") % "1567.123", "", ".", None),
        (COUNTS + LATER % "1234", "", ".", None),
        (COUNTS + LATER % "12345678901234567890", "", ".", None),
    ],
)  # fmt: skip
def test_numbers_that_are_written_one_way_are_read_so(
    tmp_path: Path, content: str, given: str, decimal: str, thousands: str | None
) -> None:
    found = prepared(tmp_path, ONE_FILE % given, {"t.tsv": content}).train.assembled.raw.inputs["x"]
    frame = pd.read_csv(
        io.StringIO(content), sep="\t", decimal=decimal, thousands=thousands, usecols=["v", "w"]
    )
    expected = frame[["v", "w"]].to_numpy(np.float64)
    if "missing" in given:
        expected[expected == 1.234] = np.nan
    np.testing.assert_array_equal(found[:, :2], expected.astype(np.float32))


def test_hexadecimal_numbers_below_whole_ones_are_no_numbers(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 40002: column v: holds '0x1F'; expected a number"):
        prepared(tmp_path, ONE_FILE % "", {"t.tsv": COUNTS + LATER % "0x1F"})


def test_thousands_of_one_file_beside_hundreds_of_another_are_refused(tmp_path: Path) -> None:
    files = {"a.tsv": "v\tw\n567\t1\n999\t2\n", "b.tsv": "v\tw\n1.000\t1\n1.001\t2\n"}
    with pytest.raises(DataError) as caught:
        table(tmp_path, files)
    assert str(caught.value) == (
        "b.tsv: row 2: column v: holds '1.000', which may be a thousand or one and a bit beside '567' (a.tsv: row 2); "
        f"{WHICH}"
    )
