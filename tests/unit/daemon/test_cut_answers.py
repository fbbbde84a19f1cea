"""What fails in the middle of an answer: whoever reads it must neither take an error for a part of it nor wait on."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gpujobs.daemon.server import MIDDLEWARES
from gpujobs.errors import MachineError

BODY = b"0123456789"


async def read_to_the_end(fails_after: bytes, length: int | None, error: Exception) -> bytes:
    """All that comes on the connection until it is closed."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = length
        await response.prepare(request)
        if fails_after:
            await response.write(fails_after)
        raise error

    application = web.Application(middlewares=MIDDLEWARES[:1])
    application.router.add_get("/", handle)
    async with TestServer(application) as server, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        found = await reader.read()
        writer.close()
    return found


@pytest.mark.parametrize("error", [MachineError("box2 is away"), KeyError("surprise"), TimeoutError()])
@pytest.mark.parametrize("sent", [BODY, b""])
@pytest.mark.parametrize("length", [1000, None])
def test_the_connection_is_closed_and_nothing_of_the_error_is_in_the_answer(
    length: int | None, sent: bytes, error: Exception
) -> None:
    """Closed: or else a `fetch` would wait for the rest of the file, whose next bytes were those of the error."""
    found = asyncio.run(read_to_the_end(sent, length, error))
    head, _, body = found.partition(b"\r\n\r\n")
    assert head.count(b"HTTP/1.1") == 1 and b" 200 " in head
    assert body == (sent if length is not None or not sent else b"a\r\n" + sent + b"\r\n")
