"""The node agent: probes the devices of a node, starts attempts on it, and follows them.

Plain asyncio; `gpujobs.cluster.actor` makes a Ray actor of it. It owns no truth: what it knows of
attempts it reads from their directories, and after a restart it is told which ones to look for.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpujobs.backends import TENSORFLOW
from gpujobs.cluster.settings import ClusterSettings
from gpujobs.errors import LaunchError, ProtocolError
from gpujobs.node import attempts
from gpujobs.node.attempts import AttemptStatus
from gpujobs.node.devices import devices_of
from gpujobs.node.launcher_client import ask
from gpujobs.node.probe import Probe
from gpujobs.paths import AttemptPaths, StatePaths
from gpujobs.results.catalogue import list_files, open_file
from gpujobs.results.collect import Limits, chunks
from gpujobs.trainer.process import write_json
from gpujobs.trainer.sockets import short_path

RECORD_SECONDS = 10.0
"""A supervisor that holds its lock writes record.json within milliseconds."""


class NodeAgent:
    def __init__(self, settings: ClusterSettings) -> None:
        self._settings = settings
        self._paths = StatePaths(Path(settings.state_dir))
        self._probe = Probe()
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._ended: set[tuple[int, int]] = set()
        self._followed: dict[tuple[int, int], int] = {}
        self._calls: dict[str, Callable[..., Awaitable[Any]]] = {
            "probe": self.probe,
            "start": self.start,
            "stop": self.stop,
            "adjust": self.adjust,
            "list_results": self.list_results,
            "read_result": self.read_result,
            "reconcile": self.reconcile,
            "read_log": self.read_log,
            "inspect": self.inspect,
            "launcher": self.launcher,
            "forget": self.forget,
        }

    async def open(self) -> None:
        """Binds the socket on which supervisors tell what happens."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._paths.agent_socket.unlink(missing_ok=True)
        with short_path(self._paths.agent_socket) as name:
            self._socket.bind(name)
        asyncio.get_running_loop().add_reader(self._socket, self._receive)

    async def call(self, name: str, args: Mapping[str, Any]) -> Any:
        """A call by its name in the protocol."""
        if name not in self._calls:
            raise ProtocolError(f"an agent has no call {name}")
        return await self._calls[name](**args)

    async def next_events(self) -> list[dict[str, Any]]:
        """Waits for at least one event; returns all there are."""
        events = [await self._events.get()]
        while not self._events.empty():
            events.append(self._events.get_nowait())
        return events

    # Devices

    async def probe(self) -> dict[str, Any]:
        reading = await self._probe.read(self._settings.probe_deadline_seconds)
        return asdict(devices_of(reading, self._settings.node_name, self._settings.cpu_slots))

    # Attempts

    async def start(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Raises LaunchError where the attempt certainly could not be started by the launcher."""
        job = self._paths.job(spec["job"])
        try:
            paths = attempts.make(job, spec)
        except OSError as error:
            raise LaunchError(f"the directory of the attempt cannot be made: {error}") from error
        request = {"op": "start", "attempt_dir": str(paths.root), "notify": str(self._paths.agent_socket)}
        answer = await ask(self._paths.launcher_socket(spec["backend"]), request)
        self._follow(spec["job"], spec["attempt"], answer["pid"])
        return {"pid": answer["pid"]}

    async def stop(self, job: int, attempt: int, reason: str, message: str = "") -> dict[str, Any]:
        """Writes why, then signals the supervisor, through a pidfd so that it cannot be another's."""
        paths = self._paths.job(job).attempt(attempt)
        if not paths.root.exists() or paths.exit.exists():
            return {"found": False}
        write_json(paths.stop, {"reason": reason, "message": message}, durable=True)
        return self._signal(await self._wait_for_record(paths) or {})

    async def adjust(self, job: int, attempt: int, wishes: dict[str, Any]) -> dict[str, Any]:
        """Writes what is asked of a running attempt, as `stop` does. A supervisor of an older gpujobs would take
        the signal for a stop, so it is not told."""
        paths = self._paths.job(job).attempt(attempt)
        if not paths.root.exists() or paths.exit.exists():
            return {"found": False}
        write_json(paths.wishes, wishes, durable=True)
        record = await self._wait_for_record(paths) or {}
        return self._signal(record) if record.get("hears_wishes") else {"found": False}

    def _signal(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Has the supervisor look at what was written for it."""
        supervisor = record.get("supervisor")
        try:
            descriptor = os.pidfd_open(supervisor["pid"]) if supervisor else -1
        except ProcessLookupError:
            descriptor = -1
        if descriptor < 0:
            return {"found": False}
        try:
            alive = attempts.is_alive(supervisor, record.get("boot_id"))
            if alive:
                signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            return {"found": alive}
        except ProcessLookupError:
            return {"found": False}
        finally:
            os.close(descriptor)

    async def reconcile(self, attempts: list[list[int]]) -> list[dict[str, Any]]:
        return [await self._report(job, attempt) for job, attempt in attempts]

    async def _report(self, job: int, attempt: int) -> dict[str, Any]:
        paths = self._paths.job(job).attempt(attempt)
        status = attempts.status_of(paths)
        record = None
        if status is AttemptStatus.RUNNING:
            record = await self._wait_for_record(paths)
            if record is not None:
                self._follow(job, attempt, record["supervisor"]["pid"])
        ended = attempts.read(paths.exit)
        if status is AttemptStatus.LOST:
            attempts.end_trainer(paths)
            ended = attempts.lost_record(paths)
        if ended is not None:
            self._ended.add((job, attempt))
        return {
            "job": job,
            "attempt": attempt,
            "status": status,
            "record": record,
            "progress": attempts.read(paths.progress),
            "exit": ended,
        }

    async def _wait_for_record(self, paths: AttemptPaths) -> Any:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + RECORD_SECONDS
        while (record := attempts.read(paths.record)) is None and loop.time() < deadline:
            if paths.exit.exists():
                return None
            await asyncio.sleep(0.01)
        return record

    def _follow(self, job: int, attempt: int, pid: int) -> None:
        """Watches for the end of a supervisor: its exit.json, or its death without one."""
        if (job, attempt) in self._followed or (job, attempt) in self._ended:
            return
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            self._supervisor_ended(job, attempt)
            return
        self._followed[job, attempt] = descriptor

        def ended() -> None:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(self._followed.pop((job, attempt)))
            self._supervisor_ended(job, attempt)

        asyncio.get_running_loop().add_reader(descriptor, ended)

    def _supervisor_ended(self, job: int, attempt: int) -> None:
        paths = self._paths.job(job).attempt(attempt)
        ended = attempts.read(paths.exit)
        if ended is None:
            attempts.end_trainer(paths)
            ended = attempts.lost_record(paths)
        self._emit({"event": "attempt", "job": job, "attempt": attempt, "what": "exited", "exit": ended})

    def _receive(self) -> None:
        while True:
            try:
                message = self._socket.recv(1 << 20)
            except BlockingIOError:
                return
            self._emit(json.loads(message))

    def _emit(self, event: dict[str, Any]) -> None:
        key = (event["job"], event["attempt"])
        if event["what"] == "exited":
            if key in self._ended:
                return
            self._ended.add(key)
        self._events.put_nowait(event)

    # What attempts have left

    async def read_log(self, job: int, attempt: int, offset: int, limit: int) -> dict[str, Any]:
        path = self._paths.job(job).attempt(attempt).log
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(offset)
                text = file.read(limit)
        except FileNotFoundError:
            return {"text": "", "offset": offset, "size": 0}
        return {"text": base64.b64encode(text).decode(), "offset": offset + len(text), "size": size}

    async def list_results(self, job: int, attempt: int) -> list[tuple[str, int]]:
        """(name, bytes) of what a job has left that did not complete, or has written so far."""
        paths = self._paths.job(job)
        found = await asyncio.to_thread(list_files, str(paths.results))
        logs = [("log.txt", paths.attempt(attempt).log)]
        return found + [(name, log.stat().st_size) for name, log in logs if log.exists()]

    async def read_result(self, job: int, attempt: int, file: str, offset: int, limit: int) -> dict[str, Any]:
        """As `read_log`, of one of these files. Raises UsageError where there is none of that name."""
        if file == "log.txt":
            return await self.read_log(job, attempt, offset, limit)
        text, size = await asyncio.to_thread(self._read_result, job, attempt, file, offset, limit)
        return {"text": base64.b64encode(text).decode(), "offset": offset + len(text), "size": size}

    def _read_result(self, job: int, attempt: int, name: str, offset: int, limit: int) -> tuple[bytes, int]:
        paths = self._paths.job(job)
        with open_file(str(paths.results), name, self._owner(paths.attempt(attempt))) as file:
            size = file.seek(0, 2)
            file.seek(offset)
            return file.read(limit), size

    def _owner(self, paths: AttemptPaths) -> int:
        spec = attempts.read(paths.spec) or {}
        return int((spec.get("identity") or {}).get("uid", os.geteuid()))

    def collect(self, job: int, attempt: int, limit_bytes: int) -> Iterator[tuple[str, bytes]]:
        """(name, chunk) of every result, and of the logs of all attempts: `log.txt` is the last one's.
        Raises RefusedResultError, also where the results have more than `limit_bytes`."""
        paths = self._paths.job(job)
        spec = attempts.read(paths.attempt(attempt).spec)
        owner = (spec.get("identity") or {}).get("uid", os.geteuid())
        yield from chunks(paths.results, frozenset({owner, os.geteuid()}), Limits(total_bytes=limit_bytes))
        for number in range(1, attempt + 1):
            name = "log.txt" if number == attempt else f"log-{number}.txt"
            if paths.attempt(number).log.exists():
                with paths.attempt(number).log.open("rb") as file:
                    while chunk := file.read(8 << 20):
                        yield name, chunk

    async def inspect(self, task: str, spec: dict[str, Any]) -> Any:
        request = {"op": "inspect", "task": task, "spec": spec}
        return (await ask(self._paths.launcher_socket(TENSORFLOW), request))["result"]

    async def launcher(self) -> dict[str, Any]:
        return await ask(self._paths.launcher_socket(TENSORFLOW), {"op": "ping"})

    async def forget(self, job: int) -> None:
        await asyncio.to_thread(shutil.rmtree, self._paths.job(job).root, ignore_errors=True)
