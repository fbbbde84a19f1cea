"""Nodes that come and go: what runs on one already is found again before it gets new jobs."""

from __future__ import annotations

import asyncio
import logging

from gpujobs.cluster.link import ClusterLink
from gpujobs.daemon.devices.nodes import Nodes
from gpujobs.daemon.devices.poller import DevicePoller
from gpujobs.daemon.jobs.again import pauses
from gpujobs.daemon.jobs.attempts import Attempts
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.observers import Observers
from gpujobs.daemon.tasks import Tasks
from gpujobs.errors import GpujobsError
from gpujobs.failpoints import reach
from gpujobs.model import NodeStatus
from gpujobs.protocol.events import NodeReported
from gpujobs.protocol.instructions import FindStrays, Stray
from gpujobs.protocol.records import AttemptKey

RETRY_ADMITTING_SECONDS = 10.0
"""The longest pause between two tries, where the store cannot be written, say."""

log = logging.getLogger(__name__)


class NodeAdmission:
    """`changed` is told when a node can be used, and when it cannot any more."""

    def __init__(
        self,
        cache: JobCache,
        nodes: Nodes,
        link: ClusterLink,
        attempts: Attempts,
        poller: DevicePoller,
        tasks: Tasks,
        changed: Observers[[]],
    ) -> None:
        self._cache = cache
        self._nodes = nodes
        self._link = link
        self._attempts = attempts
        self._poller = poller
        self._tasks = tasks
        self._changed = changed
        self._announcements: dict[str, int] = {}
        """How often each node was announced: what an earlier announcement still does is void."""

        self.strays: tuple[Stray, ...] = ()
        """Attempts that live on a node and that no job knows, as of the last look."""

    def on_node(self, event: NodeReported) -> None:
        log.info("node %s: %s", event.name, event.message or event.status)
        if event.status in (NodeStatus.STARTING, NodeStatus.DOWN):
            self._announced(event.name)
            self._nodes.report(event.name, event.status, event.message)
            self._changed.tell()
        else:
            self._tasks.spawn(self._admit(event.name, self._announced(event.name)))

    def _announced(self, name: str) -> int:
        self._announcements[name] = self._announcements.get(name, 0) + 1
        return self._announcements[name]

    async def _admit(self, name: str, announcement: int) -> None:
        """First what runs there already, then new jobs. Tried again, whatever it is that fails."""
        for pause in pauses(1.0, RETRY_ADMITTING_SECONDS):
            if self._announcements[name] != announcement:
                return
            try:
                await self._take_in(name)
                return
            except Exception as error:
                log.log(
                    logging.ERROR,
                    "node %s is not admitted yet: %s",
                    name,
                    error,
                    exc_info=None if isinstance(error, GpujobsError) else error,
                )
                if self._announcements[name] == announcement:
                    why = str(error) or repr(error)
                    message = f"it cannot be used yet: {why}; another try in {pause:g} s"
                    self._nodes.report(name, NodeStatus.DOWN, message)
                    self._changed.tell()
            await asyncio.sleep(pause)

    async def _take_in(self, name: str) -> None:
        reach("node.admit")
        await self._attempts.recover(name)
        node = await self._nodes.admit(name)
        self._poller.begin()
        log.info("node %s has %d devices. %s", name, len(node.devices), node.message)
        self._changed.tell()
        await self.look_for_strays(name)

    async def look_for_strays(self, name: str) -> None:
        """Trainers that go on though no job knows them: of a store that was lost, or restored from a copy."""
        known = [
            AttemptKey(job.id, job.attempt, job.current.nonce)
            for job in self._cache.jobs.values()
            if job.current is not None
        ]
        try:
            found = (await self._link.call(name, FindStrays(tuple(known)))).strays
        except GpujobsError as error:
            log.warning("node %s: it was not looked for trainers that no job knows: %s", name, error)
            return
        for stray in found:
            if stray not in self.strays:
                log.warning("node %s: %s", name, describe_stray(stray))
        self.strays = found


def describe_stray(stray: Stray) -> str:
    """What it is, and how it is ended: its supervisor lets it write a checkpoint first."""
    owner = f" of {stray.user}" if stray.user else ""
    begun = f", begun {stray.started_at}" if stray.started_at else ""
    end = (
        f"`kill {stray.supervisor}` ends it"
        if stray.supervisor
        else "`fuser -k` on its supervisor.lock ends it"
    )
    return (
        f"a trainer (pid {stray.trainer or 'unknown'}) runs that no job knows: job {stray.job}, attempt "
        f"{stray.attempt}{owner}{begun}; {end}"
    )
