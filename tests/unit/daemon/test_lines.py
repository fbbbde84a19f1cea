"""The picture that is kept up to date shows what one that is made anew would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.jobs.lines import Lines
from gpujobs.daemon.jobs.queries import JobQueries
from gpujobs.daemon.jobs.shown import Shown
from gpujobs.model import Job, Reason, State, utc_now
from gpujobs.policy import PendingReason
from gpujobs.store.store import Store
from gpujobs.view.now import Row
from gpujobs.view.order import first_rows, rows
from tests.unit.daemon.queued import job
from tests.unit.store.jobs import DEVICE, A, B, complete, new_job

drawn = st.tuples(st.integers(1, 12), st.sampled_from(State), st.integers(-2, 2))


def made(id: int, state: State, priority: int) -> Job:
    """A job keeps its group and its user, whatever becomes of it."""
    return replace(job(id, state, id % 4 or None, priority), uid=1 + id % 3)


@given(st.lists(drawn, max_size=30), st.integers(1, 3), st.integers(1, 12))
def test_the_first_rows_are_those_of_all_that_there_are(
    changes: list[tuple[int, State, int]], uid: int, limit: int
) -> None:
    unfinished: dict[int, Job] = {}
    known: dict[int, Job] = {}
    lines = Lines(unfinished)
    for change in changes:
        changed = made(*change)
        known[changed.id] = changed
        if changed.state.is_final:
            unfinished.pop(changed.id, None)
        else:
            unfinished[changed.id] = changed
        lines.put(changed)
    ended = [one for one in known.values() if one.state.is_final]
    wanted = rows(known.values(), unfolded=False, own_uid=uid)
    assert first_rows(lines.for_user(uid), ended, uid, limit) == wanted[:limit]
    assert lines.rows == len(rows(unfinished.values(), unfolded=False))
    assert lines.by_user_and_state == Counter((one.user, one.state) for one in unfinished.values())
    for group in lines.groups:
        assert lines.members(group) == [one for _, one in sorted(unfinished.items()) if one.group_id == group]


def test_what_ended_lately_is_read_again_only_where_the_store_has_changed(tmp_path: Path) -> None:
    store, shown = Store(tmp_path / "s.db"), Shown()
    for number in (1, 2):
        store.submit(A, str(number), [new_job()])
    complete(store, 1)
    first = shown.lately(store)
    assert [one.id for one in first] == [1] and shown.lately(store) is first
    complete(store, 2)
    assert [one.id for one in shown.lately(store)] == [1, 2]


def test_a_row_is_made_again_where_what_it_says_is_another() -> None:
    shown, made_of = Shown(), []

    def asked(*of: object) -> Row:
        return shown.row("j1", of, lambda: made_of.append(of) or Row("j1", True, str(of), {}))

    assert asked(1, None) is asked(1, None)
    assert asked(1, "epoch 2").says == "(1, 'epoch 2')"
    assert made_of == [(1, None), (1, "epoch 2")]


def test_a_cache_lines_up_what_has_not_ended(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.db")
    cache = JobCache(store.submit(A, "k", [new_job(), new_job()]))
    cache.put(complete(store, 1))
    assert [one.id for one in cache.lines.for_user(A.uid)] == [2] and cache.lines.rows == 1
    cache.put(store.job(1))
    assert cache.ended == {State.COMPLETED: 1}, "counted once, whatever is told of it later"


def test_a_row_follows_all_that_is_told_of_its_job(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.db")
    waiting, held, running = store.submit(A, "k", [new_job(), new_job(held=True), new_job()])
    running = store.mark_running(running.id, store.start_attempt(running.id, DEVICE).attempt, 99, utc_now())
    cache = JobCache([waiting, held, running])
    forecast: Any = SimpleNamespace(expected={})
    nothing: Any = None
    queries = JobQueries(store, cache, forecast, nothing, nothing, nothing, nothing)
    told: list[Callable[[], object]] = [
        lambda: cache.set_waits({waiting.id: PendingReason(Reason.PRIORITY, "2 jobs are ahead")}),
        lambda: forecast.expected.update({waiting.id: utc_now()}),
        lambda: cache.set_progress(running.id, {"epoch": 3, "epochs": 20}),
        lambda: cache.set_notice(running.id, "pid 4711 of bob"),
        lambda: cache.set_trouble(running.id, "the disk is full"),
        lambda: cache.lacking.update({held.id: "its data is gone"}),
        lambda: cache.put(store.set_held(waiting.id, True, "root")),
    ]
    for change in told:
        before = {job.id: queries.row(job, A) for job in cache.jobs.values()}
        change()
        after = {job.id: queries.row(job, A) for job in cache.jobs.values()}
        assert before != after
        assert all(row.shown == {"job": queries.json(cache.jobs[id], A)} for id, row in after.items())
    assert queries.row(cache.jobs[1], A).is_own and not queries.row(cache.jobs[1], B).is_own
