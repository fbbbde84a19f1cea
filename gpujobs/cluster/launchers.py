"""The launchers of this node: one for each backend, since Keras fixes its backend when it is imported."""

from __future__ import annotations

import asyncio
import logging
import os
from functools import partial

from gpujobs.backends import TENSORFLOW
from gpujobs.cluster.environment import PYTHON, without_ray
from gpujobs.cluster.keeping import end, keep
from gpujobs.paths import StatePaths

IDLE_SECONDS = 600.0
"""A launcher that has not been used for so long gives its memory back: JAX's imports take some seconds again."""

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

    async def close(self) -> None:
        """Ends them all. Supervisors and their trainers are not in their tree."""
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

    async def _run(self, backend: str) -> str:
        with self._paths.launcher_log(backend).open("ab") as output:
            process = self._processes[backend] = await asyncio.create_subprocess_exec(
                *PYTHON,
                "gpujobs.trainer.launcher",
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
        return f"exit status {await process.wait()}"


async def _end(keeper: asyncio.Task[None], process: asyncio.subprocess.Process | None) -> None:
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)
    if process is not None:
        await end(process)
