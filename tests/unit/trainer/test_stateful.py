"""Which sample of a stateful model continues which, and where its states begin anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpujobs.trainer.data.samples.rows import ArrayRows
from gpujobs.trainer.data.samples.samples import Samples
from gpujobs.trainer.failures import DataError
from gpujobs.trainer.stateful import chains, require_batches, strips


def samples(count: int, *, series: list[int] | None = None, left_out: tuple[int, ...] = ()) -> Samples:
    """`series`: of each window, those that are left out too."""
    numbers = np.array([one for one in range(count) if one not in left_out])
    rows = None if series is None else ArrayRows(np.array(series), np.int64)
    return Samples({}, {}, count, numbers if left_out else None, series=rows)


def as_lists(arrays: Any) -> list[list[int]]:
    return [array.tolist() for array in arrays]


def test_windows_lie_side_by_side_so_that_each_row_reads_on() -> None:
    found = strips(samples(8, series=[0] * 8), 2, "t.csv", is_series=True)
    assert found.batches == 4
    assert found.positions.tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert found.resets.tolist() == [[True, True], [False, False], [False, False], [False, False]]


@pytest.mark.parametrize(
    ("windows", "begins_anew"),
    [
        (samples(8, series=[0, 0, 0, 0, 0, 1, 1, 1]), {(1, 1)}),
        (samples(8, series=[0, 0, 1, 1, 2, 2, 2, 2]), {(2, 0)}),
        (samples(9, series=[0] * 9, left_out=(3,)), {(3, 0)}),
        (samples(9, series=[0] * 9, left_out=(4,)), set()),
    ],
)
def test_states_begin_anew_with_a_series_and_behind_a_window_that_was_left_out(
    windows: Samples, begins_anew: set[tuple[int, int]]
) -> None:
    """Window 4 begins the second row of the batches anyway."""
    resets = strips(windows, 2, "t.csv", is_series=True).resets
    assert {(batch, row) for batch, row in np.argwhere(resets).tolist() if batch} == begins_anew


def test_windows_that_fill_no_strip_are_left_out_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    found = strips(samples(8, series=[0] * 8), 3, "t.csv", is_series=True)
    assert found.positions.tolist() == [[0, 2, 4], [1, 3, 5]]
    assert capsys.readouterr().out == "t.csv: the last 2 of 8 windows do not fill a strip and are left out.\n"
    with pytest.raises(DataError, match="8 windows do not fill a batch of 9"):
        strips(samples(8, series=[0] * 8), 9, "t.csv", is_series=True)


def test_arrays_are_taken_as_they_stand() -> None:
    """As Keras does: row i of a batch goes on with row i of the one before."""
    found = strips(samples(6), 2, "t.npz", is_series=False)
    assert found.positions.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert found.resets.tolist() == [[True, True], [False, False], [False, False]]
    with pytest.raises(DataError, match="6 samples are no whole batches of 4"):
        strips(samples(6), 4, "t.npz", is_series=False)


@pytest.mark.parametrize(
    ("some", "is_series", "found"),
    [
        (samples(6), False, [[0, 2, 4], [1, 3, 5]]),
        (samples(1), False, [[0]]),
        (samples(5, series=[0, 0, 1, 1, 1]), True, [[0, 1], [2, 3, 4]]),
        (samples(5, series=[0] * 5, left_out=(2,)), True, [[0, 1], [2, 3]]),
    ],
)
def test_predictions_go_along_what_continues_each_other(
    some: Samples, is_series: bool, found: list[list[int]]
) -> None:
    """Positions: of five windows without the third, the fourth is at 2."""
    assert as_lists(chains(some, 2, is_series=is_series)) == found


@pytest.mark.parametrize(
    ("counts", "batch_size", "advice"),
    [
        ({"train": 12, "validation": 18}, 4, "use a batch_size of 1, 2, 3, 6, which fits all of them"),
        ({"train": 12}, 5, "use a batch_size of 1, 2, 3, 4, 6, 12, which fits all of them"),
        ({"train": 9, "validation": 4}, 2, "use a batch_size of 1, which fits all of them; or parts with a common"),
    ],
)  # fmt: skip
def test_sizes_of_batches_that_fit_every_part_are_named(
    counts: dict[str, int], batch_size: int, advice: str
) -> None:
    with pytest.raises(DataError) as refused:
        require_batches(counts, batch_size, "t.npz", is_series=False)
    assert advice in str(refused.value)
    require_batches(counts, 1, "t.npz", is_series=False)


def test_a_series_fills_a_batch_at_least() -> None:
    require_batches({"train": 9, "validation": 4}, 4, "t.csv", is_series=True)
    with pytest.raises(DataError, match="expected a batch_size of at most 4, which all parts fill"):
        require_batches({"train": 9, "validation": 4}, 5, "t.csv", is_series=True)
