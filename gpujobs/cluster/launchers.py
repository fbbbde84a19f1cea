"""The launchers of this node: one for each backend, since Keras fixes its backend when it is imported."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import suppress
from functools import partial

from gpujobs.backends import JAX, TENSORFLOW
from gpujobs.cluster.environment import PYTHON, without_ray
from gpujobs.cluster.restart import Ended, end, keep
from gpujobs.errors import LauncherError
from gpujobs.failpoints import reach
from gpujobs.linux import durable
from gpujobs.linux.logs import last_line
from gpujobs.node import keepers
from gpujobs.node.launcher_client import (
    ANSWER_SECONDS,
    FIRST_ANSWER_SECONDS,
    LauncherEndedError,
    ask,
)
from gpujobs.paths import StatePaths
from gpujobs.protocol.launcher import PingLauncher, Versions

IDLE_SECONDS = 600.0
"""A launcher that has not been used for so long gives its memory back: JAX's imports take some seconds again."""

PING_SECONDS = 5.0
"""A launcher that has answered before, and does not answer this, hangs."""

log = logging.getLogger(__name__)


class Launchers:
    """TensorFlow's is always there. Another is started when a job needs it, and ended when none does."""

    def __init__(self, paths: StatePaths, idle_seconds: float = IDLE_SECONDS) -> None:
        self._paths = paths
        self.idle_seconds = idle_seconds
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self._ready: set[int] = set()
        """Pids of the launchers that have answered: their imports are behind them."""

        self._suspected: dict[str, asyncio.Task[None]] = {}

    def use(self, backend: str) -> None:
        """Sees to it that the launcher is there, or comes: whoever asks it meanwhile waits at its socket."""
        if backend not in self._keepers:
            run = partial(self._run, backend)
            self._keepers[backend] = asyncio.create_task(keep(f"launcher of {backend}", run))
        if backend == TENSORFLOW:
            return
        if backend in self._timers:
            self._timers[backend].cancel()
        loop = asyncio.get_running_loop()
        self._timers[backend] = loop.call_later(self.idle_seconds, self._retire, backend)

    def hear(self, asked: socket.socket) -> None:
        """What an agent says on a box that keeps them for it (`keepers.listen`)."""
        with suppress(BlockingIOError):
            word, backend = keepers.heard(asked)
            if backend in (TENSORFLOW, JAX):
                (self.suspect if word == keepers.SUSPECT else self.use)(backend)

    def answer_seconds(self, backend: str) -> float:
        """How long the answer of this launcher may take."""
        process = self._processes.get(backend)
        return ANSWER_SECONDS if process is not None and process.pid in self._ready else FIRST_ANSWER_SECONDS

    def suspect(self, backend: str) -> None:
        """It has not answered somebody: it is asked, and replaced if it hangs."""
        process = self._processes.get(backend)
        if process is not None and backend not in self._suspected:
            task = asyncio.create_task(self._examine(backend, process))
            self._suspected[backend] = task
            task.add_done_callback(lambda _: self._suspected.pop(backend, None))

    async def _examine(self, backend: str, process: asyncio.subprocess.Process) -> None:
        """Kills it where it does not answer in time. Its keeper starts another."""
        seconds = PING_SECONDS if process.pid in self._ready else FIRST_ANSWER_SECONDS
        try:
            await ask(self._paths.launcher_socket(backend), PingLauncher(), seconds, Versions)
            self._ready.add(process.pid)
        except LauncherEndedError as error:
            if not await _has_ended(process):
                log.error(
                    "the launcher of %s serves nobody (%s); it is killed, and started again", backend, error
                )
                process.kill()
        except LauncherError as error:
            if self._processes.get(backend) is process and process.returncode is None:
                log.error("the launcher of %s hangs (%s); it is killed, and started again", backend, error)
                process.kill()

    async def close(self) -> None:
        """Ends them all. Supervisors and their trainers are not in their tree."""
        for examination in self._suspected.values():
            examination.cancel()
        for timer in self._timers.values():
            timer.cancel()
        for backend in list(self._keepers):
            self._end(backend)
        await asyncio.gather(*self._endings)

    def _retire(self, backend: str) -> None:
        log.info("the launcher of %s has not been used for %g s", backend, self.idle_seconds)
        del self._timers[backend]
        self._end(backend)

    def _end(self, backend: str) -> None:
        """The socket goes first: who asks from now on waits for the next launcher, not for this one's end."""
        self._paths.launcher_socket(backend).unlink(missing_ok=True)
        ending = asyncio.create_task(_end(self._keepers.pop(backend), self._processes.pop(backend, None)))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    async def _run(self, backend: str) -> Ended:
        reach("spawn.launcher")
        durable.make_way(self._paths.launcher_log(backend))
        with self._paths.launcher_log(backend).open("ab") as output:
            written = output.tell()
            process = self._processes[backend] = await asyncio.create_subprocess_exec(
                *PYTHON,
                "gpujobs.supervise.launcher",
                "--socket",
                str(self._paths.launcher_socket(backend)),
                "--backend",
                backend,
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=without_ray(os.environ),
                start_new_session=True,
            )
        self.suspect(backend)  # its first answer says that it is ready
        try:
            status = await process.wait()
            said = last_line(self._paths.launcher_log(backend), written)
            return Ended(_end_in_words(status, said), process.pid in self._ready)
        finally:
            self._ready.discard(process.pid)


def _end_in_words(status: int, said: str) -> str:
    """What one that was killed wrote last is not why."""
    return f"exit status {status}{f': {said}' if status > 0 and said else ''}"


async def _has_ended(process: asyncio.subprocess.Process) -> bool:
    """Its connections are closed a little earlier than its end is told of, which its keeper logs."""
    try:
        await asyncio.wait_for(process.wait(), PING_SECONDS)
    except TimeoutError:
        return False
    return True


async def _end(keeper: asyncio.Task[None], process: asyncio.subprocess.Process | None) -> None:
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)
    if process is not None:
        await end(process)
