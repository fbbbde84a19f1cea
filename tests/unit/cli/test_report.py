"""The tables, the CSV and the picture of a report, of rows of the test's own."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import datetime

import pytest

from gpujobs.cli.commands.report import _table
from gpujobs.results.pictures.report import _bars, _said, picture, png, span_in_words
from gpujobs.view import report_csv
from gpujobs.view.report import Row, hours_in_words

GPU = Row("a-user-with-a-name", 12, 34, 123.4, 0.0, 75.0, 7500.0, 0.12)
DEVICE = replace(
    GPU,
    key="machine-with-a-name:gpu 7",
    idle_hours=4.25,
    load=0.291,
    unused_hours=87.5,
    energy_joules=12e6,
    foreign_hours=3.0,
)


def test_tables_fit_80_columns_with_all_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = _table("device", [DEVICE], DEVICE, "from to")
    assert max(map(len, shown)) <= 80
    text = "\n".join(shown)
    for word in (
        "29%",
        "87.5 h",
        "3.33 kWh",
        "3.0 h",
        "4.2 h",
        "LOAD",
        "UNUSED",
        "ENERGY",
        "FOREIGN",
        "IDLE",
    ):
        assert word in text, word


def test_what_nobody_knows_has_no_table() -> None:
    shown = _table("user", [GPU], GPU, "from to")
    assert len(shown) == 3 and "LOAD" not in "\n".join(shown)


def test_a_few_minutes_are_not_shown_as_nothing() -> None:
    assert [hours_in_words(one) for one in (0.0, 0.0001, 0.049, 0.05, 0.26, 12.0)] == [
        "0.0",
        "<0.1",
        "<0.1",
        "0.1",
        "0.3",
        "12.0",
    ]
    some = replace(
        DEVICE, gpu_hours=0.01, cpu_hours=0.02, idle_hours=0.03, unused_hours=0.004, foreign_hours=0.02
    )
    text = "\n".join(_table("device", [some], some, "from to"))
    assert text.count("<0.1") == 5 and "0.0" not in text
    assert _said(replace(some, energy_joules=None)) == "<0.1 h, <0.1 h of strangers"


def test_the_csv_has_every_figure_and_nothing_where_nothing_is_known() -> None:
    (device, user) = csv.DictReader(io.StringIO(report_csv.text([DEVICE, GPU])))
    assert (device["energy_joules"], device["unused_hours"], device["load"]) == (
        "12000000.0",
        "87.5",
        "0.291",
    )
    assert {user[name] for name in ("energy_joules", "unused_hours", "load", "foreign_hours")} == {""}


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t"])
def test_a_spreadsheet_takes_no_name_for_a_formula(begin: str) -> None:
    (row,) = csv.DictReader(io.StringIO(report_csv.text([replace(GPU, key=f"{begin}cmd", load=-0.5)])))
    assert (row["key"], row["load"]) == (f"'{begin}cmd", "-0.5")


def test_the_picture_parts_the_hours_in_which_gpus_computed_from_those_in_which_they_did_not() -> None:
    rows = [DEVICE, replace(GPU, cpu_hours=2.0)]
    bars = {name: hours for name, _, _, hours in _bars(rows)}
    assert bars == {
        "GPU hours": [pytest.approx(35.9), 123.4],
        "GPU hours, unused": [87.5, 0.0],
        "CPU hours": [0.0, 2.0],
    }
    assert _said(DEVICE) == "123.4 h, 3.33 kWh, 3.0 h of strangers"
    assert [name for name, *_ in _bars([replace(GPU, gpu_hours=0.0)])] == ["GPU hours"]
    assert png(rows, "user", SINCE, UNTIL).startswith(b"\x89PNG")


SINCE, UNTIL = datetime(2026, 11, 20, 1, 45), datetime(2026, 11, 27, 1, 45)


@pytest.mark.parametrize(
    ("rows", "title", "series"),
    [
        ([GPU], "GPU hours by user, 20 to 27 Nov 2026", []),
        ([GPU, DEVICE], "GPU hours by user, 20 to 27 Nov 2026", ["GPU hours", "GPU hours, unused"]),
        ([replace(GPU, gpu_hours=0.0, cpu_hours=1.0)], "CPU hours by user, 20 to 27 Nov 2026", []),
        ([replace(GPU, cpu_hours=1.0)], "Hours by user, 20 to 27 Nov 2026", ["GPU hours", "CPU hours"]),
        ([], "GPU hours by user, 20 to 27 Nov 2026", []),
    ],
)
def test_the_picture_says_what_it_shows_and_its_legend_covers_no_bar(
    rows: list[Row], title: str, series: list[str]
) -> None:
    drawn = picture(rows, "user", SINCE, UNTIL)
    (axes,) = drawn.axes
    assert axes.get_title() == title and axes.get_xlabel() == f"{title.split(' by')[0]} of whole devices"
    assert axes.get_legend() is None
    shown = [text.get_text() for legend in drawn.legends for text in legend.get_texts()]
    assert shown == series
    drawn.draw_without_rendering()
    for legend in drawn.legends:
        assert legend.get_window_extent().y1 <= axes.get_window_extent().y0


@pytest.mark.parametrize(
    ("since", "said"),
    [
        (datetime(2026, 11, 27), "27 Nov 2026, 00:00 to 01:45"),
        (datetime(2026, 10, 28), "28 Oct to 27 Nov 2026"),
        (datetime(2025, 12, 1), "1 Dec 2025 to 27 Nov 2026"),
    ],
)
def test_a_span_is_told_as_people_say_it(since: datetime, said: str) -> None:
    assert span_in_words(since, UNTIL) == said
