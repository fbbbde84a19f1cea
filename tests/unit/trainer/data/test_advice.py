"""What is said of a cell that is no number: what reads it, or how it is written so that it is read."""

# ruff: noqa: E501 - a case on each line

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from gpujobs.trainer.data.reading import cells

from .making import everything, prepared
from .test_csv import DATA, PLAIN, refusal


@pytest.mark.parametrize(
    ("cell", "decimal", "said"),
    [
        ("1'234", ".", """data.csv: {thousands: "'"} reads it"""),
        ("+1 234 567.5", ".", 'data.csv: {thousands: " "} reads it'),
        ("-1\u202f234,5", ".", 'data.csv: {thousands: " ", decimal: ","} reads it'),
        ("1\u00a0234.5", ".", 'data.csv: {thousands: " "} reads it'),
        ("1 234,5", ",", 'data.csv: {thousands: " "} reads it'),
        (
            "1,234",
            ".",
            'data.csv: {thousands: ","} reads it, or {decimal: ","} where the comma is the decimal sign',
        ),
        ("1,234,567", ".", 'data.csv: {thousands: ","} reads it'),
        ("1,234.5", ".", 'data.csv: {thousands: ","} reads it'),
        ("1.234,5", ".", 'data.csv: {thousands: ".", decimal: ","} reads it'),
        ("1.234.567", ".", 'data.csv: {thousands: ".", decimal: ","} reads it'),
        ("1,5", ".", 'data.csv: {decimal: ","} reads it'),
        ("1.5", ",", 'data.csv: {decimal: "."} reads it'),
        ("12 kg", ".", 'data.csv: {units: ["kg"]} reads numbers that stand beside it'),
        ("€12", ".", 'data.csv: {units: ["€"]} reads numbers that stand beside it'),
        ("5 m3", ".", 'data.csv: {units: ["m3"]} reads numbers that stand beside it'),
        ("5.5kg/m^3", ".", 'data.csv: {units: ["kg/m^3"]} reads numbers that stand beside it'),
        ('5"', ".", 'data.csv: {units: ["\\""]} reads numbers that stand beside it'),
        ("(5)", ".", "it looks like a negative number in parentheses, as in accounting: write it as -5"),
        (
            "($1,250.5)",
            ".",
            "it looks like a negative number in parentheses, as in accounting: write it as -$1,250.5",
        ),
        ("5,5-", ",", "it looks like a negative number with its minus behind it: write it as -5,5"),
        ("1d-3", ".", "it looks like a number with an exponent as Fortran writes it: write it as 1e-3"),
        ("0.5D+03", ".", "it looks like a number with an exponent as Fortran writes it: write it as 0.5e+03"),
        (
            "1.234-103",
            ".",
            "it looks like a number with an exponent as Fortran writes it: write it as 1.234e-103",
        ),
        ("10-200", ".", 'correct it, or data.csv: {missing: ["10-200"]} where it stands for no value'),
        ("yes", ".", "the column has numbers elsewhere: write 1 and 0"),
        ("--", ".", 'data.csv: {missing: ["--"]} says that it stands for no value'),
        ("broken", ".", 'correct it, or data.csv: {missing: ["broken"]} where it stands for no value'),
    ],
)
def test_what_reads_a_cell_that_is_no_number_is_said(cell: str, decimal: str, said: str) -> None:
    assert cells.advice(cell, cells.Writing(decimal=decimal), "v") == said


@pytest.mark.parametrize(
    "cell",
    [
        "1\u00a0234.5",
        "1\u202f234.5",
        "1 234.5",
        "1'234.5",
        "1_234.5",
        "1\u2019234.5",
        '1234.5 "',
        "1234.5 m^3",
    ],
)
def test_what_is_said_to_read_a_cell_does_in_a_job_file(tmp_path: Path, cell: str) -> None:
    content = PLAIN.replace(",", ";").replace("1234.5", '"' + cell.replace('"', '""') + '"')
    said = re.search(r"data\.csv: (\{.*\}) reads", refusal(tmp_path, content)[0])
    assert said is not None
    plain = everything(prepared(tmp_path, DATA % ("p.csv", "t", ""), {"p.csv": PLAIN}).train.samples)
    found = prepared(tmp_path, DATA % ("t.csv", "t", f", csv: {said[1]}"), {"t.csv": content})
    np.testing.assert_array_equal(everything(found.train.samples), plain)


@pytest.mark.parametrize(("sign", "other"), [(",", "."), (".", ",")])
def test_a_sign_between_thousands_that_stands_elsewhere_is_not_called_decimal_beside_itself(
    sign: str, other: str
) -> None:
    assert cells.advice(f"1{sign}23", cells.Writing(other, sign), "v") == (
        f'"{sign}" stands between thousands, with three digits behind it: correct it, or data.csv: {{decimal: "{sign}"}}, '
        f'without thousands: "{sign}", where it is the decimal sign'
    )


@pytest.mark.parametrize("cell", ["(5)", "5-", "1d-3", "5 m3"])
def test_each_value_of_a_column_written_in_another_way_is_named(tmp_path: Path, cell: str) -> None:
    """Not that the column holds text."""
    content = "t,v,w\n" + "".join(f"{row},{row},{cell}\n" for row in range(4))
    assert refusal(tmp_path, content)[0].startswith(
        f"t.csv: row 2: column w: holds '{cell}'; expected a number: "
    )
