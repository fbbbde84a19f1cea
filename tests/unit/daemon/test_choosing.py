"""Which jobs are meant by ranges, groups and conditions, and whose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gpujobs.daemon.access.policy import may_change, require
from gpujobs.daemon.handlers import CHANGES
from gpujobs.daemon.handlers.changing import sorted_out
from gpujobs.daemon.jobs.checks import dependencies
from gpujobs.daemon.jobs.references import Choice, choose
from gpujobs.daemon.jobs.submissions import OptionsBody
from gpujobs.errors import NotPermittedError, UsageError
from gpujobs.lifecycle import Finish
from gpujobs.model import Reason, State
from gpujobs.store.store import Store
from tests.unit.store.jobs import A, B, complete, new_job
from tests.unit.store.sweeps import sweep

ACTIONS = {module.ACTION.verb: module.ACTION for module in CHANGES}

ADMIN = replace(A, uid=0, user="root", is_admin=True)
FAILED = Finish(State.FAILED, Reason.SIGNAL, "")
DONE = frozenset({State.COMPLETED})
PAST, FUTURE = datetime(2020, 1, 1, tzinfo=UTC), datetime(2120, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """1, 2: a's lstm-1 (COMPLETED), lstm-2; 3: b's lstm-1; 4 to 6: a's sweep gru; 7: its first, once more."""
    opened = Store(tmp_path / "s.db")
    opened.submit(A, "1", [new_job("lstm-1"), new_job("lstm-2")])
    opened.submit(B, "1", [new_job("lstm-1")])
    opened.submit(A, "2", sweep("gru", 3))
    complete(opened, 1)
    complete(opened, 4, FAILED)
    opened.submit(A, "3", [replace(sweep("gru", 1)[0], joins=4, origin=4)])
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("choice", "ids"),
    [
        (Choice(["1-3"]), [1, 2]),
        (Choice(["2-99999999999999999999"]), [2, 4, 5, 6, 7]),
        (Choice(["1-3"], user="b"), [3]),
        (Choice(["2-2"]), [2]),
        (Choice([3]), [3]),
        (Choice(["gru"]), [5, 6, 7]),
        (Choice(["g4", 4]), [4, 5, 6, 7]),
        (Choice(mine=True), [1, 2, 4, 5, 6, 7]),
        (Choice(user="b"), [3]),
        (Choice(user="nobody"), []),
        (Choice(name="lstm-*"), [1, 2]),
        (Choice(name="lstm-[1]"), [1]),
        (Choice(name="gru"), [4, 5, 6, 7]),
        (Choice(name="GRU"), []),
        (Choice(states=DONE), [1]),
        (Choice(["1-2"], states=DONE), [1]),
        (Choice([2], states=DONE), []),
        (Choice(since=FUTURE), []),
        (Choice(since=PAST, name="l*"), [1, 2]),
        (Choice(), []),
    ],
)
def test_what_a_choice_means_for_a_change(store: Store, choice: Choice, ids: list[int]) -> None:
    assert sorted(choose(store, A, choice, own=True).ids) == ids


def test_since_then_is_what_was_submitted_or_has_ended_since(store: Store) -> None:
    """Jobs 1 to 6 were submitted before; the first and the fourth have ended since, and the seventh came last."""
    since = store.job(1).ended_at
    assert since is not None and since > store.job(6).submitted_at
    assert sorted(choose(store, A, Choice(since=since), own=True).ids) == [1, 4, 7]
    assert choose(store, A, Choice([1, 2], since=since)).ids == [1]


def test_whoever_looks_sees_everybodys(store: Store) -> None:
    assert choose(store, A, Choice(["1-3"])).ids == [1, 2, 3]
    assert choose(store, A, Choice(name="lstm-1")).ids == [1, 3]


@pytest.mark.parametrize("text", ["3-3", "8-9", "9-8"])
def test_a_range_with_nothing_of_yours_says_so(store: Store, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        choose(store, A, [text], own=True)


def test_an_admin_says_whose_jobs_are_meant(store: Store) -> None:
    """A range or a condition does not reach into other people's, a number does."""
    for choice in (Choice(name="*"), Choice(mine=True), Choice(states=DONE)):
        assert choose(store, ADMIN, choice, own=True).ids == []
    with pytest.raises(UsageError, match="--user NAME"):
        choose(store, ADMIN, ["1-7"], own=True)
    assert choose(store, ADMIN, Choice(["1-7"], user="b"), own=True).ids == [3]
    assert choose(store, ADMIN, [3], own=True).ids == [3]
    assert choose(store, ADMIN, Choice(["gru"], user="a"), own=True).ids == [5, 6, 7]


def test_choosing_somebody_elses_is_no_right_to_change_them(store: Store) -> None:
    (theirs,) = choose(store, A, Choice(user="b"), own=True).jobs
    with pytest.raises(NotPermittedError, match="job 3 belongs to b; a may not cancel it"):
        require(may_change, A, theirs, "cancel")


def test_hidden_names_choose_nothing(store: Store) -> None:
    blind = replace(A, sees_names=False)
    assert choose(store, blind, Choice(user="b"), own=True).ids == []
    assert choose(store, blind, Choice(name="lstm-*")).ids == [1, 2]
    with pytest.raises(UsageError, match="'gru' of yours does not exist"):
        choose(store, replace(B, sees_names=False), Choice(["gru"], user="a"))


@pytest.mark.parametrize(
    ("verb", "changed", "left"),
    [
        ("cancel", [2, 4, 5], ["job 1 has already ended: COMPLETED", "job 3 has already ended: FAILED"]),
        ("requeue", [3], []),
        ("release", [2], []),
        ("hold", [4, 5], []),
        ("limit", [2, 4, 5], []),
    ],
)
def test_of_many_those_are_changed_that_can_be(
    tmp_path: Path, verb: str, changed: list[int], left: list[str]
) -> None:
    store = Store(tmp_path / "t.db")
    try:
        store.submit(A, "1", [new_job() for _ in range(5)])
        complete(store, 1)
        complete(store, 3, FAILED)
        store.set_held(2, True, "a")
        jobs, passed_over = sorted_out(choose(store, A, ["1-5"], own=True), ACTIONS[verb])
        assert [job.id for job in jobs] == changed
        assert len(jobs) + len(passed_over) == 5
        assert set(left) <= {why for _, why in passed_over}
    finally:
        store.close()


@pytest.mark.parametrize("verb", ["hold", "release", "prioritize", "finish", "limit"])
def test_what_a_number_names_and_cannot_be_changed_is_refused(store: Store, verb: str) -> None:
    with pytest.raises(UsageError, match="job 1 "):
        sorted_out(choose(store, A, [1], own=True), ACTIONS[verb])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"after": ["gru"]}, ((5, 6, 7), (), (), {5: 4, 6: 4, 7: 4})),
        ({"after_any": ["g4", 1], "after": [1]}, ((1,), (5, 6, 7), (), {5: 4, 6: 4, 7: 4})),
        ({"after_failed": ["g4", 5]}, ((), (), (5, 6, 7), {6: 4, 7: 4})),
        ({"after": ["5-6"]}, ((5, 6), (), (), {})),
        ({"after": [2, 2], "after_any": [4]}, ((2,), (4,), (), {})),
    ],
)
def test_what_a_submission_waits_for(
    store: Store, options: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    found = dependencies(store, A, OptionsBody(**options))
    assert (found.after, found.after_any, found.after_failed, found.groups) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"after": [4]}, "--after 4: job 4 has ended FAILED and will not complete"),
        ({"after_failed": [1]}, "--after-failed 1: it has completed"),
        ({"after": [2], "after_failed": [2]}, "job 2 cannot both complete and fail"),
        ({"after": ["none"]}, "a group 'none' of yours does not exist"),
        ({"after_any": [99]}, "job 99 does not exist"),
    ],
)
def test_what_can_never_come_out_is_refused(store: Store, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        dependencies(store, A, OptionsBody(**options))
