"""Rounds, ratios and the table of `scripts/bench`."""

from __future__ import annotations

import pytest
from benchmarks.__main__ import main
from benchmarks.support import measurements
from benchmarks.support.options import Options
from benchmarks.support.rows import Row, ratios, table
from benchmarks.support.timing import alternating, until


def test_contenders_take_turns_and_nobody_is_always_first() -> None:
    assert list(alternating("abc", 3)) == list("abc" + "cba" + "abc")


def test_a_ratio_is_of_what_was_measured_in_the_same_round() -> None:
    row = ratios("one / other", [1.0, 4.0, 3.0], [2.0, 4.0, 1.0], at_most=1.3)
    assert row.values == (0.5, 1.0, 3.0)
    assert row.median == 1.0 and row.verdict == "reached"


def test_the_median_is_what_must_be_reached() -> None:
    assert Row("x", "s", (0.1, 0.4, 9.0), at_most=0.4).verdict == "reached"
    assert Row("x", "s", (0.1, 0.41, 9.0), at_most=0.4).verdict == "MISSED"
    assert Row("x", "s", (0.1,)).verdict == ""


def test_the_table_is_aligned_markdown() -> None:
    lines = table([Row("first", "s", (0.1234, 2.0, 321.4), 1.0), Row("second", "s", (), note="not here")])
    assert lines.splitlines() == [
        "| what   | unit |   min | median | max | at most |          |",
        "|--------|------|------:|-------:|----:|--------:|----------|",
        "| first  | s    | 0.123 |      2 | 321 |       1 | MISSED   |",
        "| second | s    |       |        |     |         | not here |",
    ]


def test_json_has_every_value_and_what_the_table_shows() -> None:
    row = Row("first", "s", (3.0, 1.0, 2.0), 1.5)
    assert row.to_json() == {
        "what": "first", "unit": "s", "values": [3.0, 1.0, 2.0],
        "min": 1.0, "median": 2.0, "max": 3.0, "at_most": 1.5, "note": "",
    }  # fmt: skip
    assert "median" not in Row("second", "s", (), note="not here").to_json()


def test_every_measurement_says_what_it_measures() -> None:
    assert {"bulk", "commands", "first_line", "first_result", "idle", "twelve_jobs", "waiting"} <= set(
        measurements.names()
    )
    assert all(measurements.description(name) for name in measurements.names())


def test_a_condition_that_never_comes_is_named() -> None:
    with pytest.raises(TimeoutError, match=r"the end: not within 0\.01 s"):
        until(lambda: False, 0.01, "the end")


def test_a_measurement_that_fails_costs_no_other_its_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(name: str, options: Options) -> list[Row]:
        if name == "idle":
            raise OSError("no such clock")
        return [Row("one", "s", (1.0,))]

    monkeypatch.setattr(measurements, "run", run)
    with pytest.raises(SystemExit) as ended:
        main(["idle", "bulk"])
    printed = capsys.readouterr()
    assert ended.value.code == 1
    assert "| one" in printed.out and "no such clock" in printed.err
