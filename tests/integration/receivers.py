"""Who is told news in tests: a mail server of a few lines (RFC 5321, as much as smtplib asks for) and a web server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_string, policy
from email.message import EmailMessage
from typing import Any

from aiohttp import web


@dataclass
class MailServer:
    """`answers`: what it says to the next letters, 250 to all further ones. `silent`: it takes connections, and says
    nothing."""

    port: int = 0
    answers: list[str] = field(default_factory=list)
    silent: bool = False
    letters: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.silent:
            await reader.read()
            writer.close()
            return
        writer.write(b"220 here\r\n")
        while line := (await reader.readline()).decode():
            word = line[:4].upper().strip()
            if word == "RCPT":
                self.recipients.append(line.partition("<")[2].partition(">")[0])
            if word == "DATA":
                writer.write(b"354 go on\r\n")
                lines = []
                while (one := (await reader.readline()).decode()) != ".\r\n":
                    lines.append(one)
                answer = self.answers.pop(0) if self.answers else "250 taken"
                if answer.startswith("250"):
                    letter = message_from_string("".join(lines), policy=policy.default)
                    self.letters.append(letter)
                writer.write(f"{answer}\r\n".encode())
            else:
                writer.write(b"221 bye\r\n" if word == "QUIT" else b"250 yes\r\n")
            if word == "QUIT":
                break
        writer.close()


@asynccontextmanager
async def mail_server(**options: Any) -> AsyncIterator[MailServer]:
    found = MailServer(**options)
    server = await asyncio.start_server(found.talk, "127.0.0.1", found.port)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()


@dataclass
class WebServer:
    """`answers`: the statuses of the next posts, 200 to all further ones."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    posts: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    says: str = ""

    async def post(self, request: web.Request) -> web.Response:
        status = self.answers.pop(0) if self.answers else 200
        self.posts.append(json.loads(await request.text()))
        self.keys.append(request.headers["Idempotency-Key"])
        headers = {"Location": "/elsewhere"} if status == 302 else {}
        return web.Response(status=status, text=self.says or "so it is", headers=headers)

    async def other(self, request: web.Request) -> web.Response:
        self.elsewhere.append(request.path)
        return web.Response()


@asynccontextmanager
async def web_server() -> AsyncIterator[WebServer]:
    found = WebServer()
    application = web.Application()
    application.router.add_post("/hook", found.post)
    application.router.add_route("*", "/elsewhere", found.other)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    found.url = f"http://127.0.0.1:{port}/hook?key=secret"
    try:
        yield found
    finally:
        await runner.cleanup()
