"""`scripts/faults` says so where it has shown nothing, and leaves nothing armed."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faultsuite import handover, moments
from faultsuite.box import Box, Failure
from faultsuite.cuts import Stream
from faultsuite.disturbances import drawn


def test_a_pattern_that_nothing_has_is_refused_before_boxes_are_made() -> None:
    with pytest.raises(SystemExit, match=r"no cut has 'lnik' .* there are: link down, short"):
        drawn(random.Random(0), "lnik")
    with pytest.raises(SystemExit, match="'raylte' in it, as `raylet of the node: running` has"):
        moments.run("raylte", None)


def test_kills_without_a_handover_show_nothing(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="no trainer has taken another job over; 3 kills"):
        handover._say(Box(root=tmp_path), Counter({"at store.commit": 3}))


def test_a_number_that_is_given_twice_is_noticed(tmp_path: Path) -> None:
    box = Box(root=tmp_path)
    box.note(7, {})
    with pytest.raises(Failure, match="number 7 was given again"):
        box.note(7, {})


def test_a_stream_that_ends_by_whatever_error_is_told() -> None:
    def unfinished() -> list[Any]:
        raise ValueError("no JSON")

    made = SimpleNamespace(is_small=True, unfinished=unfinished, keep_up=lambda: None)
    with Stream(cast("Any", made)) as stream:
        stream._thread.join(10)
    with pytest.raises(ValueError, match="no JSON"):
        stream.look()


def test_a_point_is_disarmed_though_its_case_fails() -> None:
    armed: list[str] = []
    made = SimpleNamespace(
        arm=armed.append, disarm=armed.clear, must_submit=lambda *_: 1, reached=lambda _: 1, jobs=dict
    )
    with (
        pytest.raises(Failure, match="it did not come back"),
        contextmanager(moments.held)(cast("Any", made), "supervisor.claim", 5),
    ):
        assert armed == ["supervisor.claim=stop:3.0*1"]
        raise Failure("lost", "it did not come back")
    assert armed == []
