"""The daemon's side of the cluster: it imports no Ray, and outlives every Ray.

It keeps the launchers alive, the first of which imports TensorFlow, and the head, which starts Ray. Both take
some seconds, so they are started at the same time.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpujobs.backends import TENSORFLOW
from gpujobs.cluster.environment import PYTHON, without_ray
from gpujobs.cluster.keeping import end, keep
from gpujobs.cluster.launchers import Launchers
from gpujobs.cluster.leftovers import end_session
from gpujobs.cluster.lines import read_lines, write_line
from gpujobs.cluster.settings import ClusterSettings
from gpujobs.errors import MachineError, from_wire
from gpujobs.model import NodeStatus
from gpujobs.paths import StatePaths

log = logging.getLogger(__name__)

START_SECONDS = 120.0
"""Ray takes two to ten on a machine that is not overloaded."""

Callback = Callable[[Mapping[str, Any]], None]


class ClusterLink:
    def __init__(
        self, paths: StatePaths, settings: ClusterSettings, *, on_node: Callback, on_attempt: Callback
    ) -> None:
        self._paths = paths
        self._settings = settings
        self._on_node = on_node
        self._on_attempt = on_attempt
        self._ids = itertools.count()
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._is_up = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._head: asyncio.subprocess.Process | None = None
        self._failure = ""
        """Why the head did not start, as it has said itself."""
        self.launchers = Launchers(paths)

    async def start(self) -> None:
        """Returns at once; `on_node` tells when a node can be used."""
        self.launchers.use(TENSORFLOW)
        self._keeper = asyncio.create_task(keep("head", self._run_head, self._head_ended))

    async def wait_until_up(self, seconds: float) -> None:
        """For calls that somebody waits for anyway. Returns after so long all the same."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._is_up.wait(), seconds)

    async def call(self, node: str, name: str, **args: Any) -> Any:
        """A call of the node's agent (docs/protocol.md, section 2). Raises the agent's error, or
        MachineError where the cluster is away: then nobody knows whether it was carried out."""
        if self._writer is None:
            raise MachineError("the cluster is not up")
        number = next(self._ids)
        future = self._pending[number] = asyncio.get_running_loop().create_future()
        try:
            await write_line(self._writer, {"id": number, "node": node, "call": name, "args": args})
            return await future
        except ConnectionError as error:
            raise MachineError(f"the cluster is away: {error}") from error
        finally:
            self._pending.pop(number, None)

    async def close(self) -> None:
        """Ends Ray and the launchers. Supervisors and their trainers are in neither's tree."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await asyncio.gather(self.launchers.close(), self._end_head())

    async def _end_head(self) -> None:
        if self._head is not None:
            await end(self._head)
            end_session(self._head.pid)

    # Keeping the head alive

    def _head_ended(self, message: str, backoff: float) -> None:
        self._announce(NodeStatus.DOWN, f"the cluster ended: {message}; another try in {backoff:.0f} s")

    def _announce(self, status: NodeStatus, message: str) -> None:
        self._on_node({"name": self._settings.node_name, "status": status, "message": message})

    async def _run_head(self) -> str:
        self._announce(NodeStatus.STARTING, "Ray is starting")
        ours, theirs = socket.socketpair()
        with theirs, (self._paths.run / "head.log").open("ab") as output:
            process = self._head = await asyncio.create_subprocess_exec(
                *PYTHON,
                "gpujobs.cluster.head",
                "--fd",
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(),),
                env=without_ray(os.environ),
                start_new_session=True,
            )
        reader, writer = await asyncio.open_connection(sock=ours, limit=1 << 26)
        self._failure = ""
        slow = asyncio.get_running_loop().call_later(START_SECONDS, self._give_up, process)
        try:
            await write_line(writer, asdict(self._settings))
            async for message in read_lines(reader):
                self._take(message, writer)
        except (ConnectionError, json.JSONDecodeError) as error:
            log.warning("the head's connection: %s", error)
        finally:
            slow.cancel()
            self._writer = None
            self._is_up.clear()
            writer.close()
            self._fail_pending()
        status = await process.wait()
        end_session(process.pid)
        why = self._failure or last_words(self._paths.run / "head.log") or f"exit status {status}"
        return f"{why} ({self._paths.run / 'head.log'} says more)"

    def _give_up(self, process: asyncio.subprocess.Process) -> None:
        """A Ray that hangs is ended, and the next one is tried."""
        if not self._is_up.is_set():
            words = last_words(self._paths.run / "head.log")
            self._failure = f"Ray has not started within {START_SECONDS:.0f} s" + (
                f": {words}" if words else ""
            )
            end_session(process.pid)

    def _take(self, message: Mapping[str, Any], writer: asyncio.StreamWriter) -> None:
        event = message.get("event")
        if event == "failed":
            self._failure = str(message["message"])
            return
        if event == "node":
            self._writer = writer
            self._is_up.set()
            self._on_node(message["node"])
        elif event == "attempt":
            self._on_attempt(message)
        else:
            future = self._pending.get(message["id"])
            if future is None or future.done():
                return
            if "error" in message:
                future.set_exception(from_wire(message["error"]))
            else:
                future.set_result(message["result"])

    def _fail_pending(self) -> None:
        for future in self._pending.values():
            if not future.done():
                future.set_exception(MachineError("the cluster ended before it answered"))


def last_words(path: Path) -> str:
    """The last line of a log that says something."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip()[:500] for line in reversed(lines) if line.strip()), "")
