"""Who asks for a long list holds nobody else up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gpujobs.config.settings import Settings
from gpujobs.daemon.build import build
from gpujobs.daemon.daemon import Daemon
from gpujobs.daemon.jobs.apart import Moment
from gpujobs.daemon.jobs.references import Choice, Chosen
from gpujobs.daemon.jobs.service import cancelled_by
from gpujobs.daemon.keys import CALLER
from gpujobs.daemon.server import make_application
from gpujobs.model import State
from gpujobs.paths import StatePaths
from gpujobs.store.reader import Reader
from gpujobs.store.store import Store
from tests.unit.store.jobs import A, complete, new_job

ENDED = 30_000
SMALL = "/v1/info"
AT_LEAST = 5
"""Small requests, one after the other, that are answered while a long list is made."""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job that waits, and very many that have ended."""
    directory = tmp_path_factory.mktemp("long")
    database = StatePaths(directory).database
    store = Store(database)
    store.submit(A, "first", [new_job("first")])
    complete(store, 1)
    store.submit(A, "waits", [new_job("waits")])
    store.close()
    copied(database, ENDED)
    return directory


def copied(database: Path, times: int) -> None:
    """Job 1 as so many more."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        for table, of in (("jobs", "id"), ("attempts", "job")):
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != of]
            taken = ["'k' || n.value" if name == "request_key" else name for name in names]
            connection.execute(
                f"INSERT INTO {table} ({of}, {', '.join(names)}) SELECT n.value + 2, {', '.join(taken)} FROM {table},"
                " (WITH RECURSIVE c(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM c WHERE value < ?)"
                f" SELECT value FROM c) n WHERE {table}.{of} = 1",
                (times,),
            )
        connection.commit()


async def answered_meanwhile(
    client: TestClient[web.Request, web.Application], path: str, body: object = None
) -> int:
    """How many small requests were answered between the asking for this list and its answer."""

    async def whole() -> None:
        async with client.request("GET" if body is None else "POST", path, json=body) as answer:
            assert answer.status == 200
            await answer.read()

    asked, count = asyncio.create_task(whole()), 0
    await asyncio.sleep(0)
    while not asked.done():
        async with client.get(SMALL) as answer:
            await answer.read()
        count += not asked.done()
    await asked
    return count


CHANGED = {"ids": [f"1-{ENDED}"], "dry_run": True}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/queue?all=1&limit=100", None),
        ("/v1/jobs?all=1&newest=100", None),
        (f"/v1/jobs?ids=1-{ENDED}&limit=10", None),
        *((f"/v1/jobs/{verb}", CHANGED) for verb in ("cancel", "hold")),
    ],
)
def test_small_requests_are_answered_while_a_long_list_is_read(
    directory: Path, path: str, body: object
) -> None:
    @web.middleware
    async def as_a(request: web.Request, handler: object) -> web.StreamResponse:
        request[CALLER] = A
        return await handler(request)  # type: ignore[operator]

    async def ask() -> int:
        daemon = build(Settings("personal", directory, directory / "socket"))
        async with TestClient(TestServer(make_application(daemon, [as_a]))) as client:
            async with client.get(SMALL) as answer:
                assert answer.status == 200
            count = await answered_meanwhile(client, path, body)
        await Daemon(daemon).close()
        return count

    assert asyncio.run(ask()) >= AT_LEAST


@pytest.mark.parametrize(
    ("states", "expected"),
    [((), {1: State.PENDING, 2: State.CANCELLED}), ((State.PENDING,), {1: State.PENDING})],
)
def test_what_is_to_be_changed_is_as_it_is_after_the_reading_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, states: tuple[State, ...], expected: dict[int, State]
) -> None:
    """A job that is cancelled while a range is read is cancelled, and one that was chosen as waiting is not meant."""

    async def ask() -> Chosen:
        daemon = build(Settings("personal", tmp_path, tmp_path / "socket"))
        daemon.writer.jobs(lambda store: store.submit(A, "k", [new_job(name) for name in "ab"]))
        read = Moment.read

        async def slow(moment: Moment, work: Callable[[Reader], Chosen]) -> Chosen:
            chosen = await read(moment, work)
            daemon.writer.job(lambda store: store.cancel_pending(2, "a", cancelled_by("a")))
            return chosen

        monkeypatch.setattr(Moment, "read", slow)
        choice = Choice(["1-2"], states=frozenset(states))
        chosen = await daemon.queries.chosen_to_change(A, choice)
        await Daemon(daemon).close()
        return chosen

    assert {job.id: job.state for job in asyncio.run(ask()).jobs} == expected


async def lines_of(client: TestClient[web.Request, web.Application], path: str) -> list[bytes]:
    """The whole answer of what ends when the jobs have."""
    async with asyncio.timeout(20), client.get(path) as answer:
        assert answer.status == 200
        return [line async for line in answer.content]


def test_whoever_waits_hears_of_what_ended_while_the_jobs_were_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @web.middleware
    async def as_a(request: web.Request, handler: object) -> web.StreamResponse:
        request[CALLER] = A
        return await handler(request)  # type: ignore[operator]

    async def ask() -> dict[int, str]:
        daemon = build(Settings("personal", tmp_path, tmp_path / "socket"))
        daemon.writer.jobs(lambda store: store.submit(A, "k", [new_job(name) for name in "ab"]))
        read = Moment.read

        async def slow(moment: Moment, work: Callable[[Reader], Chosen]) -> Chosen:
            chosen = await read(moment, work)
            daemon.writer.jobs(
                lambda store: [store.cancel_pending(number, "a", cancelled_by("a")) for number in (1, 2)]
            )
            return chosen

        monkeypatch.setattr(Moment, "read", slow)
        async with TestClient(TestServer(make_application(daemon, [as_a]))) as client:
            lines = [json.loads(line)["job"] for line in await lines_of(client, "/v1/watch?ids=1-2")]
        await Daemon(daemon).close()
        return {job["id"]: job["state"] for job in lines}

    assert asyncio.run(ask()) == {1: "CANCELLED", 2: "CANCELLED"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "s.db")
    yield opened
    opened.close()


def test_what_is_read_in_a_thread_is_of_the_moment_at_which_it_was_asked_for(store: Store) -> None:
    store.submit(A, "k", [new_job("one"), new_job("two")])
    complete(store, 1)
    found: list[list[int]] = []
    with store.frozen() as before:
        complete(store, 2)
        reading = threading.Thread(target=lambda: found.append([job.id for job in before.outlines()]))
        reading.start()
        reading.join()
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            before._connection.execute("UPDATE jobs SET message = 'x'")
    assert found == [[1]] and [job.id for job in store.outlines()] == [1, 2]
