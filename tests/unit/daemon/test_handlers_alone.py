"""A handler with the one service that it uses, and nothing else of a daemon."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gpujobs.config.settings import Settings
from gpujobs.daemon.build import Parts, build
from gpujobs.daemon.daemon import Daemon
from gpujobs.daemon.handlers import jobs, queue, reservations
from gpujobs.daemon.keys import CALLER, DEVICES, JOB_QUERIES
from gpujobs.model import Caller
from tests.unit.store.jobs import A, new_job

Handler = Any


def ask(tmp_path: Path, key: Any, part: str, get: Handler) -> Any:
    @web.middleware
    async def as_caller(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[CALLER] = Caller(uid=A.uid, gid=A.gid, pid=1, user=A.user)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def work() -> Any:
        parts: Parts = build(Settings("personal", tmp_path, tmp_path / "socket"))
        for job in parts.store.submit(A, "k", [new_job()]):
            parts.cache.put(job)
        application = web.Application(middlewares=[as_caller])
        application[key] = getattr(parts, part)
        application.router.add_get("/", get)
        async with TestClient(TestServer(application)) as client:
            answer = await (await client.get("/")).json()
        await Daemon(parts).close()
        return answer

    return asyncio.run(work())


def test_the_list_of_jobs_needs_the_queries_alone(tmp_path: Path) -> None:
    assert [job["id"] for job in ask(tmp_path, JOB_QUERIES, "queries", jobs.handle)["jobs"]] == [1]


def test_the_queue_needs_the_queries_alone(tmp_path: Path) -> None:
    assert [row["job"]["id"] for row in ask(tmp_path, JOB_QUERIES, "queries", queue.handle)["rows"]] == [1]


def test_reservations_need_the_devices_alone(tmp_path: Path) -> None:
    assert ask(tmp_path, DEVICES, "devices", reservations.handle)["reservations"] == []
