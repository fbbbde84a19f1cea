"""Those who look: open pages, terminals, and a browser's clock."""

from __future__ import annotations

import asyncio
import fcntl
import http.client
import os
import pty
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

from benchmarks.support.timing import until

CLEARED = b"\x1b[H"
"""How a picture on a terminal begins."""


def cookie_of(link: str) -> str:
    """What a link, which works once, becomes."""
    parts = urlsplit(link)
    assert parts.hostname and parts.port
    with closing(http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)) as connection:
        connection.request("GET", f"{parts.path}?{parts.query}")
        answer = connection.getresponse()
        if answer.status != 303:
            raise RuntimeError(f"the link does not log in: {answer.status} {answer.read()!r}")
        return answer.headers["Set-Cookie"].partition(";")[0]


class Pages:
    """As many open pages as there are cookies, each of which reads its events."""

    def __init__(self, address: tuple[str, int], cookies: Sequence[str]) -> None:
        self._address, self._cookies = address, cookies
        self.heard = 0
        """Bytes of all of them."""

    async def _read(self, cookie: str) -> None:
        host, port = self._address
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(f"GET /events HTTP/1.1\r\nHost: {host}:{port}\r\nCookie: {cookie}\r\n\r\n".encode())
            if b" 200 " not in await reader.readline():
                raise RuntimeError("a page was refused")
            while piece := await reader.read(1 << 16):
                self.heard += len(piece)
            raise RuntimeError("a page was disconnected")
        finally:
            writer.close()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for cookie in self._cookies:
                group.create_task(self._read(cookie))

    @contextmanager
    def open(self) -> Iterator[None]:
        """Raises RuntimeError where one of them was cut off meanwhile."""
        loop = asyncio.new_event_loop()
        task = loop.create_task(self._run())
        failed: list[BaseException] = []

        def work() -> None:
            try:
                loop.run_until_complete(task)
            except asyncio.CancelledError:
                pass
            except BaseExceptionGroup as group:
                failed.extend(group.exceptions)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(task.cancel)
            thread.join(20)
        if failed:
            raise failed[0]


class Terminal:
    """A program on a pseudo-terminal, whose output is read and looked through for `CLEARED`."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], columns: int, lines: int
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process = subprocess.Popen(
            command, env={**environment, "TERM": "xterm-256color"}, stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.draws = 0
        self.written = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._master, 1 << 16)
            except OSError:  # it has ended
                return
            self.draws += piece.count(CLEARED)
            self.written += len(piece)

    def until_written(self, count: int) -> None:
        until(lambda: self.written > count, 60, f"{count} bytes on a terminal")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self._reader.join(20)
        os.close(self._master)


@contextmanager
def terminal(command: Sequence[str], environment: Mapping[str, str], **size: Any) -> Iterator[Terminal]:
    with closing(Terminal(command, environment, **size)) as made:
        yield made
