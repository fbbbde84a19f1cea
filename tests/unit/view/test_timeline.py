"""The time line: rows, drains, what covers an instant, and its drawing in a terminal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gpujobs.cli import cells, lanes, streams
from gpujobs.results.pictures import timeline as picture
from gpujobs.view.timeline import JOB, Lane, Span, Timeline, drains, from_json, stacked

BEGIN = datetime(2026, 3, 28, 12, tzinfo=UTC)


def at(hours: float) -> datetime:
    return BEGIN + timedelta(hours=hours)


def job(id: int, first: float, end: float | None, **more: Any) -> Span:
    return Span(JOB, at(first), None if end is None else at(end), f"j{id}", job=id, attempt=1, **more)


def shown(*spans: Span, name: str = "A100") -> Timeline:
    lane = Lane("box", "gpu", 0, "GPU-0", name, stacked(spans))
    return Timeline(at(0), at(24), at(12), [lane, Lane("box", "gpu", 1, "GPU-1", name, [])])


def overlap(one: Span, other: Span) -> bool:
    far = at(10**4)
    return max(one.starts_at, other.starts_at) < min(one.ends_at or far, other.ends_at or far)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20) | st.none()), max_size=12))
def test_no_two_spans_of_a_row_overlap_and_none_is_lost(found: list[tuple[int, int | None]]) -> None:
    spans = [job(id, first, None if more is None else first + more) for id, (first, more) in enumerate(found)]
    placed = stacked(spans)
    assert sorted(span.job or 0 for span in placed) == list(range(len(spans)))
    assert not [(a, b) for a, b in combinations(placed, 2) if a.row == b.row and overlap(a, b)]
    most = max((sum(span.covers(one.starts_at) for span in spans) for one in spans), default=0)
    assert len({span.row for span in placed}) == most, "no more rows than run at once"


def test_a_drain_lasts_from_its_event_to_the_next_resume_also_from_before() -> None:
    events = [
        (at(-5), "drained", "fan"),
        (at(3), "resumed", ""),
        (at(6), "stranger", "x"),
        (at(9), "drained", "ecc"),
    ]
    found = drains(events, at(0), at(24))
    assert [(one.starts_at, one.ends_at, one.label) for one in found] == [
        (at(-5), at(3), "fan"), (at(9), None, "ecc"),
    ]  # fmt: skip
    assert drains([(at(-5), "drained", "fan"), (at(-3), "resumed", "")], at(0), at(24)) == []


def test_what_covers_an_instant_is_half_open() -> None:
    line = shown(job(1, 2, 4), job(2, 4, None))
    for hours, ids in ((1.9, []), (2, [1]), (4, [2]), (23, [2])):
        assert [span.job for span in line.at(at(hours)).lanes[0].spans] == ids


def test_json_and_back() -> None:
    line = shown(job(1, 2, 4, state="FAILED"), job(2, 3, None))
    assert from_json(line.to_json()) == line


def test_bars_stand_where_their_hours_are_at_80_and_at_120_columns() -> None:
    line = shown(
        job(7, 6, 12, state="COMPLETED"), job(8, 12, None), Span("expected", at(18), at(24), "j9", job=9)
    )
    for width in (80, 120):
        first, second, *_ = drawn = lanes.lines(line, width, False)
        assert all(cells.width(text) <= width for text in drawn)
        margin, columns = len("gpu 0 "), width - len("gpu 0 ")
        body = first[margin:].ljust(columns)
        assert body[: columns // 4].strip() == "" and "7 j7" in body[columns // 4 : columns // 2]
        assert body[3 * columns // 4 + 1 :].count("░") > 3 and "9 j9" in body[3 * columns // 4 :]
        assert second.strip() == "gpu 1"
        assert drawn[-1].startswith("▓ ended  █ running")


def test_a_hostile_name_moves_nothing() -> None:
    odd = Span(JOB, at(1), at(23), "\x1b[2J\n" + "漢" * 200 + "‮evil", "COMPLETED", 5, 1)
    for text in lanes.lines(shown(odd), 80, False):
        assert text.isprintable() and cells.width(text) <= 80
    assert picture.png(shown(odd, name="$x$"), UTC).startswith(b"\x89PNG")


def test_colour_adds_nothing_but_colour() -> None:
    import click

    line = shown(job(1, 2, 14, state="FAILED"), Span("drain", at(15), None, "fan"))
    assert [click.unstyle(text) for text in lanes.lines(line, 100, True)] == lanes.lines(line, 100, False)


def test_a_terminal_without_utf_8_tells_the_kinds_apart_too() -> None:
    fills = [*lanes.FILLS.values(), lanes.RUNNING]
    assert len({streams.SIMPLE.get(sign, sign) for sign in fills}) == len(fills)
    assert all(streams.SIMPLE.get(sign, sign).isascii() for sign in fills)
