"""The picture of the time line: whose bar it is can be read or is not written, and what runs is seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gpujobs.results.pictures.timeline import fitting, picture, png
from gpujobs.view.timeline import DRAIN, EXPECTED, JOB, Lane, Span, Timeline

NOW = datetime(2026, 11, 27, 2, tzinfo=UTC)


def ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


def shown(*spans: Span) -> Timeline:
    return Timeline(ago(24), ago(-12), NOW, [Lane("box", "gpu", 0, "GPU-0", "H100", list(spans))])


def bars(drawn: Figure) -> list[Rectangle]:
    return [patch for patch in drawn.axes[0].patches if isinstance(patch, Rectangle)]


@pytest.mark.parametrize("minutes", [3, 10, 20, 30, 45, 60, 120, 600])
def test_a_label_has_the_whole_number_of_its_job_within_its_bar_or_is_left_out(minutes: int) -> None:
    span = Span(JOB, ago(14), ago(14 - minutes / 60), "a name that is long (somebody)", "COMPLETED", 1234, 1)
    drawn = picture(shown(span), UTC)
    drawn.draw_without_rendering()
    (bar,), texts = bars(drawn), drawn.axes[0].texts
    if minutes <= 20:
        assert not texts
    else:
        assert texts or minutes < 120
    for text in texts:
        assert text.get_text().split()[0] == "1234"
        box = text.get_window_extent()
        assert bar.get_window_extent().x0 <= box.x0 and box.x1 <= bar.get_window_extent().x1


def test_what_has_just_begun_to_run_is_seen_and_ends_at_the_present() -> None:
    drawn = picture(shown(Span(JOB, ago(0.001), None, "x", "RUNNING", 7, 1)), UTC)
    drawn.draw_without_rendering()
    (bar,) = bars(drawn)
    now = drawn.axes[0].lines[-1].get_window_extent().x0
    box = bar.get_window_extent()
    assert box.width >= 4 and abs(box.x1 - now) < 2


def test_the_legend_has_what_is_there() -> None:
    def named(*spans: Span) -> list[str]:
        return [
            text.get_text() for legend in picture(shown(*spans), UTC).legends for text in legend.get_texts()
        ]

    ended = Span(JOB, ago(3), ago(2), "x", "COMPLETED", 7, 1)
    assert named() == []
    assert named(ended) == ["ended"]
    drain = Span(DRAIN, ago(1), None, "fan")
    assert named(ended, replace(ended, kind=EXPECTED), drain) == ["ended", "expected", "drained"]


def test_names_of_any_script_and_dollars_are_drawn() -> None:
    assert png(shown(Span(JOB, ago(20), ago(1), "日本 $x^2$ \x1b[31m", "COMPLETED", 7, 1)), UTC).startswith(
        b"\x89PNG"
    )


def test_as_much_of_a_name_is_written_as_fits() -> None:
    span = Span(JOB, ago(3), ago(2), "tutorial-lstm", "COMPLETED", 105, 1)
    said = [fitting(span, room, len) for room in (2, 3, 7, 8, 12, 16, 17)]  # a unit for each letter
    assert said == ["", "105", "105", "105 tut…", "105 tutoria…", "105 tutorial-ls…", "105 tutorial-lstm"]
    assert fitting(Span(DRAIN, ago(3), None, "fan replaced"), 2, len) == ""
