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
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from gpujobs.backends import TENSORFLOW
from gpujobs.cluster.environment import PYTHON, without_ray
from gpujobs.cluster.jsonlines import read_lines, write_line
from gpujobs.cluster.launchers import Launchers
from gpujobs.cluster.orphans import end_session
from gpujobs.cluster.restart import Ended, end, keep
from gpujobs.errors import LauncherError, MachineError, ProtocolError
from gpujobs.failpoints import reach
from gpujobs.linux import durable, logs
from gpujobs.model import NodeStatus
from gpujobs.node.agent import NodeAgent
from gpujobs.node.launcher_client import FIRST_ANSWER_SECONDS
from gpujobs.paths import StatePaths
from gpujobs.protocol import boxes, codec
from gpujobs.protocol import head as wire
from gpujobs.protocol import instructions as told
from gpujobs.protocol.codec import M, ShapeError
from gpujobs.protocol.events import AttemptEvent, DoorReported, HeadFailed, NodeReported
from gpujobs.protocol.head import Answer, Refusal, Request
from gpujobs.protocol.settings import HeadSettings, Listening, NodeSettings
from gpujobs.protocol.telling import Instruction

log = logging.getLogger(__name__)

CALL_SECONDS: Mapping[type[Instruction[Any]], float] = {
    told.Forget: 300.0,
    told.Inspect: 200.0,  # its child has a minute, and the launcher may be importing
    told.AskLauncher: 150.0,
    told.Probe: 20.0,
    told.ReadLog: 10.0,
    told.FindStrays: 60.0,
    boxes.Renew: 8.0,
}
"""How long the answer of each is waited for; 30 s where nothing is said here."""

OTHER_CALL_SECONDS = 30.0

UNBOUNDED = (told.Collect, boxes.Deliver, boxes.BringHome, boxes.Compare)
"""Takes as long as there are results, or data. A head that hangs is found by its heart, which beats meanwhile."""

HEARTBEAT_SECONDS = 10.0
MISSED_BEATS = 2
"""So many beats, one after the other, are not answered within HEARTBEAT_SECONDS by a head that hangs. One may be
missed because we ourselves were stopped."""

START_SECONDS = 180.0
"""Ray takes seconds, on a machine that is very busy a minute."""

WITHOUT_RAY = (
    told.Stop,
    told.Adjust,
    told.Reconcile,
    told.ReadLog,
    told.ListResults,
    told.ReadResult,
    told.Forget,
    told.FindStrays,
    told.Release,
)
"""What can be done on this machine though Ray is away: nothing is to wait for it that wants to end."""

READ_AT_HOME = (told.ReadLog, told.ListResults, told.ReadResult)
"""What is answered here of an attempt on another box, once all that it has left has come."""

LAUNCHES = (told.Start, told.Inspect, told.AskLauncher)
"""What the launcher is asked for."""


class ClusterLink:
    def __init__(
        self,
        paths: StatePaths,
        settings: NodeSettings,
        listening: Listening | None = None,
        ray_address: str | None = None,
        *,
        on_node: Callable[[NodeReported], None],
        on_attempt: Callable[[AttemptEvent], None],
    ) -> None:
        self._paths = paths
        self._settings = settings
        self.listening = listening
        self.ray_address = ray_address
        self._on_node = on_node
        self._on_attempt = on_attempt
        self._ids = itertools.count()
        self._pending: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._is_up = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._head: asyncio.subprocess.Process | None = None
        self._remotes: set[str] = set()
        """The other boxes that the head has told of."""

        self._failure = ""
        """Why the head did not start, as it has said itself, or why it was killed."""

        self._has_served = False
        """Whether the head that runs, or ran last, has told of an agent on this box."""

        self._log_began = 0
        """Where in head.log the words of this head begin."""

        self.door = ""
        """Why other boxes cannot join, where this one is served all the same."""

        self._own_agent = NodeAgent(settings, follows=False)
        self.launchers = Launchers(paths)

    @property
    def instance(self) -> str:
        return self._settings.instance

    @property
    def own_name(self) -> str:
        return self._settings.node_name

    def is_remote(self, node: str) -> bool:
        return node != self._settings.node_name

    async def start(self) -> None:
        """Returns at once; `on_node` tells when a node can be used."""
        self.launchers.use(TENSORFLOW)
        self._keeper = asyncio.create_task(keep("head", self._run_head, self._head_ended))

    async def wait_until_up(self, seconds: float) -> None:
        """For calls that somebody waits for anyway. Returns after so long all the same."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._is_up.wait(), seconds)

    def launcher_seconds(self, node: str, backend: str) -> float:
        """Sees to it that the launcher is there, or comes, and says how long its answer may take. On another box the
        agent asks for it there."""
        if self.is_remote(node):
            return FIRST_ANSWER_SECONDS
        self.launchers.use(backend)
        return self.launchers.answer_seconds(backend)

    async def call(self, node: str, instruction: Instruction[M]) -> M:
        """What the node's agent answers (docs/protocol.md, section 2). Raises the agent's error, or
        MachineError where the cluster is away, or does not answer: then nobody knows whether it was carried out."""
        is_ours = node == self._settings.node_name and type(instruction) in WITHOUT_RAY
        if (self._writer is None and is_ours) or (not is_ours and self._is_at_home(instruction)):
            return await self._carry_out_here(instruction)
        seconds = None if isinstance(instruction, UNBOUNDED) else _seconds(instruction)
        try:
            async with asyncio.timeout(seconds):
                return await self._call(node, instruction)
        except TimeoutError:
            raise MachineError(f"{node} did not answer within {seconds:g} s ({instruction.tag})") from None
        except LauncherError:
            if isinstance(instruction, LAUNCHES) and node == self._settings.node_name:
                self.launchers.suspect(_backend(instruction))
            raise

    def _is_at_home(self, instruction: Instruction[Any]) -> bool:
        return (
            isinstance(instruction, READ_AT_HOME)
            and self._paths.job(instruction.job).attempt(instruction.attempt).home.exists()
        )

    async def _call(self, node: str, instruction: Instruction[M]) -> M:
        if self._writer is None:
            raise MachineError("the cluster is not up")
        number = next(self._ids)
        future = self._pending[number] = asyncio.get_running_loop().create_future()
        try:
            await write_line(self._writer, wire.write_request(Request(number, node, instruction)))
            return instruction.read(await future)
        except ShapeError as error:
            raise ProtocolError(f"the answer of {node} makes no sense: {error}") from error
        except ConnectionError as error:
            raise MachineError(f"the cluster is away: {error}") from error
        finally:
            self._pending.pop(number, None)

    def start_over(self, why: str) -> None:
        """Has Ray end, and started anew."""
        if self._writer is not None:
            self._failure = why
            self._writer.close()

    async def _carry_out_here(self, instruction: Instruction[M]) -> M:
        try:
            answer = await self._own_agent.carry_out(instruction)
        except OSError as error:
            raise MachineError(f"{instruction.tag}: {error}") from error
        return instruction.own(answer)

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
        why = f"the cluster ended: {message}; another try in {backoff:g} s"
        self._announce(NodeStatus.DOWN, why)
        for name in self._remotes:
            self._on_node(NodeReported(name, NodeStatus.DOWN, why))
        self._remotes.clear()

    def _announce(self, status: NodeStatus, message: str) -> None:
        self._on_node(NodeReported(self._settings.node_name, status, message))

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Kills a head that does not come up, or does not answer: it is started again."""
        try:
            await asyncio.wait_for(self._is_up.wait(), START_SECONDS)
        except TimeoutError:
            words = self._last_words()
            self._kill(
                process, f"Ray has not started within {START_SECONDS:g} s" + (f": {words}" if words else "")
            )
            return
        missed = 0
        while missed < MISSED_BEATS:
            await asyncio.sleep(HEARTBEAT_SECONDS if not missed else 0)
            missed = 0 if await self._beats() else missed + 1
        self._kill(process, f"it did not answer for {MISSED_BEATS * HEARTBEAT_SECONDS:g} s")

    async def _beats(self) -> bool:
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                await self._call(self._settings.node_name, told.Ping())
        except TimeoutError:
            return False
        except MachineError as error:  # an answer, if of a head that is about to end
            log.warning("the cluster's heart: %s", error)
        return True

    def _kill(self, process: asyncio.subprocess.Process, why: str) -> None:
        log.error("the cluster hangs: %s; it is killed, and started again", why)
        self._failure = why
        end_session(process.pid)
        with suppress(ProcessLookupError):
            process.kill()

    def _last_words(self) -> str:
        return logs.last_line(self._paths.run / "head.log", self._log_began)

    async def _run_head(self) -> Ended:
        self._announce(NodeStatus.STARTING, "Ray is starting")
        self._failure, self.door, self._has_served = "", "", False
        reach("spawn.head")
        durable.make_way(self._paths.run / "head.log")
        ours, theirs = socket.socketpair()
        with theirs, (self._paths.run / "head.log").open("ab") as output:
            self._log_began = output.tell()
            process = self._head = await asyncio.create_subprocess_exec(
                *PYTHON,
                "gpujobs.cluster.head",
                "--fd",
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(),),
                env=without_ray(os.environ) if self.ray_address is None else os.environ,
                start_new_session=True,
            )
        reader, writer = await asyncio.open_connection(sock=ours, limit=1 << 26)
        watch = asyncio.create_task(self._watch(process))
        try:
            await write_line(
                writer, codec.write(HeadSettings(self._settings, self.listening, self.ray_address))
            )
            async for message in read_lines(reader):
                self._take(message, writer)
        except (ConnectionError, json.JSONDecodeError) as error:
            log.warning("the head's connection: %s", error)
        finally:
            watch.cancel()
            self._writer = None
            self._is_up.clear()
            writer.close()
            self._fail_pending()
        status = await process.wait()
        end_session(process.pid)
        # What one that was killed wrote last is not why.
        said = "" if status == -signal.SIGKILL else self._last_words()
        why = self._failure or said or f"exit status {status}"
        return Ended(f"{why} ({self._paths.run / 'head.log'} says more)", self._has_served)

    def _take(self, message: Mapping[str, Any], writer: asyncio.StreamWriter) -> None:
        try:
            line = wire.line_of(message)
        except ShapeError as error:
            log.error("the head's line is not understood: %s", error)
            return
        match line:
            case HeadFailed():
                self._failure = line.message
            case DoorReported():
                self.door = line.message
                if self.door:
                    log.error("%s", self.door)
            case NodeReported():
                if line.name == self._settings.node_name:
                    self._writer = writer
                    self._is_up.set()
                    self._has_served = True
                else:
                    self._remotes.add(line.name)
                self._on_node(line)
            case AttemptEvent():
                self._on_attempt(line)
            case Answer() | Refusal():
                self._take_answer(line)

    def _take_answer(self, answer: Answer | Refusal) -> None:
        future = self._pending.get(answer.id)
        if future is None or future.done():
            return
        if isinstance(answer, Refusal):
            future.set_exception(answer.error)
        else:
            future.set_result(answer.result)

    def _fail_pending(self) -> None:
        for future in self._pending.values():
            if not future.done():
                future.set_exception(MachineError("the cluster ended before it answered"))


def _seconds(instruction: Instruction[Any]) -> float:
    """A start waits for the launcher, which may be importing, and for it to be there at all."""
    own = CALL_SECONDS.get(type(instruction), OTHER_CALL_SECONDS)
    return own + (instruction.answer_seconds if isinstance(instruction, LAUNCHES) else 0.0)


def _backend(instruction: Instruction[Any]) -> str:
    return instruction.spec.backend if isinstance(instruction, told.Start) else TENSORFLOW
