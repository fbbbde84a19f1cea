"""The node agent: probes the devices of a node, starts attempts on it, and follows them.

Plain asyncio; `gpujobs.cluster.actor` makes a Ray actor of it. It owns no truth: what it knows of
attempts it reads from their directories, and after a restart it is told which ones to look for.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
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
from gpujobs.errors import LauncherError, LaunchError, MachineError, ProtocolError, in_words
from gpujobs.failpoints import reach
from gpujobs.linux import durable
from gpujobs.linux.saying import say
from gpujobs.linux.sockets import short_path
from gpujobs.node import attempts, records
from gpujobs.node.attempts import Attempt, AttemptStatus
from gpujobs.node.devices import devices_of
from gpujobs.node.launcher_client import ANSWER_SECONDS, FIRST_ANSWER_SECONDS, ask
from gpujobs.node.probe import Probe
from gpujobs.paths import AttemptPaths, JobPaths, StatePaths
from gpujobs.protocol.settings import ClusterSettings
from gpujobs.results.catalogue import list_files, open_file
from gpujobs.results.collect import Limits, RefusedResultError, chunks

RECORD_SECONDS = 10.0
"""A supervisor that holds its lock writes record.json within milliseconds."""


class NodeAgent:
    """`follows` is false for one that only answers: nobody waits for its events."""

    def __init__(self, settings: ClusterSettings, *, follows: bool = True) -> None:
        self._follows = follows
        self._settings = settings
        self._paths = StatePaths(Path(settings.state_dir))
        self._probe = Probe()
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._ended: set[tuple[int, int, str]] = set()
        self._followed: dict[tuple[int, int, str], int] = {}
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
            "ping": self.ping,
            "strays": self.strays,
        }

    async def open(self) -> None:
        """Binds the socket on which supervisors tell what happens."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        durable.make_way(self._paths.agent_socket)
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

    async def ping(self) -> None:
        """Answering is all."""

    # Attempts

    async def start(self, spec: dict[str, Any], answer_seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """Raises LauncherError where the attempt could not be started, whatever the job is; an attempt of which
        no answer was heard may have started all the same."""
        job = self._paths.job(spec["job"])
        try:
            paths = attempts.make(job, {**spec, "state_id": self._settings.state_id})
        except attempts.OccupiedError as error:
            raise LauncherError(str(error)) from error
        except OSError as error:
            raise LauncherError(f"the directory of the attempt cannot be made: {in_words(error)}") from error
        request = {"op": "start", "attempt_dir": str(paths.root), "notify": str(self._paths.agent_socket)}
        reach("spawn.supervisor")
        try:
            answer = await ask(self._paths.launcher_socket(spec["backend"]), request, answer_seconds)
        except LaunchError as error:  # it could not fork: the launcher knows nothing of the job
            raise LauncherError(str(error)) from error
        self._follow(self._attempt(spec["job"], spec["attempt"], spec.get("nonce", "")), answer["pid"])
        return {"pid": answer["pid"]}

    def _attempt(self, job: int, attempt: int, nonce: str) -> Attempt:
        return Attempt(self._paths.job(job).attempt(attempt), nonce, self._settings.state_id)

    async def stop(
        self, job: int, attempt: int, reason: str, message: str = "", nonce: str = ""
    ) -> dict[str, Any]:
        """Writes why, then signals the supervisor. Where none is found, ask what became of the attempt."""
        asked = self._attempt(job, attempt, nonce)
        record = await self._living(asked)
        if record is None:
            return {"found": False}
        # Why is worth less than the stop: a full disk must not keep a job running.
        with contextlib.suppress(OSError):
            durable.write_json(asked.paths.stop, {"reason": reason, "message": message})
        return {"found": attempts.send_signal(record["supervisor"], record["boot_id"], signal.SIGTERM)}

    async def adjust(self, job: int, attempt: int, wishes: dict[str, Any], nonce: str = "") -> dict[str, Any]:
        """Writes what is asked of a running attempt, as `stop` does. A supervisor of an older gpujobs would take
        the signal for a stop, so it is not told."""
        asked = self._attempt(job, attempt, nonce)
        record = await self._living(asked)
        if record is None or not record["hears_wishes"]:
            return {"found": False}
        try:
            durable.write_json(asked.paths.wishes, wishes)
        except OSError as error:
            raise MachineError(f"what is asked of it cannot be written: {error}") from error
        return {"found": attempts.send_signal(record["supervisor"], record["boot_id"], signal.SIGTERM)}

    async def _living(self, asked: Attempt) -> dict[str, Any] | None:
        """The record of an attempt whose supervisor may be signalled."""
        if asked.exit is not None or not (asked.is_locked or asked.paths.spec.exists()):
            return None
        record = await self._wait_for_record(asked)
        return record if record is not None and asked.is_ours(record) else None

    async def reconcile(self, attempts: list[list[Any]]) -> list[dict[str, Any]]:
        """A report of each (job, number, nonce), at once: one may have to wait for its record."""
        return list(await asyncio.gather(*(self._report(*asked) for asked in attempts)))

    async def _report(self, job: int, number: int, nonce: str = "") -> dict[str, Any]:
        attempt = self._attempt(job, number, nonce)
        report: dict[str, Any] = {
            "job": job,
            "attempt": number,
            "record": None,
            "progress": None,
            "exit": None,
        }
        try:
            report |= await self._look(job, number, attempt)
        except Exception as error:  # noqa: BLE001 - one attempt must not keep the others from being told of
            report |= {"status": AttemptStatus.UNKNOWN, "error": f"{type(error).__name__}: {error}"}
        return {**report, "damaged": attempt.damages}

    async def _look(self, job: int, number: int, attempt: Attempt) -> dict[str, Any]:
        status, record, ended = attempts.status_of(attempt), None, None
        if status is AttemptStatus.RUNNING:
            record = await self._wait_for_record(attempt)
            if record is not None:
                self._follow(attempt, record["supervisor"]["pid"])
        if status is AttemptStatus.ENDED:
            ended = attempt.exit
        if status is AttemptStatus.LOST:
            attempts.end_trainer(attempt)
            ended = attempts.lost_record(attempt)
        if ended is not None:
            self._ended.add(attempt.key)
        progress = None if status is AttemptStatus.NEVER_STARTED else attempt.progress
        return {"status": status, "record": record, "progress": progress, "exit": ended}

    async def _wait_for_record(self, attempt: Attempt) -> dict[str, Any] | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + RECORD_SECONDS
        while (record := attempt.record) is None and loop.time() < deadline:
            if not attempt.is_locked and attempt.paths.claim.exists():
                break  # its supervisor has ended
            await asyncio.sleep(0.01)
        return record

    async def strays(self, known: list[list[Any]]) -> list[dict[str, Any]]:
        """The attempts that live here and are none of `known` ((job, number, nonce)): no job is theirs."""
        return await asyncio.to_thread(self._strays, {tuple(attempt) for attempt in known})

    def _strays(self, known: set[tuple[Any, ...]]) -> list[dict[str, Any]]:
        found = []
        for directory in sorted((self._paths.spool / "jobs").glob("*")):
            for name, noted in attempts.living(JobPaths(directory)):
                attempt = Attempt(AttemptPaths(directory / name))
                spec = attempt.read(attempt.paths.spec, records.spec) or {}
                key = (spec.get("job"), spec.get("attempt"), spec.get("nonce", ""))
                if key not in known:
                    found.append(_stray(directory.name, name, noted, spec))
        return found

    def _follow(self, attempt: Attempt, pid: int) -> None:
        """Watches for the end of a supervisor: its exit.json, or its death without one."""
        key = attempt.key
        if not self._follows or key in self._followed or key in self._ended:
            return
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            self._supervisor_ended(attempt)
            return
        self._followed[key] = descriptor

        def ended() -> None:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(self._followed.pop(key))
            self._supervisor_ended(attempt)

        asyncio.get_running_loop().add_reader(descriptor, ended)

    def _supervisor_ended(self, attempt: Attempt) -> None:
        """It may have ended before it claimed its attempt, as on a full disk. What cannot be told now is asked
        for again by the daemon."""
        job, number = attempt.paths.key
        event = {"event": "attempt", "job": job, "attempt": number, "nonce": attempt.nonce}
        try:
            status = attempts.status_of(attempt)
            if status is AttemptStatus.LOST:
                attempts.end_trainer(attempt)
            if status in (AttemptStatus.LOST, AttemptStatus.ENDED):
                ended = attempt.exit or attempts.lost_record(attempt)
                self._emit({**event, "what": "exited", "exit": ended})
                return
        except Exception as error:  # noqa: BLE001 - whatever it is, the daemon is to hear that it should ask
            say(f"job {job}, attempt {number}: {error!r}")
        self._emit({**event, "what": "ask"})

    def _receive(self) -> None:
        while True:
            try:
                message = self._socket.recv(1 << 20)
            except BlockingIOError:
                return
            with contextlib.suppress(ValueError, KeyError, TypeError):  # only supervisors reach this socket
                self._emit(json.loads(message))

    def _emit(self, event: dict[str, Any]) -> None:
        key = (event["job"], event["attempt"], event.get("nonce", ""))
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
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
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
        with open_file(str(paths.results), name, self._owner(Attempt(paths.attempt(attempt)))) as file:
            size = file.seek(0, 2)
            file.seek(offset)
            return file.read(limit), size

    def _owner(self, attempt: Attempt) -> int:
        spec = attempt.read(attempt.paths.spec, records.spec) or {}
        return int((spec.get("identity") or {}).get("uid", os.geteuid()))

    def collect(
        self, job: int, attempt: int, limit_bytes: int, nonce: str = ""
    ) -> Iterator[tuple[str, bytes]]:
        """(name, chunk) of every result, and of the logs of all attempts: `log.txt` is the last one's.
        Raises RefusedResultError, also where the results have more than `limit_bytes`, and where they are gone;
        MachineError where they may come back."""
        paths = self._paths.job(job)
        spec = self._spec_to_collect(job, attempt, nonce)
        owner = (spec.get("identity") or {}).get("uid", os.geteuid())
        yield from chunks(paths.results, frozenset({owner, os.geteuid()}), Limits(total_bytes=limit_bytes))
        for number in range(1, attempt + 1):
            name = "log.txt" if number == attempt else f"log-{number}.txt"
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                yield from _log_chunks(paths.attempt(number).log, name)

    def _spec_to_collect(self, job: int, number: int, nonce: str) -> dict[str, Any]:
        if not (self._paths.spool / "jobs").is_dir():
            raise MachineError(f"{self._paths.spool / 'jobs'} is not there; is its file system mounted?")
        attempt = self._attempt(job, number, nonce)
        spec = attempt.read(attempt.paths.spec, records.spec)
        if spec is None:
            why = "; ".join(attempt.damages) or f"{attempt.paths.root} is gone"
            raise RefusedResultError(f"the results of job {job} cannot be collected: {why}")
        if spec["nonce"] != nonce:
            raise RefusedResultError(
                f"{attempt.paths.root} is of another attempt than the one that has ended"
            )
        return spec

    async def inspect(
        self, task: str, spec: dict[str, Any], answer_seconds: float = FIRST_ANSWER_SECONDS
    ) -> Any:
        request = {"op": "inspect", "task": task, "spec": spec}
        answer = await ask(self._paths.launcher_socket(TENSORFLOW), request, answer_seconds)
        return answer["result"]

    async def launcher(self, answer_seconds: float = FIRST_ANSWER_SECONDS) -> dict[str, Any]:
        return await ask(self._paths.launcher_socket(TENSORFLOW), {"op": "ping"}, answer_seconds)

    async def forget(self, job: int) -> None:
        await asyncio.to_thread(shutil.rmtree, self._paths.job(job).root, ignore_errors=True)


def _log_chunks(path: Path, name: str) -> Iterator[tuple[str, bytes]]:
    with path.open("rb") as file:
        while chunk := file.read(8 << 20):
            yield name, chunk


def _stray(job: str, attempt: str, noted: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """For people: what it is, and which processes it has. None where the note in its lock is damaged."""
    return {
        "job": job,
        "attempt": attempt.removeprefix("attempt-"),
        "user": spec.get("user"),
        "device": (spec.get("device") or {}).get("uuid"),
        "supervisor": (noted.get("supervisor") or {}).get("pid"),
        "trainer": (noted.get("trainer") or {}).get("pid"),
        "started_at": noted.get("started_at"),
    }
