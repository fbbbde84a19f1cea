"""What retention removes, on a real store and real directories."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gpujobs.config.site import Retention as Table
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.keeping.removal import Kind, Rules
from gpujobs.daemon.keeping.retention import Retention, removed_note
from gpujobs.daemon.writer import StoreWriter
from gpujobs.demand import Demand
from gpujobs.lifecycle import Finish
from gpujobs.linux import durable
from gpujobs.model import Caller, Device, DeviceKind, Reason, State, utc_now
from gpujobs.paths import StatePaths
from gpujobs.store.records import DataReference, NewJob
from gpujobs.store.store import Store
from tests.unit.store.jobs import having

ALICE = Caller(uid=1000, gid=1000, pid=1, user="alice")
BOB = Caller(uid=1001, gid=1001, pid=1, user="bob")
DEVICE = Device("n", DeviceKind.GPU, 0, "GPU-0", "card", memory_total_bytes=1 << 30)
AT_ONCE = timedelta(0)
ALL = Rules(dict.fromkeys(Kind, AT_ONCE))


@dataclass
class Place:
    root: Path
    table: Table = field(default_factory=Table)

    def __post_init__(self) -> None:
        self.paths = StatePaths(self.root)
        self.paths.run.mkdir()
        self.store = Store(self.paths.database)
        self.retention = Retention(
            self.store, StoreWriter(self.store, JobCache([])), self.paths, lambda: self.table
        )
        self._keys = iter(range(1000))

    def submit(self, who: Caller = ALICE, count: int = 1, **fields: Any) -> list[int]:
        new = NewJob(
            name="j", path="j.yaml", source="text", resolved={"model": {}}, demand=Demand(), held=False, retries=1,
            group=None, data=(),
        )  # fmt: skip
        jobs = self.store.submit(who, f"k{next(self._keys)}", [having(new, **fields)] * count)
        return [job.id for job in jobs]

    def ended(
        self, who: Caller = ALICE, state: State = State.COMPLETED, size: int = 10, **fields: Any
    ) -> int:
        """An ended job with what such a job leaves."""
        (job,) = self.submit(who, **fields)
        attempt = self.store.start_attempt(job, DEVICE).attempt
        self.store.mark_running(job, attempt, 99, utc_now())
        self.store.mark_completing(job, attempt, {"state": state, "exit": {"code": 0, "signal": None}})
        self.store.usage.set_peak(job, attempt, 1000 + job)
        if state is State.COMPLETED:
            self.paths.result(job).mkdir(parents=True)
            (self.paths.result(job) / "model.keras").write_bytes(b"x" * size)
            self.store.finish(job, Finish(state, Reason.NONE, ""), str(self.paths.result(job)))
        else:
            self.paths.job(job).checkpoint.mkdir(parents=True)
            (self.paths.job(job).checkpoint / "weights").write_bytes(b"x" * size)
            self.paths.job(job).attempt(1).root.mkdir()
            self.paths.job(job).attempt(1).log.write_bytes(b"it broke\n")
            self.store.finish(job, Finish(state, Reason.NAN_LOSS, "nan"), None)
        return job

    def upload(
        self, who: Caller, name: str, size: int, stored_at: str = "2020-01-01T00:00:00.000000Z"
    ) -> Path:
        self.store.uploads.add(who.uid, name, size)
        self.sql("UPDATE data SET stored_at = ? WHERE sha256 = ?", stored_at, name)
        path = self.paths.data(who.uid, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"d" * size)
        return path

    def sql(self, text: str, *values: object) -> list[sqlite3.Row]:
        return self.store._connection.execute(text, values).fetchall()

    def prune(
        self, rules: Rules = ALL, actor: str = "gpujobs", uid: int | None = None
    ) -> set[tuple[str, object]]:
        removed = asyncio.run(self.retention.prune(rules, actor, uid))
        return {(str(one.kind), one.job or one.sha256) for one in removed}

    def plan(self, rules: Rules = ALL, uid: int | None = None) -> set[tuple[str, object]]:
        return {(str(o.kind), o.job or o.sha256) for o in asyncio.run(self.retention.plan(rules, uid))}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.store.close()


def test_the_dry_run_says_what_goes_and_nothing_else_goes(place: Place) -> None:
    done, failed = place.ended(), place.ended(state=State.FAILED)
    (waiting,) = place.submit()
    planned = place.plan()
    assert planned == {
        ("results", done), ("checkpoints", failed), ("logs", failed), ("jobs", done), ("jobs", failed)
    }  # fmt: skip
    assert place.paths.result(done).is_dir() and place.paths.job(failed).work.is_dir()
    assert place.prune() == planned
    assert not place.paths.result(done).exists() and not place.paths.job(failed).root.exists()
    assert [job.id for job in place.store.unfinished()] == [waiting]
    assert list(place.paths.results.iterdir()) == list((place.paths.spool / "jobs").iterdir()) == []
    assert place.sql("PRAGMA foreign_key_check") == []


def test_what_is_not_old_enough_stays(place: Place) -> None:
    old, young = place.ended(), place.ended()
    place.sql("UPDATE jobs SET ended_at = '2020-01-01T00:00:00.000000Z' WHERE id = ?", old)
    assert place.prune(Rules({Kind.RESULTS: timedelta(days=30)})) == {("results", old)}
    assert place.paths.result(young).is_dir()


def test_results_that_were_removed_are_said(place: Place) -> None:
    job = place.ended()
    place.prune(Rules({Kind.RESULTS: AT_ONCE}), actor="alice")
    found = place.store.job(job)
    assert found.results is None and found.state is State.COMPLETED
    assert (removed_note(found) or "").startswith(f"the results of job {job} were removed by alice on ")
    assert place.store.events(job)[-1].message == "its results (10 bytes) were removed by alice"


def test_logs_outlive_checkpoints(place: Place) -> None:
    job = place.ended(state=State.CANCELLED)
    assert place.prune(Rules({Kind.CHECKPOINTS: AT_ONCE})) == {("checkpoints", job)}
    assert place.paths.job(job).attempt(1).log.read_bytes() == b"it broke\n"
    assert place.prune(Rules({Kind.LOGS: AT_ONCE})) == {("logs", job)}
    assert not place.paths.job(job).root.exists()
    assert (place.store.note_of_removal(job, "logs") or "").startswith(f"of job {job}, its logs (")


@pytest.mark.parametrize("how", ["after", "after_any", "continues", "model", "continues by another"])
def test_nothing_goes_that_an_unfinished_job_needs(place: Place, how: str) -> None:
    state = State.FAILED if how.startswith("continues") else State.COMPLETED
    kept, other = place.ended(state=state), place.ended(state=state)
    if how == "model":
        place.submit(resolved={"model": {"job": kept}})
    elif how == "continues by another":
        (between,) = place.submit(continues=kept)
        place.store.cancel_pending(between, "alice", Finish(State.CANCELLED, Reason.CANCELLED_BY_USER, ""))
        place.submit(continues=between)
    else:
        after: dict[str, Any] = {how: kept if how == "continues" else (kept,)}
        place.submit(**after)
    removed = place.prune()
    assert {job for _, job in removed} == {other}
    assert (
        place.paths.result(kept) if state is State.COMPLETED else place.paths.job(kept).checkpoint
    ).is_dir()


def test_a_job_that_comes_while_it_is_planned_keeps_what_it_needs(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the plan and the removal."""
    kept = place.ended(state=State.FAILED)

    async def prune() -> set[object]:
        real = place.retention.plan

        async def plan_then_submit(rules: Rules, uid: int | None = None) -> Any:
            planned = await real(rules, uid)
            place.submit(continues=kept)
            return planned

        monkeypatch.setattr(place.retention, "plan", plan_then_submit)
        return {one.job for one in await place.retention.prune(ALL, "gpujobs")}

    assert asyncio.run(prune()) == set()
    assert place.paths.job(kept).checkpoint.is_dir()


def test_a_user_prunes_only_own(place: Place) -> None:
    mine, theirs = place.ended(ALICE), place.ended(BOB)
    assert place.prune(uid=ALICE.uid) == {("results", mine), ("jobs", mine)}
    assert place.paths.result(theirs).is_dir()


def test_the_oldest_go_where_a_user_has_too_much(place: Place) -> None:
    jobs = [place.ended(ALICE, size=100) for _ in range(4)]
    other = place.ended(BOB, size=100)
    assert place.prune(Rules(sizes={Kind.RESULTS: 250})) == {("results", jobs[0]), ("results", jobs[1])}
    assert place.paths.result(other).is_dir() and place.paths.result(jobs[2]).is_dir()


def test_data_that_nobody_uses_goes(place: Place) -> None:
    unused, used, ran = (place.upload(ALICE, name * 64, 5) for name in "abc")
    fresh = place.upload(ALICE, "e" * 64, 5, stored_at="2999-01-01T00:00:00.000000Z")
    theirs = place.upload(BOB, "b" * 64, 5)
    place.submit(data=(DataReference("d", "b" * 64, 5),))
    place.ended(data=(DataReference("d", "c" * 64, 5),))
    removed = place.prune(Rules({Kind.DATA: timedelta(days=30)}))
    assert removed == {("data", "a" * 64), ("data", "b" * 64)}  # that of bob, whose job it is not
    assert [path.exists() for path in (unused, used, ran, fresh, theirs)] == [False, True, True, True, False]
    assert not place.store.uploads.has(ALICE.uid, "a" * 64) and place.store.uploads.has(ALICE.uid, "b" * 64)
    place.sql("UPDATE jobs SET ended_at = '2020-01-01T00:00:00.000000Z' WHERE state = 'COMPLETED'")
    assert place.prune(Rules({Kind.DATA: AT_ONCE})) == {("data", "c" * 64)}


def test_fair_share_and_estimates_still_count_what_removed_jobs_used(place: Place) -> None:
    for who in (ALICE, BOB, ALICE):
        place.ended(who, family="f")
    begin = utc_now() - timedelta(days=1)
    before, peaks = place.store.usage.since(begin), place.store.usage.peaks()
    place.prune()
    assert place.sql("SELECT count(*) FROM attempts")[0][0] == 0
    assert place.store.usage.since(begin) == before and len(before) == 3
    assert place.store.usage.peaks() == peaks == {"f": 1003}


def test_a_group_goes_as_a_whole_and_a_text_stays_while_somebody_needs_it(place: Place) -> None:
    first, second, third = place.submit(count=3, group="s")
    for job in (first, second):
        place.store.cancel_pending(job, "alice", Finish(State.CANCELLED, Reason.CANCELLED_BY_USER, ""))
    assert place.prune() == set()
    place.store.cancel_pending(third, "alice", Finish(State.CANCELLED, Reason.CANCELLED_BY_USER, ""))
    assert place.prune() == {("jobs", job) for job in (first, second, third)}
    assert place.sql("SELECT count(*) FROM specs")[0][0] == 0


def test_what_was_queued_again_still_belongs_together(place: Place) -> None:
    first = place.ended()
    second, third = place.submit()[0], place.submit()[0]
    place.sql("UPDATE jobs SET origin = ? WHERE id IN (?, ?)", first, second, third)
    assert ("jobs", first) in place.prune()
    assert [tuple(row) for row in place.sql("SELECT id, origin FROM jobs ORDER BY id")] == [
        (second, None),
        (third, second),
    ]


def test_a_job_whose_results_stay_keeps_its_record_and_its_history(place: Place) -> None:
    job = place.ended()
    assert place.prune(Rules({Kind.JOBS: AT_ONCE})) == set()
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        place.sql("DELETE FROM events WHERE job = ?", job)


def test_numbers_of_removed_jobs_are_not_given_again(place: Place) -> None:
    last = place.ended()
    place.prune()
    assert place.submit()[0] > last


def test_a_link_that_a_user_puts_among_the_results_leads_nowhere(place: Place, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    job = place.ended()
    (place.paths.result(job) / "link").symlink_to(precious)
    place.prune()
    assert (precious / "file").read_text() == "x" and not place.paths.result(job).exists()


def test_what_a_killed_daemon_had_put_aside_is_deleted_and_a_strange_directory_is_not(place: Place) -> None:
    """Results without a job may be those of a newer store than this one."""
    place.paths.results.mkdir()
    (place.paths.results / ".removed-7-abc").mkdir()
    (place.paths.results / "999").mkdir()
    job = place.ended()
    place.store.pruning.forget_results(job, "gpujobs", "as before a kill")
    place.prune(Rules({Kind.RESULTS: AT_ONCE}))
    assert [path.name for path in place.paths.results.iterdir()] == ["999"]


def test_logs_of_the_daemon_begin_anew_and_keep_their_end(place: Place) -> None:
    place.table = Table(daemon_logs=100)
    log, small = place.paths.run / "head.log", place.paths.run / "small.log"
    small.write_text("short")
    with log.open("ab", buffering=0) as writer:
        writer.write(b"a" * 150 + b"b" * 100)
        place.retention.rotate()
        writer.write(b"new")
    assert log.read_bytes() == b"new"
    assert (place.paths.run / "head.log.1").read_bytes() == b"b" * 100
    assert small.read_text() == "short"


def test_a_log_that_cannot_begin_anew_keeps_nothing_from_being_removed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk at the daemon's start: retention is what makes room there."""
    (place.paths.run / "head.log").write_text("x" * 200)
    (place.paths.run / "head.log.1").mkdir()  # nothing can be kept there
    place.table, removed = Table(daemon_logs=100), asyncio.Event()

    async def prune(*_: object) -> list[object]:
        removed.set()
        return []

    async def work() -> None:
        running, waiting = (asyncio.create_task(one) for one in (place.retention.run(), removed.wait()))
        await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED, timeout=20)
        assert removed.is_set()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    monkeypatch.setattr("gpujobs.daemon.keeping.retention.FIRST_SECONDS", 0.0)
    monkeypatch.setattr(place.retention, "prune", prune)
    asyncio.run(work())


def test_thousands_of_ended_jobs_do_not_hold_up_the_event_loop(place: Place) -> None:
    for _ in range(10):
        ids = place.submit(count=200)
        with place.store.together():
            for job in ids:
                place.store.cancel_pending(
                    job, "alice", Finish(State.CANCELLED, Reason.CANCELLED_BY_USER, "")
                )

    async def prune() -> float:
        """The longest time that something else had to wait."""
        work = asyncio.create_task(place.retention.prune(ALL, "gpujobs"))
        longest = 0.0
        while not work.done():
            begin = time.monotonic()
            await asyncio.sleep(0)
            longest = max(longest, time.monotonic() - begin)
        assert len(work.result()) == 2000
        return longest

    assert asyncio.run(prune()) < 2.0, os.times()


def test_what_was_kept_aside_goes_with_its_age(place: Place) -> None:
    """Other results, another job's directory and a store, none of which a job knows; what is there stays."""
    done, failed = place.ended(), place.ended(state=State.FAILED)
    for directory in (place.paths.result(77), place.paths.job(77).work, place.root / "before-restore-1"):
        directory.mkdir(parents=True)
        (directory / "file").write_bytes(b"x" * 7)
    (place.root / "numbers.json.damaged").write_bytes(b"{")
    (place.paths.job(failed).root / "work.damaged").write_bytes(b"no directory")
    durable.set_aside(place.paths.result(77), "other")
    durable.set_aside(place.paths.job(77).root, "other")
    names = {"77.other", "before-restore-1", "numbers.json.damaged", "work.damaged"}
    young = Rules({Kind.RESULTS: timedelta(hours=1), Kind.CHECKPOINTS: timedelta(hours=1)})
    assert asyncio.run(place.retention.plan(young)) == []
    results = Rules({Kind.RESULTS: AT_ONCE})
    assert place.plan(results) == {("results", done), ("results", None)}
    others = Rules({Kind.CHECKPOINTS: AT_ONCE})
    planned = asyncio.run(place.retention.plan(others))
    assert {one.name for one in planned if one.name} == names
    assert sum(one.bytes for one in planned if one.name) == 7 + 7 + 1 + len(b"no directory")
    place.prune(others)
    assert place.paths.result(done).is_dir()
    assert not [path for path in place.root.rglob("*") if path.name in names - {"77.other"}]
    assert {path.name for path in place.paths.results.iterdir()} == {str(done), "77.other"}
    assert place.prune(results) == {("results", done), ("results", None)}
    assert list(place.paths.results.iterdir()) == []


def test_a_user_does_not_remove_what_of_others_was_kept_aside(place: Place) -> None:
    (place.root / "numbers.json.damaged").write_bytes(b"{")
    assert place.plan(uid=os.geteuid() + 12345) == set()
    assert place.plan(uid=os.geteuid()) == {("checkpoints", None)}


def test_a_directory_in_which_a_trainer_lives_stays(place: Place) -> None:
    lock = place.paths.spool / "jobs" / "77.other" / "attempt-1" / "supervisor.lock"
    lock.parent.mkdir(parents=True)
    held = durable.lock(lock)
    assert place.plan() == set()
    os.close(held)
    assert place.plan() == {("checkpoints", None)}
