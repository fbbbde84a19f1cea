"""Who asks for a long list holds nobody else up."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gpujobs.config.settings import Settings
from gpujobs.daemon.build import build
from gpujobs.daemon.daemon import Daemon
from gpujobs.daemon.keys import CALLER
from gpujobs.daemon.server import make_application
from gpujobs.paths import StatePaths
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


async def answered_meanwhile(client: TestClient[web.Request, web.Application], path: str) -> int:
    """How many small requests were answered between the asking for this list and its answer."""

    async def whole() -> None:
        async with client.get(path) as answer:
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


@pytest.mark.parametrize(
    "path",
    ["/v1/queue?all=1&limit=100", "/v1/jobs?all=1&newest=100", f"/v1/jobs?ids=1-{ENDED}&limit=10"],
)
def test_small_requests_are_answered_while_a_long_list_is_read(directory: Path, path: str) -> None:
    @web.middleware
    async def as_a(request: web.Request, handler: object) -> web.StreamResponse:
        request[CALLER] = A
        return await handler(request)  # type: ignore[operator]

    async def ask() -> int:
        daemon = build(Settings("personal", directory, directory / "socket"))
        async with TestClient(TestServer(make_application(daemon, [as_a]))) as client:
            async with client.get(SMALL) as answer:
                assert answer.status == 200
            count = await answered_meanwhile(client, path)
        await Daemon(daemon).close()
        return count

    assert asyncio.run(ask()) >= AT_LEAST


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
