"""Ray's processes of one box of a cluster that can be joined: `ray start`, with every port fixed. Imports no Ray."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpujobs.cluster.environment import OBJECT_STORE_BYTES, object_store_directory
from gpujobs.cluster.orphans import end_session
from gpujobs.cluster.ports import Ports
from gpujobs.errors import MachineError
from gpujobs.linux import logs

LABEL = "gpujobs-incarnation"
"""Of a node: its value is made anew whenever Ray is started there, so that an agent is placed on that very start."""

ENTRY = "from gpujobs.cluster.ray_init import main; main()"
"""The command `ray`, of this very Python, without what nobody needs here."""

START_SECONDS = 90.0
END_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RayNode:
    """`head`: ADDRESS:PORT of the head's GCS; None where this is the head."""

    address: str
    ports: Ports
    head: str | None
    incarnation: str
    gpus: int
    temp: Path
    """A private directory, in which Ray makes its own."""

    @property
    def command(self) -> Sequence[str]:
        where = (
            ("--head", f"--port={self.ports['gcs']}", f"--ray-client-server-port={self.ports['client']}",
             f"--temp-dir={self.temp / 's'}", "--include-dashboard=false")
            if self.head is None
            else (f"--address={self.head}", f"--temp-dir={self.temp / 's'}")
        )  # fmt: skip
        store = object_store_directory(OBJECT_STORE_BYTES, self.temp)
        return (
            sys.executable,
            "-P",
            "-c",
            ENTRY,
            "start",
            *where,
            f"--node-ip-address={self.address}",
            *self.ports.options(),
            f"--num-gpus={self.gpus}",
            f"--resources={json.dumps({'gpujobs_node': 1})}",
            f"--labels={LABEL}={self.incarnation}",
            f"--object-store-memory={OBJECT_STORE_BYTES}",
            *([] if store is None else [f"--plasma-directory={store}"]),
            "--no-monitor",
            "--include-log-monitor=false",
            "--disable-usage-stats",
            "--block",
        )


class RayProcesses:
    """What `ray start --block` has started; it ends when one of them does."""

    def __init__(self, node: RayNode, environment: Mapping[str, str], log: Path) -> None:
        self._node, self._environment, self._log = node, environment, log
        self.process: subprocess.Popen[bytes] | None = None
        self._has_session = False
        self._log_began = 0

    def start(self, *, own_session: bool) -> None:
        """In a session of its own where whoever starts it is no head, whose session is ended with it."""
        self._has_session = own_session
        with self._log.open("ab") as output:
            self._log_began = output.tell()
            self.process = subprocess.Popen(
                self._node.command,
                env=dict(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=own_session,
            )

    async def wait_until_up(self) -> None:
        """Until its raylet and, on the head, its GCS answer. Raises MachineError with what Ray has said last."""
        assert self.process is not None
        ports = self._node.ports
        wanted = [
            ports["raylet"],
            ports["object_manager"],
            *([ports["gcs"]] if self._node.head is None else []),
        ]
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_SECONDS
        while not all([await answers(self._node.address, port) for port in wanted]):
            if self.process.poll() is not None:
                raise MachineError(f"Ray has ended while it started: {self.last_words}")
            if loop.time() > deadline:
                raise MachineError(f"Ray has not started within {START_SECONDS:g} s: {self.last_words}")
            await asyncio.sleep(0.05)  # it tells nobody when it listens

    @property
    def last_words(self) -> str:
        """Since this start."""
        return f"{logs.last_line(self._log, self._log_began) or 'it said nothing'} ({self._log} says more)"

    def is_up(self) -> bool:
        return self.process is not None and self.process.poll() is None

    async def ended(self) -> int:
        assert self.process is not None
        descriptor = os.pidfd_open(self.process.pid)
        loop, seen = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(descriptor, seen.set)
        try:
            await seen.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        return self.process.wait()

    def end(self) -> None:
        """All of them; nothing of theirs is worth waiting for where they do not end by themselves, nor where a session
        of their own says which they are."""
        if self.process is None:
            return
        if self._has_session:
            end_session(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


async def answers(address: str, port: int, seconds: float = 1.0) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), seconds)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
