"""NVML tells nobody when a process comes to a GPU: while our jobs are on GPUs, they are looked at again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gpujobs.daemon.devices.nodes import Nodes
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.errors import StoreError
from gpujobs.model import DeviceKind

LOOK_SECONDS = 1.0
"""A reading takes some milliseconds. Nothing is read while no job is on a GPU, unless the site charges others
for their use of it: then the devices are looked at more rarely."""

IDLE_LOOK_SECONDS = 10.0

log = logging.getLogger(__name__)


class DevicePoller:
    def __init__(
        self, cache: JobCache, nodes: Nodes, *, always: bool, pace: Callable[[], float] = lambda: LOOK_SECONDS
    ) -> None:
        """`pace`: seconds between two looks while jobs are on GPUs."""
        self._always = always
        self._pace = pace
        self._cache = cache
        self._nodes = nodes
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """The node is up, or a job has come to a device."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._look())

    def end(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _look(self) -> None:
        while (busy := self._has_gpu_jobs()) or self._always:
            try:
                await self._nodes.probe()
            except StoreError as error:  # what was seen could not be recorded; the disk may have room again
                log.error("the devices were looked at in vain: %s", error)
            except Exception:  # one look that fails is not the last one
                log.exception("the devices were looked at in vain")
            await asyncio.sleep(self._pace() if busy else max(IDLE_LOOK_SECONDS, self._pace()))

    def _has_gpu_jobs(self) -> bool:
        return any(
            job.current is not None and job.current.device_kind is DeviceKind.GPU
            for job in self._cache.active()
        )
