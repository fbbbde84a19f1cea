"""What the outbox begins, and when, and what it records; whoever is told stands aside."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from gpujobs.config.settings import Settings
from gpujobs.daemon.build import Parts, build
from gpujobs.daemon.news import outbox
from gpujobs.daemon.news.outbox import Outbox
from gpujobs.daemon.writer import StoreWriter
from gpujobs.errors import NotFoundError, UsageError
from gpujobs.model import Caller, utc_now
from gpujobs.protocol.news import Outcome
from gpujobs.store.news import NewNews, WaitingNews
from tests.unit.store.jobs import A, B, new_job

TOLD = Outcome(True, False, "")
LATER = Outcome(False, True, "later")


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    """Of a daemon that was not started. Jobs 1 to 9 are a's, job 10 is b's."""
    made = build(Settings("personal", tmp_path, tmp_path / "socket"))
    made.store.submit(A, "k", [new_job() for _ in range(9)])
    made.store.submit(B, "k", [new_job()])
    yield made
    made.store.close()


def add(parts: Parts, job: int, to: str, caller: Caller = A, way: str = "mail") -> None:
    new = NewNews(job, None, caller.uid, "end", f"end:{job}", "", way, (to,), utc_now())
    parts.store.news.add([new], None, per_hour=100)


def only(parts: Parts) -> WaitingNews:
    (one,) = parts.store.news.waiting()
    return one


def test_a_recipient_is_told_one_thing_after_the_other_and_few_of_a_user_at_once(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = list[WaitingNews](), asyncio.Event()

    async def tell(_: Outbox, one: WaitingNews) -> Outcome:
        begun.append(one)
        await go.wait()
        return TOLD

    monkeypatch.setattr(Outbox, "_tell", tell)
    for job in (1, 2, 3):
        add(parts, job, "ada@example.org")
    for job in range(4, 10):
        add(parts, job, f"{job}@example.org")
    add(parts, 10, "bob@example.org", B)

    async def run() -> None:
        for _ in range(3):
            parts.outbox._work()
            await asyncio.sleep(0)
        assert [one.job for one in begun] == [1, 4, 5, 6, 10]
        go.set()
        async with asyncio.timeout(20):
            while parts.store.news.waiting():
                parts.outbox._work()
                await asyncio.sleep(0)

    asyncio.run(run())
    assert Counter(one.job for one in begun) == Counter(range(1, 11)), "each once"
    assert [one.job for one in begun if one.recipient == ("ada@example.org",)] == [1, 2, 3]


def test_each_pause_is_four_times_the_one_before_until_it_is_given_up(parts: Parts) -> None:
    table = parts.in_force.site.notify
    add(parts, 1, "ada@example.org")
    for number in range(table.tries - 1):
        before = utc_now()
        asyncio.run(parts.outbox._record(only(parts), LATER))
        pause = timedelta(seconds=float(table.retry_after) * 4**number)
        assert (
            before + pause <= only(parts).next_at + timedelta(seconds=1)
            and only(parts).next_at <= utc_now() + pause
        )
    asyncio.run(parts.outbox._record(only(parts), LATER))
    assert parts.store.news.waiting() == []
    states = parts.store._connection.execute("SELECT state, tries FROM news").fetchall()
    assert [tuple(row) for row in states] == [("failed", table.tries)]


def test_what_came_of_news_of_a_job_that_was_removed_is_nobodys(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise NotFoundError("job 1 is unknown")

    add(parts, 1, "ada@example.org")
    one = only(parts)
    monkeypatch.setattr(StoreWriter, "do", gone)
    asyncio.run(parts.outbox._record(one, TOLD))


def allow_mail_alone(parts: Parts) -> None:
    site = parts.in_force.site
    table = site.notify.model_copy(update={"ways": ["mail"]})
    parts.in_force.replace(parts.settings, site.model_copy(update={"notify": table}))


def test_what_the_site_allows_no_more_is_not_told(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was allowed when it was put there; a test is told by the same rule."""

    async def deliver(_: object) -> Outcome:
        raise AssertionError("it was told")

    monkeypatch.setattr(outbox, "deliver", deliver)
    monkeypatch.setattr("gpujobs.daemon.news.service.deliver", deliver)
    asyncio.run(parts.news.set(A, {"command": ["/bin/true"]}))
    add(parts, 1, "/bin/true", way="command")
    allow_mail_alone(parts)
    said = [asyncio.run(parts.outbox._tell(only(parts)))]
    said += [outcome for _, outcome in asyncio.run(parts.news.test(A))]
    assert [(one.sent, one.again) for one in said] == [(False, False)] * 2
    assert all(one.said.endswith("; it does by mail") for one in said), said


def test_the_mark_moves_on_where_nobody_wants_to_be_told_but_not_for_each_event(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.outbox._look_at_events()
    assert parts.store.news.cursor == 0
    monkeypatch.setattr(outbox, "MARK_EVERY", 2)
    parts.outbox._look_at_events()
    assert parts.store.news.cursor == 10


@pytest.mark.parametrize(("minutes", "is_too_many"), [(59, True), (61, False)])
def test_tests_count_for_an_hour(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, minutes: int, is_too_many: bool
) -> None:
    """With news that were made meanwhile."""
    now = 100_000.0
    monkeypatch.setattr("gpujobs.daemon.news.service.time.monotonic", lambda: now)
    most = parts.in_force.site.notify.per_hour
    add(parts, 1, "ada@example.org")
    parts.news._count(A, most - 2)
    now += 60 * minutes
    if is_too_many:
        parts.news._count(A, 1)
        with pytest.raises(UsageError, match=f"you were told {most} times within an hour"):
            parts.news._count(A, 1)
        parts.news._count(B, 1)
    else:
        parts.news._count(A, most - 1)


def test_what_somebody_wants_is_theirs_whatever_their_group(parts: Parts) -> None:
    ada = Caller(uid=1000, gid=77, pid=1, user="ada")
    asyncio.run(parts.news.set(ada, {"to": ["ada@example.org"]}))
    assert parts.news.setting(ada) == {"to": ["ada@example.org"]}
    assert parts.news.setting(Caller(uid=77, gid=77, pid=1, user="bob")) is None
