"""A report as CSV: a line for each row, with every figure; nothing where nothing is known."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields

from gpujobs.view.report import Row


def text(rows: Sequence[Row]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, [one.name for one in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in asdict(row).items()} for row in rows)
    return file.getvalue()


def _cell(value: object) -> object:
    """A spreadsheet takes what begins so for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) else value
