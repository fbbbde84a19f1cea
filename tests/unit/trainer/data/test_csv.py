"""Csv files as people have them: each says the same as a plain one, or is refused with what would make it readable."""

# ruff: noqa: E501 - a case on each line

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from gpujobs.trainer.data import prepare
from gpujobs.trainer.data.reading import date_formats, table_files, tables, text, times
from gpujobs.trainer.data.reading.wanted import Wanted
from gpujobs.trainer.failures import DataError

from .making import alone, csv, everything, prepared, spec_of, there

VALUES = [1.5, -2.0, 1234.5, 0.25, 7.0, 8.0, 9.0, 10.0]
HOURS = [f"2021-03-{27 + hour // 24:02}T{hour % 24:02}:00:00" for hour in range(20, 28)]
PLAIN = "t,v\n" + "".join(f"{t},{v}\n" for t, v in zip(HOURS, VALUES, strict=True))
DATA = "{train: %s, time: %s, target: v, window: {length: 3}%s}"


def day_first(hour: str) -> str:
    return f"{hour[8:10]}.{hour[5:7]}.{hour[:4]} {hour[11:16]}"


def written(separator: str = ",", point: str = ".", time: Any = str, more: str = "t,v") -> str:
    lines = [more.replace(",", separator)]
    return (
        "\n".join(
            [
                *lines,
                *(
                    f"{time(t)}{separator}{str(v).replace('.', point)}"
                    for t, v in zip(HOURS, VALUES, strict=True)
                ),
            ]
        )
        + "\n"
    )


def compressed(content: str, kind: str) -> bytes:
    if kind == "gz":
        return gzip.compress(content.encode())
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content.encode())
    return bytes(sink.getvalue().to_pybytes())


SAME = {
    "semicolons, decimal commas, a mark and days first": ("t.csv", "\ufeff" + written(";", ",", day_first), ""),
    "tabs": ("t.tsv", written("\t"), ""),
    "pipes": ("t.txt", written("|"), ""),
    "blanks": ("t.txt", written("   "), ""),
    "utf-16": ("t.csv", written(";", ",").encode("utf-16"), ""),
    "utf-16 without a mark": ("t.csv", written().encode("utf-16-le"), ""),
    "latin-1": ("t.csv", written(more="t,v,Wärme").replace("\n", ",1\n").replace("Wärme,1", "Wärme").encode("latin-1"), ", features: v"),
    "CR alone": ("t.csv", PLAIN.replace("\n", "\r"), ""),
    "CR LF, and blank lines": ("t.csv", PLAIN.replace("\n", "\r\n\r\n"), ""),
    "comments above and between": ("t.csv", "# logger 3\n# started\n" + PLAIN.replace("\n2021-03-28", "\n# a day\n2021-03-28", 1), ""),
    "lines before the names": ("t.csv", "Station 7, north\nof here\n" + PLAIN, ", csv: {skip: 2}"),
    "no names": ("t.csv", PLAIN.partition("\n")[2], ", csv: {header: none, names: [t, v]}"),
    "no names, found by looking": ("t.csv", PLAIN.partition("\n")[2], ", csv: {names: [t, v]}"),
    "blanks around names and values": ("t.csv", PLAIN.replace(",", " , "), ""),
    "quoted numbers": ("t.csv", written().replace(",", ',"').replace("\n", '"\n').replace('t,"v"', "t,v"), ""),
    "a line of units": ("t.csv", PLAIN.replace("t,v\n", "t,v\n[UTC],[kW]\n"), ""),
    "an index that pandas has written": ("t.csv", "\n".join(f"{'' if n == 0 else n - 1},{line}" for n, line in enumerate(PLAIN.splitlines())) + "\n", ""),
    "an empty column at the end": ("t.csv", PLAIN.replace("\n", ",\n"), ""),
    "a separator at each line's end but the first": ("t.csv", PLAIN.replace("\n", ",\n").replace("v,", "v"), ""),
    "a separator at the end of the names alone": ("t.csv", PLAIN.replace("t,v\n", "t,v,\n"), ""),
    "units with a dash for the time": ("t.csv", PLAIN.replace("t,v\n", "t,v\n-,kW\n"), ""),
    "a typesetter's minus": ("t.csv", PLAIN.replace(",-", ",\u2212"), ""),
    "its minus before a decimal comma": ("t.csv", written(";", ",").replace(";-", ";\u2212"), ""),
    "blanks that do not break between thousands": ("t.csv", written(";", ",").replace("1234", "1\u00a0234"), ', csv: {thousands: " "}'),
    "one of them, as the file has it": ("t.csv", written(";", ",").replace("1234", "1\u202f234"), ', csv: {thousands: "\u202f"}'),
    "apostrophes between thousands": ("t.csv", written(";", ",").replace("1234", "1'234"), ", csv: {thousands: \"'\"}"),
    "gzip": ("t.csv.gz", compressed(PLAIN, "gz"), ""),
    "zstd": ("t.csv.zst", compressed(PLAIN, "zst"), ""),
    "percent signs": ("t.csv", PLAIN.replace("\n2", "%\n2").replace("v%", "v"), ', csv: {units: "%"}'),
    "money": ("t.csv", PLAIN.replace(",", ",€ ").replace("€ v", "v"), ', csv: {units: "€"}'),
    "numbers with thousands": ("t.csv", PLAIN.replace("1234.5", '"1,234.5"'), ""),
    "numbers with points between thousands": ("t.csv", written(";", ",").replace("1234,5", "1.234,5"), ""),
    "numbers with blanks between thousands": ("t.csv", written(";").replace("1234.5", "1 234.5"), ', csv: {thousands: " "}'),
    "month names": ("t.csv", written(time=lambda t: f"{t[8:10]}-Mar-{t[:4]} {t[11:16]}"), ""),
    "two digits of the year": ("t.csv", written(time=lambda t: f"{t[8:10]}.{t[5:7]}.{t[2:4]} {t[11:16]}"), ""),
    "fractions of seconds": ("t.csv", written(time=lambda t: day_first(t) + ":00.000"), ""),
    "hours of twelve": ("t.csv", written(time=lambda t: f"3/{t[8:10]}/2021 {(int(t[11:13]) + 11) % 12 + 1}:00 {'AM' if t[11:13] < '12' else 'PM'}"), ""),
}  # fmt: skip


@pytest.mark.parametrize("case", SAME.values(), ids=SAME)
def test_a_file_as_it_comes_says_the_same_as_a_plain_one(tmp_path: Path, case: tuple[str, Any, str]) -> None:
    name, content, more = case
    plain = prepared(tmp_path, DATA % ("plain.csv", "t", ", features: v"), {"plain.csv": PLAIN})
    found = prepared(tmp_path, DATA % (name, "t", more), {name: content})
    np.testing.assert_array_equal(everything(found.train.samples), everything(plain.train.samples))
    assert found.train.samples.target("y").tolist() == plain.train.samples.target("y").tolist()
    assert (
        there(found.train.assembled.raw.time).astype("datetime64[s]").tolist()
        == there(plain.train.assembled.raw.time).tolist()
    )


@pytest.mark.parametrize(("first", "is_said"), [(0, True), (1, True), (2, False)])
def test_a_column_that_numbers_the_rows_is_said_to_be_a_feature(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], first: int, is_said: bool
) -> None:
    """As pandas writes an index that had been made a column: `df.reset_index().to_csv(index=False)`."""
    line = "t.csv: column 1 (index) numbers the rows, as an index does, and is a feature: say in data.features which"
    numbered = [f"{'index' if n < 0 else n + first},{row}" for n, row in enumerate(PLAIN.splitlines(), -1)]
    prepared(tmp_path, DATA % ("t.csv", "t", ""), {"t.csv": "\n".join(numbered) + "\n"})
    assert (line in capsys.readouterr().out) == is_said
    prepared(tmp_path, DATA % ("t.csv", "t", ", features: [v]"), {"t.csv": "\n".join(numbered) + "\n"})
    assert line not in capsys.readouterr().out


def test_yes_and_no_written_as_words_here_and_as_numbers_there_are_no_four_classes(tmp_path: Path) -> None:
    rows = {"a.csv": ("True", "False"), "b.csv": ("1", "0")}
    files = {name: csv({"x": range(20), "kind": kinds * 10}) for name, kinds in rows.items()}
    data = "{train: [a.csv, b.csv], features: [x], target: kind, window: {length: 4}}"
    rest = "model: {layers: [Flatten: {}, Dense: {units: 4}]}\ntraining: {loss: sparse_categorical_crossentropy}\n"
    said = "column kind: holds False, True beside 0, 1, which would be 4 classes; expected yes and no to be written alike"
    with pytest.raises(DataError, match=said):
        prepared(tmp_path, data, files, rest=rest)


def test_how_a_file_is_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepared(tmp_path, DATA % ("t.csv", "t", ""), {"t.csv": "\ufeff" + written(";", ",", day_first)})
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "t.csv: read as: separator ;, decimal comma, times as %d.%m.%Y %H:%M."
    prepared(tmp_path, DATA % ("t.csv", "t", ""), {"t.csv": PLAIN})
    assert "read as" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("separator", "is_said"), [(";", True), ("\t", True), ("|", True), (" ", True), (",", False)]
)
def test_points_that_may_stand_between_thousands_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], separator: str, is_said: bool
) -> None:
    rows = "".join(f"{day}{separator}{day + 1}.250\n" for day in range(9))
    prepared(tmp_path, DATA % ("t.csv", "t", ""), {"t.csv": f"t{separator}v\n{rows}"})
    assert ("numbers such as 1.250 with a decimal point" in capsys.readouterr().out) == is_said


def test_a_date_and_a_time_in_two_columns(tmp_path: Path) -> None:
    rows = "".join(f"{t[8:10]}/{t[5:7]}/{t[:4]};{t[11:]};{v}\n" for t, v in zip(HOURS, VALUES, strict=True))
    found = prepared(tmp_path, DATA % ("t.txt", "[Date, Time]", ""), {"t.txt": "Date;Time;v\n" + rows})
    assert found.train.assembled.raw.features == ("v",)
    assert there(found.train.assembled.raw.time).astype(str).tolist() == HOURS


def test_declared_missing_values_are_missing_however_they_are_written(tmp_path: Path) -> None:
    content = "t,v\n0,1\n1,?\n2,-999\n3,-999.00\n4,\n5,None\n6,  \n7,5\n"
    source = table_files.look("t.csv", write(tmp_path / "t.csv", content), {"missing": ["?", "-999"]})
    read = tables.read([source], Wanted(("v",)), tmp_path)
    np.testing.assert_array_equal(read.values[:, 0], [1, *[np.nan] * 6, 5])


def write(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


# Truths and names


TRUTHS = {
    "pandas": ("True", "False"),
    "lower case": ("true", "false"),
    "yes": ("yes", "no"),
    "Y": ("Y", "N"),
    "upper case": ("TRUE", "FALSE"),
}


@pytest.mark.parametrize("words", TRUTHS.values(), ids=TRUTHS)
def test_truths_are_one_and_zero_as_features(tmp_path: Path, words: tuple[str, str]) -> None:
    rows = "".join(f"{n},{words[n % 3 > 0]},{n}\n" for n in range(9))
    found = prepared(tmp_path, DATA % ("t.csv", "t", ""), {"t.csv": "t,holiday,v\n" + rows})
    assert found.train.assembled.raw.features == ("holiday", "v")
    assert everything(found.train.samples)[0, :, 0].tolist() == [1, 0, 0]


def test_truths_with_holes_are_missing_there(tmp_path: Path) -> None:
    rows = "".join(f"{n},{['True', 'False', ''][n % 3]},{n}\n" for n in range(12))
    found = prepared(tmp_path, DATA % ("t.csv", "t", ", missing: fill"), {"t.csv": "t,holiday,v\n" + rows})
    assert everything(found.train.samples)[0, :, 0].tolist() == [1, 0, 0]


LABELLED = "{train: t.csv, sequence: {by: run}, features: x, target: kind}"
CLASSES = "model: {layers: [LSTM: {units: 2}, Dense: {units: %d}]}\ntraining: {loss: sparse_categorical_crossentropy}\n"


@pytest.mark.parametrize(
    "names",
    [
        ("True", "False"),
        ("NA", "EU"),
        ("null", "one"),
        ("None", "nan"),
        ("yes", "no"),
        ("Yes", "yes"),
        ("1", "b"),
    ],
)
def test_labels_have_the_names_that_the_file_has(tmp_path: Path, names: tuple[str, str]) -> None:
    rows = "".join(f"r{n // 3},{n},{names[n // 3 % 2]}\n" for n in range(12))
    found = prepared(tmp_path, LABELLED, {"t.csv": "run,x,kind\n" + rows}, rest=CLASSES % 2)
    known = found.preprocessing.classes["y"]
    assert known.names == tuple(sorted(names))
    assert known.decode(found.train.samples.target("y")).tolist() == [names[n % 2] for n in range(4)]


def test_labels_that_become_words_further_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the beginning by which columns are told."""
    monkeypatch.setattr("gpujobs.trainer.data.reading.dialect.HEAD_BYTES", 60)
    rows = "".join(f"r{n // 3},{n},{n // 3 if n < 9 else 'many'}\n" for n in range(12))
    found = prepared(tmp_path, LABELLED, {"t.csv": "run,x,kind\n" + rows}, rest=CLASSES % 4)
    assert found.preprocessing.classes["y"].names == ("0", "1", "2", "many")


def test_classes_that_differ_by_case_are_two_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"r{n // 3},{n},{['Yes', 'yes'][n // 3 % 2]}\n" for n in range(12))
    prepared(tmp_path, LABELLED, {"t.csv": "run,x,kind\n" + rows}, rest=CLASSES % 2)
    assert (
        capsys.readouterr().out
        == "t.csv: column kind: 'Yes' and 'yes' are two classes, as they are written.\n"
    )


def test_truths_of_parquet_are_labels_by_their_names(tmp_path: Path) -> None:
    table = pa.table(
        {
            "run": [f"r{n // 3}" for n in range(12)],
            "x": np.arange(12.0),
            "kind": [n // 3 % 2 == 0 for n in range(12)],
        }
    )
    found = prepared(tmp_path, LABELLED.replace("csv", "parquet"), {"t.parquet": table}, rest=CLASSES % 2)
    assert found.preprocessing.classes["y"].names == ("False", "True")


def test_bools_of_arrays_are_features_and_labels(tmp_path: Path) -> None:
    x = np.arange(24).reshape(6, 4, 1) % 3 == 0
    found = prepared(
        tmp_path, "{train: t.npz}", {"t.npz": {"x": x, "y": np.arange(6) % 2 == 0}}, rest=CLASSES % 2
    )
    assert everything(found.train.samples).tolist() == x.astype(float).tolist()
    assert found.train.samples.target("y").astype(int).tolist() == [1, 0, 1, 0, 1, 0]


def test_ids_of_a_table_go_into_an_embedding(tmp_path: Path) -> None:
    rows = "".join(f"d{n // 3},{n % 5 + 1},{n // 3 % 2}\n" for n in range(12))
    rest = "model: {layers: [Embedding: {input_dim: 6, output_dim: 2, mask_zero: true}, GRU: {units: 2}, Dense: {units: 1}]}\ntraining: {loss: binary_crossentropy}\n"
    found = prepared(
        tmp_path,
        "{train: t.csv, sequence: {by: doc}, features: token, target: label}",
        {"t.csv": "doc,token,label\n" + rows},
        rest=rest,
    )
    batch = alone(found.train.samples.batch(np.arange(4)).x)
    assert batch.dtype == np.int32
    assert batch.tolist() == [[1, 2, 3], [4, 5, 1], [2, 3, 4], [5, 1, 2]]


# Several files


def test_several_files_are_one_table(tmp_path: Path) -> None:
    head, *rows = PLAIN.splitlines(keepends=True)
    files = {
        "a.csv": head + "".join(rows[:4]),
        "b.csv.gz": compressed(
            "v,t\n" + "".join(f"{row.strip().split(',')[1]},{row.split(',')[0]}\n" for row in rows[4:]), "gz"
        ),
    }
    whole = prepared(tmp_path, DATA % ("plain.csv", "t", ""), {"plain.csv": PLAIN})
    found = prepared(tmp_path, DATA % ("[a.csv, b.csv.gz]", "t", ""), files)
    np.testing.assert_array_equal(everything(found.train.samples), everything(whole.train.samples))


def test_columns_that_only_a_later_file_has_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head, *rows = PLAIN.splitlines()
    files = {
        "a.csv": "\n".join([head, *rows[:4]]),
        "b.csv": "\n".join([f"{head},w", *(f"{row},7" for row in rows[4:])]),
    }
    found = prepared(tmp_path, DATA % ("[a.csv, b.csv]", "t", ""), files)
    assert everything(found.train.samples).shape[-1] == 1
    assert "b.csv: has columns that a.csv lacks, which are left out: w." in capsys.readouterr().out


@pytest.mark.parametrize("how", ["group: file", "group: v2"])
def test_each_file_is_a_series(tmp_path: Path, how: str) -> None:
    files = {
        f"{name}.csv": "t,v,v2\n" + "".join(f"{n},{n + 10 * i},{name}\n" for n in range(5))
        for i, name in enumerate("ab")
    }
    found = prepared(tmp_path, DATA % ("[a.csv, b.csv]", "t", f", features: v, {how}"), files)
    assert everything(found.train.samples)[:, :, 0].tolist() == [
        [0, 1, 2],
        [1, 2, 3],
        [10, 11, 12],
        [11, 12, 13],
    ]
    named = found.train.samples.labels["group"].take(np.arange(4)).tolist()
    assert named == (["a.csv", "a.csv", "b.csv", "b.csv"] if how == "group: file" else list("aabb"))


def test_each_file_is_a_sequence(tmp_path: Path) -> None:
    files = {f"{name}.csv": "x,kind\n" + f"1,{name}\n" * (2 + i) for i, name in enumerate("ab")}
    found = prepared(
        tmp_path, "{train: [a.csv, b.csv], sequence: {by: file}, target: kind}", files, rest=CLASSES % 2
    )
    assert there(found.train.assembled.raw.lengths).tolist() == [2, 3]
    assert found.preprocessing.classes["y"].names == ("a", "b")


# Errors


def refusal(root: Path, content: Any, more: str = "", time: str = "t", name: str = "t.csv") -> list[str]:
    files = content if isinstance(content, dict) else {name: content}
    train = name if len(files) == 1 else f"[{', '.join(files)}]"
    with pytest.raises(DataError) as caught:
        prepare(spec_of(root, DATA % (train, time, more), files))
    return str(caught.value).splitlines()


def test_every_cell_that_is_no_number_is_named_with_its_row_as_an_editor_counts(tmp_path: Path) -> None:
    content = "# a comment\nt,v,w\n0,1,2\n\n1,x1,3\n# another\n2,3,-\n3,4,5\n4,5,6\n"
    assert refusal(tmp_path, content) == [
        "t.csv: row 5: column v: holds 'x1'; expected a number: data.csv: {units: [\"x\"]} reads numbers that stand beside it",
        "t.csv: row 7: column w: holds '-'; expected a number: data.csv: {missing: [\"-\"]} says that it stands for no value",
    ]


def test_rows_are_counted_alike_in_every_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In small blocks, with blank lines, and with series that stand mixed."""
    monkeypatch.setattr(text, "BLOCK_BYTES", 40)
    rows = [f"{'ab'[n % 2]},{n // 2},{n}" for n in range(20)]
    rows[3] = ""
    content = "g,t,v\n" + "\n".join(rows) + "\n"
    wrong = content.replace("\na,7,14\n", "\na,7,\n")
    line = wrong.splitlines().index("a,7,") + 1
    assert refusal(tmp_path, wrong, ", group: g") == [
        f"t.csv: column v: holds 1 NaN and 0 infinite values (row {line}); expected finite numbers: remove or replace them, or say data.missing: drop or fill"
    ]
    wrong = content.replace("\na,7,14\n", "\na,5,14\n")
    line = wrong.splitlines().index("a,5,14") + 1
    assert refusal(tmp_path, wrong, ", group: g")[0].startswith(
        f"t.csv: column t: its times are out of order: row {line} has 5, row {line - 2} before it 6;"
    )


def test_many_wrong_cells_are_counted(tmp_path: Path) -> None:
    content = "t,v\n" + "".join(f"{n},{'n/a?' if n > 30 else n}\n" for n in range(50))
    lines = refusal(tmp_path, content)
    assert len(lines) == 5
    assert lines[-1].endswith("(14 more such rows)")


def test_the_problems_of_all_files_come_together(tmp_path: Path) -> None:
    assert refusal(tmp_path, {"a.csv": "t,v\n0,1\n", "b.csv": "t,x\n0,1\n", "c.csv": "s,v\n1,2\n"}) == [
        "b.csv: has no column v; it has t, x",
        "c.csv: has no column t; it has s, v",
    ]


REFUSED = {
    "no names": (PLAIN.partition("\n")[2], "row 1 holds 2021-03-27T20:00:00, 1.5, which are values; expected the names of the columns there: say data.csv: {header: none}, which calls them 0, 1, or data.csv: {header: none, names: [...]} with 2 names (or data.csv: {header: first} if these are names)"),
    "days that may be months": (written(time=lambda t: f"3/{1 + int(t[11:13]) % 12}/2021"), "column t: holds times such as '3/4/2021', in which the day or the month may stand first; say which: data.csv: {dates: \"%d/%m/%Y\"} or {dates: \"%m/%d/%Y\"}"),
    "a day that is none": (written(time=day_first).replace("28.03", "31.02"), "row 6: column t: holds '31.02.2021 00:00'; expected a time written %d.%m.%Y %H:%M: February 2021 has 28 days"),
    "two signs that may separate": ("t;a,v;b\n1;2,3;4\n5;6,7;8\n", "its fields may be separated by \",\" or \";\"; say which: data.csv: {separator: \",\"}"),
    "no names below a comment and a blank line": ("# made by x\n\n1,2\n3,4\n", "row 3 holds 1, 2, which are values; expected the names of the columns there: say data.csv: {header: none}, which calls them 0, 1, or data.csv: {header: none, names: [...]} with 2 names (or data.csv: {header: first} if these are names)"),
    "lines above": ("Station: A\nDate: 2026\n\nv;w\n1,5;2\n2,5;3\n3,5;4\n", "its first row is 'Station: A', and the names of the columns seem to be v, w: say data.csv: {skip: 3}"),
    "lines above with commas": ("Station: A, north\n2026-01-31\nv;w\n1,5;2\n2,5;3\n3,5;4\n" + 30 * "4,5;4\n", "its first row is 'Station: A, north', and the names of the columns seem to be v, w: say data.csv: {skip: 2}"),
    "a line above that is a value": ("2026-01-31\nv\tw\n1\t2\n2\t3\n3\t4\n", "its first row is '2026-01-31', and the names of the columns seem to be v, w: say data.csv: {skip: 1}"),
    "names behind a sign": ("# t,v\n1,2\n3,4\n", "row 1 seems to have the column names behind #, '# t,v'; say so: data.csv: {comment: \"#\", header: none, names: [t, v]}"),
    "rows with a name less": ("t,v\n1,2,3\n1,2,4\n1,2,5\n", "its first row has 2 names, and the rows below it 3 fields; expected as many: say data.csv: {header: first, names: [...]} with a name for each, the first one too"),
    "thousands or decimals": ("t;v\n1;900\n2;950\n3;1.000\n4;1.050\n", "column v: holds '1.000' beside whole numbers, which may be a thousand or one and a bit; say which: data.csv: {thousands: \".\"} or data.csv: {decimal: \".\"}"),
    "a footer": (PLAIN + "Total,,9\n", "row 10 has 3 fields; expected 2, as the first row has; it holds 'Total,,9': quote what has the separator in it"),
    "bytes of another encoding further down": (PLAIN.encode() + b"2021-03-28T09:00:00,\xe9\n", None),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_could_be_read_in_two_ways_is_asked_for(tmp_path: Path, case: tuple[Any, str | None]) -> None:
    content, expected = case
    found = refusal(tmp_path, content)
    assert found[0] == f"t.csv: {expected}" if expected else "row 10: column v" in found[0]


def test_text_as_a_feature_says_what_it_holds(tmp_path: Path) -> None:
    rows = "".join(f"{n},{['red', 'blue'][n % 2]},{n},{['x', 'y', 'z'][n % 3]}\n" for n in range(9))
    assert refusal(tmp_path, "t,colour,v,kind\n" + rows) == [
        "t.csv: column colour holds text: 'red', 'blue'; expected numbers: name the columns to use in data.features, or write a column of 0 and 1 for each of its values",
        "t.csv: column kind holds text: 'x', 'y', 'z'; expected numbers: name the columns to use in data.features, or write a column of 0 and 1 for each of its values",
    ]


def test_a_date_that_is_no_feature_is_told(tmp_path: Path) -> None:
    content = "Date,Time,v\n" + "".join(f"27.03.2021,{n:02}:00,{n}\n" for n in range(8))
    assert (
        refusal(tmp_path, content, time="Time")[0]
        == "t.csv: column Date holds text: '27.03.2021'; these look like times: say data.time: [Date, Time], or name the columns in data.features"
    )


@pytest.mark.parametrize("form", date_formats.OTHERS)
def test_a_time_that_is_not_read_proposes_a_format_that_reads_it(tmp_path: Path, form: str) -> None:
    import datetime

    days = [datetime.datetime(2020, month, 28, 7) for month in range(1, 9)]
    lines = [f'"{day.strftime(form)}",{number}' for number, day in enumerate(days)]
    content = "t,v\n" + "\n".join(lines) + "\n"
    first, *_ = refusal(tmp_path, content)
    proposed = first.partition('{dates: "')[2].partition('"')[0]
    data = DATA % ("t.csv", "t", f', csv: {{dates: "{proposed}"}}')
    found = prepared(tmp_path, data, {"t.csv": content}).train.assembled.raw.time
    assert found is not None
    assert found.tolist() == [datetime.datetime.strptime(day.strftime(form), form) for day in days]


@pytest.mark.parametrize(
    "form",
    ["%d.%m.%Y %H:%M", "%Y/%m/%d %H:%M:%S", "%d-%b-%Y", "%m/%d/%Y %I:%M %p", "%Y-%m", "%d.%m.%y", "%Y%m%d%H"],
)
def test_declared_formats_are_those_of_python(form: str) -> None:
    import datetime

    moments = [
        datetime.datetime(2021, 1, 31, 5, 30),
        datetime.datetime(2024, 2, 29, 23, 59),
        datetime.datetime(1999, 12, 1),
    ]
    written_ones = [moment.strftime(form) for moment in moments]
    found, wrong = times.parse(pa.array(written_ones), times.TimeFormat("written", (form,)))
    assert not len(wrong)
    assert found.tolist() == [datetime.datetime.strptime(one, form) for one in written_ones]


def test_an_index_without_a_name_is_left_out_and_called_no_feature(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = "".join(f"{row},{value}\n" for row, value in enumerate(VALUES))
    found = prepared(tmp_path, "{train: t.csv, target: v, window: {length: 3}}", {"t.csv": ",v\n" + content})
    np.testing.assert_array_equal(found.train.assembled.raw.inputs["x"][:, 0], np.asarray(VALUES, np.float32))
    said = capsys.readouterr().out
    assert "t.csv: column 1 has no name" in said
    assert "numbers the rows" not in said


def test_lines_in_quotes_do_not_hide_the_separator(tmp_path: Path) -> None:
    note = '"one, two, three, four, five\nlines"' + ";" + '"and, with\n\n""three"""'
    rows = "".join(f"{t};{note};{v};{w}\n" for w, (t, v) in enumerate(zip(HOURS, VALUES, strict=True)))
    for content in ("t;n;m;v;w\n" + rows, rows):
        given = ", features: [v, w]" + (", csv: {names: [t, n, m, v, w]}" if content is rows else "")
        found = prepared(tmp_path, DATA % ("t.csv", "t", given), {"t.csv": content})
        expected = np.stack([VALUES, np.arange(len(VALUES))], 1)
        np.testing.assert_array_equal(found.train.assembled.raw.inputs["x"][:, :2], np.float32(expected))
