"""Requests to the daemon, and its errors raised as ours."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlencode

from gpujobs import __version__
from gpujobs.client.connection import UnixConnection
from gpujobs.errors import (
    DaemonUnreachableError,
    GpujobsError,
    MachineError,
    NotPermittedError,
    ProtocolError,
    from_wire,
)

CHUNK_BYTES = 1 << 20
UNKNOWN_REQUEST = 404
BEYOND_IT = (": Extra inputs are not permitted", " is unknown to this gpujobs daemon")
"""How a daemon's refusal of a field, or a request, ends that only a later version has: commands send what is known."""

RESTART = (
    "whoever runs it ends it (`gpujobs stop`; jobs that run go on) and begins one of this version "
    "(`gpujobs serve`)"
)
SITE_RESTART = "an admin restarts it (`systemctl restart gpujobs`; jobs that run go on)"
OTHER_VERSION = f"it is of another version than this command: {RESTART}"
INFO = "/v1/info"


ADVICE = "start one with `gpujobs serve &`, or run a job at once with `gpujobs run FILE`."


def connect(sockets: Sequence[Path], *, advice: str = ADVICE) -> Client:
    """A client of the first of these sockets that answers.

    Raises DaemonUnreachableError with every place that was tried, NotPermittedError for a server of
    another user's, or where the one socket that was named is closed to the caller.
    """
    tried = []
    for path in sockets:
        connection = UnixConnection(path)
        try:
            connection.connect()
        except PermissionError as error:
            if len(sockets) == 1:
                raise NotPermittedError(
                    f"{path} is closed to you; a personal daemon serves its own user only; "
                    "start one of your own with `gpujobs serve &`."
                ) from error
            tried.append(f"{path} ({error.strerror})")
        except OSError as error:
            tried.append(f"{path} ({error.strerror or error})")
        else:
            return Client(path, connection)
    raise DaemonUnreachableError(f"no daemon answers at {', '.join(tried)}; {advice}")


class Client:
    """One daemon, one connection that is kept; streams have a connection of their own."""

    def __init__(
        self, socket: Path, connection: UnixConnection | None = None, *, is_of_files: bool = False
    ) -> None:
        self.socket = socket
        self.is_of_files = is_of_files
        """Of the files that a daemon has left, which nobody changes."""
        self._connection = connection or UnixConnection(socket)

    def close(self) -> None:
        self._connection.close()

    def get(self, path: str, **query: object) -> dict[str, Any]:
        return self._exchange("GET", _target(path, query))

    def results(self, **query: object) -> list[dict[str, Any]]:
        """Raises MachineError where the node of one of them does not answer."""
        found: list[dict[str, Any]] = self.get("/v1/results", **query)["results"]
        for one in found:
            if why := one.get("unreachable"):
                raise MachineError(f"what job {one['job']} has written cannot be read now: {why}")
        return found

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._exchange("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def put(self, path: str, body: IO[bytes], size_bytes: int) -> None:
        """Sends exactly `size_bytes` of `body`, in pieces."""
        self._exchange("PUT", path, _pieces(body, size_bytes), {"Content-Length": str(size_bytes)})

    def _exchange(
        self,
        method: str,
        target: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] = {},
    ) -> dict[str, Any]:
        with self._translated():
            with suppress(BrokenPipeError):  # refused before all was sent: the answer says why
                self._connection.request(method, target, body, headers)
            return self._judged(self._connection.getresponse())

    def _judged(self, response: http.client.HTTPResponse) -> dict[str, Any]:
        try:
            return _decoded(response)
        except GpujobsError as error:
            if not error.message.endswith(BEYOND_IT):
                raise
            raise self._too_old(error) from None

    def _too_old(self, error: GpujobsError) -> ProtocolError:
        """The daemon is asked what it is only now, since versions seldom differ."""
        info: dict[str, Any] = {}
        if not error.message.startswith(f"GET {INFO} "):  # or it would be asked for ever
            with suppress(GpujobsError):
                info = self.get(INFO)
        runs = info.get("version", __version__)
        which = f" ({runs}, this is {__version__})" if runs != __version__ else ""
        restart = SITE_RESTART if info.get("mode") == "site" else RESTART
        return ProtocolError(
            f"the daemon runs an older version than this command{which}: {restart} (it said: {error.message})"
        )

    @contextmanager
    def open(self, path: str, *, deadline: float | None = None, **query: object) -> Iterator[Stream]:
        """An answer to be read as it comes; until `deadline` (`time.monotonic`), where TimeoutError is raised."""
        connection = UnixConnection(self.socket)
        try:
            with self._translated():
                connection.request("GET", _target(path, query))
                response = connection.getresponse()
                if response.status >= 300:
                    self._judged(response)
            yield Stream(response, self._translated, connection.sock, deadline)
        finally:
            connection.close()

    def watch(self, ids: Sequence[int | str], deadline: float | None = None) -> Iterator[dict[str, Any]]:
        """Jobs, each at once and then as it changes, until all of `ids` have ended, or until `deadline`
        (`time.monotonic`), where TimeoutError is raised."""
        with self.open("/v1/watch", deadline=deadline, ids=list(ids)) as stream:
            for line in stream:
                if line.strip():
                    yield _object(line)["job"]

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (ConnectionError, FileNotFoundError, http.client.HTTPException) as error:
            raise _lost(self.socket, error) from error


class Answer(dict[str, Any]):
    """What a daemon has answered; what it lacks is its fault."""

    def __missing__(self, key: str) -> Any:
        raise ProtocolError(f"the daemon's answer lacks {key!r}; {OTHER_VERSION}")


class Stream:
    """The body of an answer; only its reading, not its reader's printing, can mean a lost daemon."""

    def __init__(
        self,
        response: http.client.HTTPResponse,
        translated: Callable[[], AbstractContextManager[None]],
        sock: socket.socket,
        deadline: float | None,
    ) -> None:
        self._response = response
        self._translated = translated
        self._sock, self._deadline = sock, deadline

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line

    def readline(self) -> bytes:
        if self._deadline is not None:
            self._sock.settimeout(max(self._deadline - time.monotonic(), 0.001))
        with self._translated():
            return self._response.readline()

    def read1(self) -> bytes:
        """What has come, at least one byte; empty at the end."""
        with self._translated():
            return self._response.read1(CHUNK_BYTES)

    def stop(self) -> None:
        """From another thread: whoever reads is told that nothing more comes, or that the daemon is lost."""
        with suppress(OSError, AttributeError):  # it has ended by itself
            self._sock.shutdown(socket.SHUT_RDWR)

    @property
    def size_bytes(self) -> int | None:
        """What Content-Length said."""
        length = self._response.getheader("Content-Length")
        return None if length is None else int(length)


def _lost(socket: Path, error: Exception) -> DaemonUnreachableError:
    return DaemonUnreachableError(
        f"the daemon at {socket} closed the connection in the middle of an answer "
        f"({type(error).__name__}); see its log, or `gpujobs status` when it is back."
    )


def _target(path: str, query: Mapping[str, object]) -> str:
    pairs = {key: _text(value) for key, value in query.items() if is_said(value)}
    return f"{quote(path)}?{urlencode(pairs)}" if pairs else quote(path)


def is_said(value: object) -> bool:
    """0 is, though it equals False: `--tail 0` is not the whole log."""
    return value is not None and value is not False and value not in ((), [])


def _text(value: object) -> str:
    if value is True:
        return "1"
    if isinstance(value, list | tuple):
        return ",".join(quote(str(item), safe="") for item in value)  # a name may have commas
    return str(value)


def _decoded(response: http.client.HTTPResponse) -> dict[str, Any]:
    body = response.read()
    if response.status < 300:
        return _object(body) if body.strip() else {}
    try:
        wire = _object(body)
    except ProtocolError:
        why = f"; {OTHER_VERSION}" if response.status == UNKNOWN_REQUEST else ""
        wire = {
            "code": "protocol",
            "message": f"the daemon answered HTTP {response.status} {response.reason}{why}",
        }
    raise from_wire(wire)


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError as error:
        raise ProtocolError(f"the daemon's answer is not JSON: {body[:80]!r}") from error
    if not isinstance(value, dict):
        raise ProtocolError(f"the daemon's answer is not a JSON object: {body[:80]!r}")
    return Answer(value)


def _pieces(body: IO[bytes], size_bytes: int) -> Iterator[bytes]:
    left = size_bytes
    while left and (piece := body.read(min(CHUNK_BYTES, left))):
        left -= len(piece)
        yield piece
    if left:
        raise GpujobsError("a data file became shorter while it was sent; submit again when it is at rest.")
