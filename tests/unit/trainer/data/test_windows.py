"""Windows of series: which rows they hold, where they lie, and what they never cross."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpujobs.trainer.data import memory
from gpujobs.trainer.data.prepare import read_assembled
from gpujobs.trainer.data.samples import splits
from gpujobs.trainer.data.samples.gaps import cut
from gpujobs.trainer.data.samples.windowed import Windowed, covered
from gpujobs.trainer.data.samples.windows import FutureRows, TimeRows, WindowIndex, WindowRows, columns

from .making import alone, csv, everything, prepared, spec_of

PARTS = ("train", "validation", "test")


def rows_of(assembled: Windowed) -> tuple[Any, Any]:
    """The rows of the series that each window's inputs and target are taken from."""
    numbers = assembled.samples.at(np.arange(len(assembled.samples)))
    starts = assembled.index.starts(numbers)[:, None]
    return starts + np.arange(assembled.window["length"]), starts + np.arange(*assembled.target)


def two_series(rows: int) -> dict[str, Any]:
    """`value` is the number of the row in the file; the series are interleaved in the file."""
    return {
        "site": ["b", "a"] * rows,
        "hour": np.repeat(np.arange(rows), 2),
        "value": np.arange(2 * rows, dtype=float),
        "other": np.arange(2 * rows) * 10.0,
    }


DATA = (
    "{train: t.csv, time: hour, group: site, target: value, features: [value, other], "
    "window: {length: 4, horizon: 2}%s}"
)
REST = "model: {layers: [LSTM: {units: 2}, Dense: {units: 2}]}\ntraining: {loss: mse}\n"


def test_a_window_and_its_target_are_rows_that_follow_each_other(tmp_path: Path) -> None:
    part = prepared(tmp_path, DATA % "", {"t.csv": csv(two_series(10))}, rest=REST).train
    x, y = map(alone, part.samples.batch(np.arange(len(part.samples)))[:2])
    assert x.shape == (10, 4, 2) and y.shape == (10, 2, 1)
    assert x[0, :, 0].tolist() == [1, 3, 5, 7] and y[0, :, 0].tolist() == [9, 11]  # series a, sorted by name
    assert x[5, :, 0].tolist() == [0, 2, 4, 6] and y[5, :, 0].tolist() == [8, 10]
    assert (x[:, :, 1] == 10 * x[:, :, 0]).all()


def test_windows_never_cross_series(tmp_path: Path) -> None:
    part = prepared(tmp_path, DATA % "", {"t.csv": csv(two_series(10))}, rest=REST).train
    x, y = map(alone, part.samples.batch(np.arange(len(part.samples)))[:2])
    parity = np.concatenate([x[:, :, 0], y[:, :, 0]], axis=1) % 2
    assert (parity == parity[:, :1]).all()
    groups = part.samples.labels["group"].take(part.samples.at(np.arange(len(part.samples))))
    assert groups.tolist() == ["a" if one else "b" for one in parity[:, 0]]


def test_the_time_of_a_window_is_that_of_its_target(tmp_path: Path) -> None:
    part = prepared(tmp_path, DATA % "", {"t.csv": csv(two_series(10))}, rest=REST).train
    assert part.samples.labels["time"].take(np.arange(5)).tolist() == [4, 5, 6, 7, 8]


def test_chronological_parts_share_no_target_and_training_sees_nothing_later(tmp_path: Path) -> None:
    split = ", split: {method: chronological, validation: 0.2, test: 0.2}"
    found = prepared(tmp_path, DATA % split, {"t.csv": csv(two_series(30))}, rest=REST)
    targets, inputs = {}, {}
    for name in PARTS:
        assembled = found.parts[name].assembled
        assert isinstance(assembled, Windowed)
        inputs[name], targets[name] = (np.unique(rows % 30) for rows in rows_of(assembled))
    assert targets["train"].max() < 18 and inputs["train"].max() < 18
    assert targets["validation"].min() >= 18 and targets["validation"].max() < 24
    assert targets["test"].min() >= 24
    assert [len(found.parts[name].samples) for name in PARTS] == [2 * 13, 2 * 5, 2 * 5]


def test_gaps_do_not_move_the_borders_of_a_chronological_split(tmp_path: Path) -> None:
    """The last fifth of a series is the test part, wherever values are missing."""
    columns = {"value": np.arange(100.0), "other": np.arange(100.0)}
    columns["other"][[10, 40, 85]] = np.nan
    data = (
        "{train: t.csv, target: value, window: {length: 4, horizon: 2}, missing: drop, "
        "split: {method: chronological, test: 0.2}}"
    )
    found = prepared(tmp_path, data, {"t.csv": csv(columns)}, rest=REST)
    train, test = (found.parts[name].assembled for name in ("train", "test"))
    assert isinstance(train, Windowed) and isinstance(test, Windowed)
    for rows in (*rows_of(train), *rows_of(test)):
        assert not {10, 40, 85} & set(rows.reshape(-1).tolist())
    assert rows_of(train)[1].max() < 80 <= rows_of(test)[1].min()
    assert train.fitted.tolist() == [[0, 10], [11, 40], [41, 80]]


@pytest.mark.parametrize("method", ["random", "group"])
def test_other_splits_choose_whole_windows(tmp_path: Path, method: str) -> None:
    split = f", split: {{method: {method}, test: 0.5, seed: 1}}"
    found = prepared(tmp_path, DATA % split, {"t.csv": csv(two_series(10))}, rest=REST)
    numbers = [set(everything(part.samples)[:, 0, 0].tolist()) for part in (found.train, found.parts["test"])]
    assert not numbers[0] & numbers[1] and len(numbers[0] | numbers[1]) == 10
    if method == "group":
        assert {len({n % 2 for n in one}) for one in numbers} == {1}


def test_what_is_filled_is_never_a_target(tmp_path: Path) -> None:
    values = np.arange(12.0)
    values[[2, 7]] = np.nan
    data = "{train: t.csv, target: value, window: {length: 2, horizon: 1}, missing: fill}"
    part = prepared(tmp_path, data, {"t.csv": csv({"value": values})}).train
    x, y = map(alone, part.samples.batch(np.arange(len(part.samples)))[:2])
    assert y[:, 0].tolist() == [3, 4, 5, 6, 8, 9, 10, 11]
    assert x[0, :, 0].tolist() == [1, 1]  # row 2 is missing: the value before it stands for it
    assert x[4, :, 0].tolist() == [6, 6]


def test_windows_of_a_file_to_predict_for_reach_to_its_end(tmp_path: Path) -> None:
    data = "{train: t.csv, time: hour, target: value, features: [value], window: {length: 3, horizon: 2}}"
    files = {"t.csv": csv({"hour": np.arange(8) * 2, "value": np.arange(8.0)})}
    spec = spec_of(tmp_path, data, files, rest=REST)
    learned = prepared(tmp_path, data, files, rest=REST).preprocessing
    samples = read_assembled(spec, {"path": "t.csv"}, learned, needs_y=False).samples
    assert len(samples) == 6
    truth = samples.target("y")[:, :, 0]
    np.testing.assert_array_equal(truth[3:], [[6, 7], [7, np.nan], [np.nan, np.nan]])
    assert samples.labels["time"].take(np.arange(6)).tolist() == [6, 8, 10, 12, 14, 16]


def test_labels_of_windows(tmp_path: Path) -> None:
    """A class is that of the target's last row; sequence labelling has one for each step of the window."""
    files = {"t.csv": csv({"v": np.arange(10.0), "k": list("aabbaabbab")})}
    data = "{train: t.csv, target: k, window: {length: 3, horizon: 1}}"
    rest = (
        "model: {layers: [LSTM: {units: 2%s}, Dense: {units: 2}]}\n"
        "training: {loss: sparse_categorical_crossentropy}\n"
    )
    one = prepared(tmp_path, data, files, rest=rest % "").train.samples
    assert one.target("y").tolist() == [1, 0, 0, 1, 1, 0, 1]
    each = prepared(
        tmp_path, data, files, rest="task: labelling\n" + rest % ", return_sequences: true"
    ).train.samples
    assert each.target("y")[:2].tolist() == [[0, 0, 1], [0, 1, 1]] and len(each) == 8


def naive(segments: list[tuple[int, int]], length: int, reach: int, stride: int) -> list[int]:
    return [
        start
        for first, end in segments
        for start in range(first, end, stride)
        if start + max(length, reach) <= end
    ]


lengths = st.lists(st.integers(1, 12), min_size=1, max_size=6)


@given(lengths, st.integers(1, 5), st.integers(0, 4), st.integers(1, 4))
def test_the_index_is_every_window_that_fits(sizes: list[int], length: int, beyond: int, stride: int) -> None:
    ends = np.cumsum(sizes)
    segments = np.stack([ends - sizes, ends], axis=1)
    index = splits.windows(segments, length, length + beyond, stride)
    assert index.starts(np.arange(len(index))).tolist() == naive(
        segments.tolist(), length, length + beyond, stride
    )
    series = np.arange(ends[-1] * 2.0).reshape(-1, 2)
    if len(index) and ends[-1] >= length:
        rows = index.starts(np.arange(len(index)))[:, None] + np.arange(length)
        np.testing.assert_array_equal(
            WindowRows(series, index, 0, length).take(np.arange(len(index))), series[rows]
        )


@given(lengths, st.data())
def test_chronological_spans_cover_each_row_of_a_series_once(sizes: list[int], data: st.DataObject) -> None:
    ends = np.cumsum(sizes)
    series = np.stack([ends - sizes, ends], axis=1)
    wrong = np.array(data.draw(st.lists(st.booleans(), min_size=int(ends[-1]), max_size=int(ends[-1]))))
    segments = cut(series, wrong)
    if len(segments) == 0:
        return
    spans = splits.chronological_spans(series, segments, 0, {"validation": 0.3, "test": 0.2})
    seen = np.zeros(ends[-1], int)
    for part in spans.values():
        for first, end in splits.some(part):
            seen[first:end] += 1
    assert (seen == ~wrong).all()
    for first, end in series:  # within a series, the parts follow each other
        last = [
            max((e for f, e in splits.some(spans[name]) if first <= f < end), default=first) for name in PARTS
        ]
        begin = [
            min((f for f, e in splits.some(spans[name]) if first <= f < end), default=end) for name in PARTS
        ]
        assert last[0] <= begin[1] and max(last[:2]) <= begin[2]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=20), st.integers(1, 6))
def test_covered_rows(starts: list[int], length: int) -> None:
    """Looked at in pieces of eight rows, so that spans cross them."""
    seen = {row for start in starts for row in range(start, start + length)}
    is_start = np.zeros(50, bool)
    is_start[starts] = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "PIECE_BYTES", 64)
        spans = covered(is_start, length).tolist()
    assert {row for first, end in spans for row in range(first, end)} == seen
    assert all(end < first for (_, end), (first, _) in pairwise(spans))


def test_future_rows_and_times_of_several_series() -> None:
    index = splits.windows(np.array([[0, 4], [4, 9]]), 2, 2, 1)
    series = np.arange(9.0)[:, None]
    found = FutureRows(series, index, 2, 1).take(np.arange(len(index)))[:, 0, 0]
    np.testing.assert_array_equal(found, [2, 3, np.nan, 6, 7, 8, np.nan])
    times = np.array("2026-01-01", "datetime64[s]") + np.array([0, 1, 2, 3, 0, 10, 20, 30, 40])
    size = np.array([1] * 4 + [10] * 5)
    shown = TimeRows(times, index, 2, lambda rows, count: times[rows] + size[rows] * count).take(
        np.array([2, 6])
    )
    assert shown.tolist() == (times[[3, 8]] + np.array([1, 10])).tolist()


def test_times_of_rows_that_are_so_many_apart() -> None:
    times = np.array("2026-01-01", "datetime64[s]") + np.arange(9)
    index = WindowIndex(np.array([0, 5]), np.array([2, 1]), np.array([5, 9]), 1)
    rows = TimeRows(times, index, 0, lambda rows, count: times[rows] + count, 2, 3)
    assert rows.take(np.array([0, 1, 2])).tolist() == times[[[0, 3], [1, 4], [5, 8]]].tolist()
    # The second row of the second window lies one step behind the end of its segment.
    beyond = TimeRows(times, index, 1, lambda rows, count: times[rows] + 100 * count, 2, 3)
    assert beyond.take(np.array([1]))[0].tolist() == [times[2].item(), (times[4] + 100).item()]


@pytest.mark.parametrize("numbers", [[0], [1, 2], [2, 1], [2, 1, 0], [0, 2], [1, 1], [0, 1, 2]])
def test_columns_are_those_that_are_named_in_their_order(numbers: list[int]) -> None:
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.testing.assert_array_equal(columns(table, numbers), np.stack([table[:, n] for n in numbers], axis=1))


def test_features_go_in_in_the_order_in_which_they_are_named(tmp_path: Path) -> None:
    data = DATA.replace("[value, other]", "[other, value]") % ""
    x = everything(prepared(tmp_path, data, {"t.csv": csv(two_series(10))}, rest=REST).train.samples)
    assert x[0].tolist() == [[10, 1], [30, 3], [50, 5], [70, 7]]


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_windows_with_those_before_them_are_all_of_their_segment_so_far(tmp_path: Path, stride: int) -> None:
    """What is before a part warms the states of a model that goes on from window to window."""
    split = ", split: {method: chronological, validation: 0.2, test: 0.2}"
    data = (DATA % split).replace("horizon: 2", f"horizon: 2, stride: {stride}")
    found = prepared(tmp_path, data, {"t.csv": csv(two_series(30))}, rest=REST)
    for name in PARTS:
        own = found.parts[name].assembled
        assert isinstance(own, Windowed)
        longer, places = own.with_before()
        starts, of_own = rows_of(longer)[0][:, 0], rows_of(own)[0][:, 0]
        assert starts[places].tolist() == of_own.tolist()
        for begin in (0, 30):  # of the two series, of thirty rows each
            mine = of_own[(begin <= of_own) & (of_own < begin + 30)]
            earliest = begin + (mine[0] - begin) % stride
            assert [n for n in starts if begin <= n < begin + 30] == [*range(earliest, mine[-1] + 1, stride)]
