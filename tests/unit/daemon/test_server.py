"""Who is let in by the server, with which rights, and how long anybody is waited for; on the socket and on pages."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gpujobs.config.settings import Settings
from gpujobs.daemon import server
from gpujobs.daemon.access.policy import AccessPolicy
from gpujobs.daemon.build import Parts, build
from gpujobs.daemon.modes import Mode
from gpujobs.daemon.web import listener
from gpujobs.model import Caller

NOT_ON_PAGES = {
    "POST /v1/web/link",
    "GET /v1/backup",
    "POST /v1/stop",
    "GET /v1/notify",
    "POST /v1/notify",
    "POST /v1/notify/test",
    "POST /v1/nodes/token",
}
"""A cookie is no reason for these."""


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    """Of a daemon that was not started."""
    made = build(Settings("personal", tmp_path, tmp_path / "socket"))
    yield made
    made.store.close()


def pages_of(parts: Parts) -> web.Application:
    return server.make_pages(parts, listener.door_of(parts.in_force, parts.paths, parts.state_id))


def routes_of(application: web.Application) -> set[str]:
    found = {(one.method, one.resource) for one in application.router.routes()}
    return {f"{method} {resource.canonical}" for method, resource in found if resource is not None}


@asynccontextmanager
async def on_socket(
    parts: Parts, path: Path
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    runner = web.AppRunner(server.make_application(parts))
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        async with asyncio.timeout(20):
            yield reader, writer
    finally:
        writer.close()
        await runner.cleanup()


def answer(parts: Parts, path: Path, request: bytes) -> str:
    """The whole of it."""

    async def ask() -> str:
        async with on_socket(parts, path) as (reader, writer):
            writer.write(request)
            return (await reader.read()).decode()

    return asyncio.run(ask())


def test_what_ends_the_daemon_or_gives_away_secrets_is_for_the_socket_alone(parts: Parts) -> None:
    here, there = routes_of(server.make_application(parts)), routes_of(pages_of(parts))
    assert here - there == NOT_ON_PAGES


def test_nobody_is_served_by_a_page_without_a_cookie(parts: Parts) -> None:
    async def ask() -> list[int]:
        async with TestClient(TestServer(pages_of(parts))) as client:
            asked = [
                await client.get(path) for path in ("/v1/jobs", "/v1/queue", "/v1/jobs/1/log", "/v1/watch")
            ]
            return [one.status for one in asked]

    assert asyncio.run(ask()) == [401] * 4


@pytest.mark.parametrize(("mode", "expected"), [(Mode.PERSONAL, 0o600), (Mode.SITE, 0o666)])
def test_whom_the_socket_lets_in_is_said_by_its_mode(
    parts: Parts, tmp_path: Path, mode: Mode, expected: int
) -> None:
    door = server.door_of(replace(parts, mode=mode))
    with door.open():
        assert stat.S_IMODE((tmp_path / "socket").stat().st_mode) == expected
    door.close()


@pytest.mark.parametrize("mode", [Mode.PERSONAL, Mode.SITE])
def test_connections_of_a_user_are_counted_where_there_are_several(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    seen = list[int | None]()

    def limit(_: object, per_user: int | None) -> None:
        seen.append(per_user)
        raise InterruptedError

    monkeypatch.setattr(server, "ConnectionLimit", limit)
    as_mode = replace(parts, mode=mode)

    async def serve() -> None:
        async with server.serving(as_mode, server.door_of(as_mode)):
            raise AssertionError("nobody limits it")

    with pytest.raises(InterruptedError):
        asyncio.run(serve())
    assert seen == [parts.in_force.site.quotas.connections if mode is Mode.SITE else None]


def test_rights_are_those_of_this_request(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def admit(_: AccessPolicy, caller: Caller) -> Caller:
        return replace(caller, user="ada", is_admin=False)

    monkeypatch.setattr(AccessPolicy, "admit", admit)
    body = b'{"devices": ["0"]}'
    head = (
        f"POST /v1/gpus/drain HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    said = answer(parts, tmp_path / "s", head.encode() + body)
    assert said.startswith("HTTP/1.1 403 ") and "ada may not drain devices" in said


def test_whoever_stops_in_the_middle_of_a_request_is_not_waited_for(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "BODY_SECONDS", 0.1)
    head = b"POST /v1/jobs/hold HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10\r\n\r\n{"
    said = answer(parts, tmp_path / "s", head)
    assert said.startswith("HTTP/1.1 400 ") and "body did not come within 0.1 s" in said
