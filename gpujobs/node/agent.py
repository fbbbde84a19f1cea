"""The node agent: probes the devices of a node, starts attempts on it, and follows them.

Plain asyncio; `gpujobs.cluster.actor` makes a Ray actor of it. It owns no truth: what it knows of
attempts it reads from their directories, and after a restart it is told which ones to look for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpujobs.backends import TENSORFLOW
from gpujobs.errors import LauncherError, LaunchError, MachineError, ProtocolError, UnfitError, in_words
from gpujobs.failpoints import reach
from gpujobs.linux import durable, lease
from gpujobs.linux.process import boot_id
from gpujobs.node import (
    arrivals,
    attempts,
    keepers,
    keeping,
    launcher_client,
    residents,
    seeding,
    wiped,
)
from gpujobs.node.attempts import Attempt
from gpujobs.node.devices import devices_of
from gpujobs.node.following import Following
from gpujobs.node.launcher_client import ask
from gpujobs.node.left import Left
from gpujobs.node.localising import identity_here, localised, user_problem
from gpujobs.node.pieces import read_log
from gpujobs.node.probe import Probe
from gpujobs.paths import AttemptPaths, JobPaths, StatePaths
from gpujobs.protocol import boxes, codec
from gpujobs.protocol import instructions as told
from gpujobs.protocol.boxes import Alive
from gpujobs.protocol.codec import M, Message
from gpujobs.protocol.events import AttemptEvent
from gpujobs.protocol.instructions import (
    AttemptStatus,
    Found,
    Orphans,
    Probed,
    Report,
    Reports,
    Stray,
)
from gpujobs.protocol.launcher import (
    Compared,
    CompareFiles,
    Forked,
    Inspected,
    InspectJob,
    Op,
    PingLauncher,
    StartAttempt,
    Versions,
)
from gpujobs.protocol.records import AttemptKey, LockNote, StopRequest, SupervisorRecord
from gpujobs.protocol.settings import NodeSettings
from gpujobs.protocol.spec import AttemptSpec, SpecHead
from gpujobs.protocol.telling import Instruction, Nothing

COMPARING_SECONDS = 180.0
COMPARED_BYTES_PER_SECOND = 50 << 20

RECORD_SECONDS = 10.0
"""A supervisor that holds its lock writes record.json within milliseconds."""


class NodeAgent:
    """`follows` is false for one that only answers: nobody waits for its events."""

    def __init__(self, settings: NodeSettings, *, follows: bool = True) -> None:
        self._settings = settings
        self._paths = StatePaths(Path(settings.state_dir))
        self._probe = Probe()
        self._following = Following(self._paths.agent_socket, follows=follows)
        self._marks: dict[str, None] = {}
        """Of files that were compared: as they were, with their hashes."""

        self._left = Left(self._paths, settings.state_id)
        self._in_order = arrivals.InOrder(self._paths)
        self._state: wiped.State | None = None
        self._answering: set[str] = set()
        """The backends whose launchers have answered."""

    async def open(self) -> None:
        """Binds the socket on which supervisors tell what happens."""
        if self._settings.is_remote:  # the daemon's own knows nothing either, where its state is gone
            self._state = wiped.State(self._paths)
        residents.clear(self._paths)
        self._following.open()

    async def carry_out(self, instruction: Instruction[Any]) -> Message:
        """Returns the answer that belongs to it. Raises StateGoneError where its state was removed: what is not there
        says nothing of what runs."""
        self._require_state()
        match instruction:
            case told.Ping():
                return Nothing()
            case told.Probe():
                return await self.probe()
            case told.Start():
                self._require_in_time(instruction.before)
                return await self.start(instruction)
            case told.Release():
                return await self._release(instruction.resident)
            case told.Stop():
                return await self.stop(instruction)
            case told.Adjust():
                return await self.adjust(instruction)
            case told.Reconcile():
                return await self.reconcile(instruction.attempts)
            case told.FindStrays():
                return await asyncio.to_thread(self._strays, frozenset(instruction.known))
            case told.ReadLog():
                return await asyncio.to_thread(read_log, self._paths, instruction)
            case told.ListResults():
                return await asyncio.to_thread(self._left.list_results, instruction)
            case told.ReadResult():
                return await asyncio.to_thread(self._left.read_result, instruction)
            case told.Inspect():
                return await self._ask(InspectJob(instruction.spec), instruction.answer_seconds, Inspected)
            case boxes.Renew():
                return self.renew(instruction)
            case boxes.Prepare():
                return await asyncio.to_thread(self._prepare, instruction)
            case boxes.Compare():
                return await self._compare(instruction)
            case boxes.MeasureDisk():
                return keeping.room(self._paths)
            case boxes.ListKept():
                return await asyncio.to_thread(keeping.kept, self._paths)
            case boxes.DropData():
                return await asyncio.to_thread(keeping.drop, self._paths, instruction)
            case boxes.Survey():
                return await self._left.survey(instruction)
            case told.AskLauncher():
                return await self._ask(PingLauncher(), instruction.answer_seconds, Versions)
            case told.Forget():
                root = self._paths.job(instruction.job).root
                await asyncio.to_thread(shutil.rmtree, root, ignore_errors=True)
                return Nothing()
        raise ProtocolError(f"an agent has no answer to {instruction.tag}")

    def _require_state(self) -> None:
        if self._state is not None:
            self._state.require()

    async def next_events(self, heard: int) -> tuple[int, list[AttemptEvent]]:
        """As `Unheard.after`."""
        return await self._following.events.after(heard)

    # Devices

    async def probe(self) -> Probed:
        reading = await self._probe.read(self._settings.probe_deadline_seconds)
        return Probed(devices_of(reading, self._settings.node_name, self._settings.cpu_slots))

    # On a box that has joined

    def renew(self, asked: boxes.Renew) -> Alive:
        """What was granted before this boot says nothing of it."""
        if asked.until is not None and asked.boot_id == boot_id():
            lease.grant(self._paths.lease, asked.until)
        return Alive(boot_id(), lease.now())

    def _prepare(self, asked: boxes.Prepare) -> boxes.Lacking:
        """Raises UnfitError where jobs of that user cannot run here."""
        problem = user_problem(asked.user, asked.uid, self._settings.node_name) if os.geteuid() == 0 else None
        if problem is not None:
            raise UnfitError(problem)
        arrivals.mark_read(self._paths, asked.blobs)
        keeping.limit(self._paths, asked.uid, asked.keep_bytes, asked.blobs)
        return boxes.Lacking(arrivals.lacking(self._paths, asked.blobs))

    async def _compare(self, asked: boxes.Compare) -> Compared:
        """Raises UnfitError where that user's jobs cannot run here."""
        identity = identity_here(asked.user, asked.identity, self._settings.node_name)
        keepers.ask(self._paths.keeper_socket, TENSORFLOW)
        op = CompareFiles(identity, asked.files, tuple(self._marks))
        seconds = COMPARING_SECONDS + sum(file.bytes for file in asked.files) / COMPARED_BYTES_PER_SECOND
        answer = await ask(self._paths.launcher_socket(TENSORFLOW), op, seconds, Compared)
        self._marks |= dict.fromkeys(answer.marks[: len(asked.files)])
        return answer

    async def put(self, asked: boxes.Put, content: bytes) -> boxes.Arrived:
        self._require_state()
        if asked.offset is None:
            name = self._settings.node_name
            return boxes.Arrived(await asyncio.to_thread(arrivals.arrived, self._paths, asked.blob, name))
        return boxes.Arrived(await self._in_order.put(asked.blob, asked.offset, content))

    def pass_on(self, asked: boxes.PassOn) -> bytes:
        """Blocks. Raises OSError."""
        return arrivals.piece(self._paths, asked.blob, asked.offset, asked.limit)

    # Attempts

    async def start(self, asked: told.Start) -> Forked:
        """Nothing else of ours waits on its device when it starts. Raises LauncherError where the attempt could not be
        started, whatever the job is; an attempt of which no answer was heard may have started all the same."""
        spec, brought, asked_at = asked.spec, asked.brought, lease.now()
        if spec.state_id != self._settings.instance:
            raise LauncherError(
                f"the attempt is of another state directory ({spec.state_id}) than this node's"
            )
        spec = localised(spec, self._settings, self._paths)
        if spec.lease is not None:
            await self._be_ready(spec)
        job = self._paths.job(spec.job)
        # Beside each other: one waits for the disk, the other for processes to end.
        ending = asyncio.create_task(self._end_residents(asked))
        try:
            if brought is not None:
                seeding.mark_read(self._paths, spec, brought)
            held = None if spec.lease is None else asked_at
            paths = await asyncio.to_thread(attempts.make, job, spec, held)
            if brought is not None:
                await asyncio.to_thread(seeding.place, self._paths, spec, brought)
        except attempts.OccupiedError as error:
            raise LauncherError(str(error)) from error
        except OSError as error:
            raise LauncherError(f"the directory of the attempt cannot be made: {in_words(error)}") from error
        finally:
            await ending
        answer = await self._hand_over(asked, paths) or await self._launch(spec, paths, asked.answer_seconds)
        self._following.follow(self._attempt(AttemptKey(spec.job, spec.attempt, spec.nonce)), answer.pid)
        return answer

    async def _end_residents(self, asked: told.Start) -> None:
        """All on its device but those that are expected there."""
        expected = {key for key in (asked.resident, *asked.beside) if key is not None}
        await residents.end_all(self._paths, asked.spec.device.uuid, expected)

    async def _hand_over(self, asked: told.Start, paths: AttemptPaths) -> Forked | None:
        """To a trainer that waits for it. None where there is none: then nobody waits on its device."""
        waiting = None if asked.resident is None else residents.of(self._paths, asked.resident)
        if waiting is None or waiting.device_uuid != asked.spec.device.uuid:
            return None
        return await residents.hand_over(self._paths, waiting, paths)

    async def _launch(self, spec: AttemptSpec, paths: AttemptPaths, answer_seconds: float) -> Forked:
        op = StartAttempt(str(paths.root), str(self._paths.agent_socket))
        reach("spawn.supervisor")
        try:
            return await self._ask(op, answer_seconds, Forked, spec.backend)
        except LaunchError as error:  # it could not fork: the launcher knows nothing of the job
            raise LauncherError(str(error)) from error

    async def _release(self, resident: AttemptKey) -> Nothing:
        note = residents.of(self._paths, resident)
        if note is not None:
            await residents.end(self._paths, note)
        return Nothing()

    def _require_in_time(self, before: Alive | None) -> None:
        """Raises LauncherError for a word that was on its way for so long that the job may be elsewhere."""
        if not self._settings.is_remote:
            return
        if before is None or before.boot_id != boot_id() or lease.now() >= before.at:
            raise LauncherError(f"the word to start it came to {self._settings.node_name} too late")

    async def _be_ready(self, spec: AttemptSpec) -> None:
        """Raises LauncherError where it would be stopped at once; asks for the launcher that it needs."""
        if lease.left_to_train(self._paths.lease, spec.grace_seconds) <= 0:
            raise LauncherError(f"{self._settings.node_name} has no lease of the daemon's")
        keepers.ask(self._paths.keeper_socket, spec.backend)

    def _attempt(self, key: AttemptKey) -> Attempt:
        return Attempt(self._paths.job(key.job).attempt(key.attempt), key.nonce, self._settings.state_id)

    async def stop(self, asked: told.Stop) -> Found:
        """Writes why, then signals the supervisor. Where none is found, ask what became of the attempt."""
        attempt = self._attempt(asked.attempt)
        record = await self._living(attempt)
        if record is None:
            return Found(False)
        # Why is worth less than the stop: a full disk must not keep a job running.
        with contextlib.suppress(OSError):
            durable.write_json(attempt.paths.stop, codec.write(StopRequest(asked.reason, asked.message)))
        return Found(attempts.send_signal(record.supervisor, record.boot_id, signal.SIGTERM))

    async def adjust(self, asked: told.Adjust) -> Found:
        """Writes what is asked of a running attempt, as `stop` does. A supervisor of an older gpujobs would take
        the signal for a stop, so it is not told."""
        attempt = self._attempt(asked.attempt)
        record = await self._living(attempt)
        if record is None or not record.hears_wishes:
            return Found(False)
        try:
            durable.write_json(attempt.paths.wishes, codec.write(asked.wishes))
        except OSError as error:
            raise MachineError(f"what is asked of it cannot be written: {error}") from error
        return Found(attempts.send_signal(record.supervisor, record.boot_id, signal.SIGTERM))

    async def _living(self, asked: Attempt) -> SupervisorRecord | None:
        """The record of an attempt whose supervisor may be signalled."""
        if asked.exit is not None or not (asked.is_locked or asked.paths.spec.exists()):
            return None
        record = await self._wait_for_record(asked)
        return record if record is not None and asked.is_ours(record) else None

    async def reconcile(self, asked: Iterable[AttemptKey]) -> Reports:
        """A report of each, at once: one may have to wait for its record."""
        return Reports(tuple(await asyncio.gather(*map(self._report, asked))))

    async def _report(self, key: AttemptKey) -> Report:
        attempt = self._attempt(key)
        try:
            report = await self._look(attempt)
        except Exception as error:  # noqa: BLE001 - one attempt must not keep the others from being told of
            why = f"{type(error).__name__}: {error}"
            report = replace(_nothing_known(key), status=AttemptStatus.UNKNOWN, error=why)
        return replace(report, damaged=tuple(attempt.damages))

    async def _look(self, attempt: Attempt) -> Report:
        status, record, ended = attempts.status_of(attempt), None, None
        if status is AttemptStatus.RUNNING:
            record = await self._wait_for_record(attempt)
            if record is not None:
                self._following.follow(attempt, record.supervisor.pid)
        if status is AttemptStatus.ENDED:
            ended = attempt.exit
        if status is AttemptStatus.LOST:
            attempts.end_trainer(attempt)
            ended = attempts.lost_record(attempt)
        if ended is not None:
            self._following.note_end(attempt.key)
        progress = None if status is AttemptStatus.NEVER_STARTED else attempt.progress
        known = _nothing_known(attempt.key)
        return replace(known, status=status, record=record, progress=progress, exit=ended)

    async def _wait_for_record(self, attempt: Attempt) -> SupervisorRecord | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + RECORD_SECONDS
        while (record := attempt.record) is None and loop.time() < deadline:
            if not attempt.is_locked and attempt.paths.claim.exists():
                break  # its supervisor has ended
            await asyncio.sleep(0.01)
        return record

    def _strays(self, known: frozenset[AttemptKey]) -> Orphans:
        """The attempts that live here and are none of `known`: no job is theirs."""
        found = []
        for directory in sorted((self._paths.spool / "jobs").glob("*")):
            for name, noted in attempts.living(JobPaths(directory)):
                spec = Attempt(AttemptPaths(directory / name)).spec
                if spec is None or AttemptKey(spec.job, spec.attempt, spec.nonce) not in known:
                    found.append(_stray(directory.name, name, noted, spec))
        return Orphans(tuple(found))

    # What attempts have left

    def take(self, asked: boxes.Take) -> bytes:
        """As `Left.take`."""
        self._require_state()
        return self._left.take(asked)

    def collect(self, key: AttemptKey, limit_bytes: int) -> Iterator[tuple[str, bytes]]:
        """As `Left.collect`."""
        return self._left.collect(key, limit_bytes)

    # The launcher

    async def _ask(self, op: Op, seconds: float, kind: type[M], backend: str = TENSORFLOW) -> M:
        """On a box that has joined, whoever keeps the launcher hears of one that does not answer, and replaces one that
        hangs; one that has answered before is not waited for as long as its imports may take."""
        if self._settings.is_remote and backend in self._answering:
            seconds = min(seconds, launcher_client.ANSWER_SECONDS)
        try:
            answer = await ask(self._paths.launcher_socket(backend), op, seconds, kind)
        except LauncherError:
            self._answering.discard(backend)
            if self._settings.is_remote:
                keepers.suspect(self._paths.keeper_socket, backend)
            raise
        self._answering.add(backend)
        return answer


def _nothing_known(key: AttemptKey) -> Report:
    return Report(
        attempt=key,
        status=AttemptStatus.UNKNOWN,
        record=None,
        progress=None,
        exit=None,
        damaged=(),
        error="",
    )


def _stray(job: str, attempt: str, noted: LockNote, spec: SpecHead | None) -> Stray:
    return Stray(
        job=job,
        attempt=attempt.removeprefix("attempt-"),
        user=None if spec is None else spec.user,
        device=None if spec is None else spec.device_uuid,
        supervisor=noted.supervisor,
        trainer=noted.trainer,
        started_at=noted.started_at,
    )
