"""Nodes that come and go: what runs on one already is found again before it gets new jobs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from gpujobs.cluster.link import ClusterLink
from gpujobs.daemon.devices.contact import Contact
from gpujobs.daemon.devices.leases import Leases
from gpujobs.daemon.devices.nodes import Nodes
from gpujobs.daemon.devices.poller import DevicePoller
from gpujobs.daemon.jobs.again import pauses
from gpujobs.daemon.jobs.attempts import Attempts
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.observers import Observers
from gpujobs.daemon.tasks import Tasks
from gpujobs.errors import GpujobsError, MachineError
from gpujobs.failpoints import reach
from gpujobs.model import NodeStatus, utc_now
from gpujobs.policy.inputs.text import instant as in_words
from gpujobs.protocol.events import NodeReported
from gpujobs.protocol.instructions import FindStrays, Stray
from gpujobs.protocol.records import AttemptKey

RETRY_ADMITTING_SECONDS = 10.0
"""The longest pause between two tries, where the store cannot be written, say."""

RETRY_REMOTE_SECONDS = 2.0
"""As that, of another box, whose link may have been cut again meanwhile."""

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
        leases: Leases,
    ) -> None:
        self._cache = cache
        self._nodes = nodes
        self._link = link
        self._attempts = attempts
        self._poller = poller
        self._tasks = tasks
        self._changed = changed
        self._contact = Contact(
            leases,
            tasks,
            on_away=self._away,
            on_back=lambda name: self.on_node(NodeReported(name, NodeStatus.OK, "it is back")),
            on_lost=self._lost,
        )
        self._leases = leases
        self.admitted = Observers[[str]]()
        """Who hears of each node that is back."""

        self._announcements: dict[str, int] = {}
        """How often each node was announced: what an earlier announcement still does is void."""

        self._since: dict[str, datetime] = {}
        """Since when each box that is away is so."""

        self._strays: dict[str, tuple[Stray, ...]] = {}
        """Attempts that live on a node and that no job knows, as of the last look."""

    def on_node(self, event: NodeReported) -> None:
        log.info("node %s: %s", event.name, event.message or event.status)
        if event.status is NodeStatus.DOWN and self._nodes.is_remote(event.name):
            self._announced(event.name)
            self._contact.lose(event.name)
            self._away(event.name, event.message)
        elif event.status in (NodeStatus.STARTING, NodeStatus.DOWN):
            self._announced(event.name)
            self._nodes.report(event.name, event.status, event.message)
            self._changed.tell()
        else:
            self._tasks.spawn(self._admit(event.name, self._announced(event.name)))

    def expect(self, names: Iterable[str]) -> None:
        """Boxes that may have trainers of ours, started before this daemon was."""
        for name in names:
            self._leases.assume(name)
            self._contact.lose(name)

    def forget(self, name: str) -> None:
        """It is struck out."""
        self._announced(name)
        self._contact.forget(name)
        self._nodes.forget(name)
        self._since.pop(name, None)
        self._cache.set_away(name, None)
        self._changed.tell()

    def close(self) -> None:
        self._contact.close()

    def _away(self, name: str, why: str) -> None:
        log.warning("node %s is away: %s", name, why)
        now = utc_now()
        since = self._since.setdefault(name, now)
        until = now + timedelta(seconds=max(0.0, self._leases.left(name)))
        self._nodes.report(
            name,
            NodeStatus.DOWN,
            f"away since {in_words(since)}: {why}; what runs there goes on, and is started elsewhere after "
            f"{in_words(until)} unless it comes back",
            since,
        )
        self._cache.set_away(name, since)
        self._changed.tell()

    def _lost(self, name: str) -> None:
        """Its lease has ended."""
        log.warning("node %s: its lease has ended; its jobs go back to the queue", name)
        self._attempts.lost_with(name)

    def _announced(self, name: str) -> int:
        self._announcements[name] = self._announcements.get(name, 0) + 1
        return self._announcements[name]

    async def _admit(self, name: str, announcement: int) -> None:
        """First what runs there already, then new jobs. Tried again, whatever it is that fails."""
        longest = RETRY_REMOTE_SECONDS if self._nodes.is_remote(name) else RETRY_ADMITTING_SECONDS
        for pause in pauses(1.0, longest):
            if self._announcements[name] != announcement:
                return
            try:
                await self._take_in(name, announcement)
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
                    self._nodes.report(name, NodeStatus.DOWN, message, self._since.get(name))
                    self._changed.tell()
            await asyncio.sleep(pause)

    async def _take_in(self, name: str, announcement: int) -> None:
        reach("node.admit")
        if self._nodes.is_remote(name):
            await self._contact.greet(name)
        await self._attempts.recover(name)
        node = await self._nodes.admit(name)
        if self._announcements[name] != announcement:  # something else was said of it meanwhile
            return
        if self._nodes.is_remote(name):
            if node.status is NodeStatus.DOWN:  # what it says of its devices is that they cannot be used
                raise MachineError(node.message)
            self._contact.keep(name)
            self._since.pop(name, None)
            self._cache.set_away(name, None)
        self._poller.begin()
        log.info("node %s has %d devices. %s", name, len(node.devices), node.message)
        self._changed.tell()
        self.admitted.tell(name)
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
            if stray not in self._strays.get(name, ()):
                log.warning("node %s: %s", name, describe_stray(stray))
        self._strays[name] = found

    @property
    def strays(self) -> tuple[Stray, ...]:
        """Of the daemon's own machine; those of the others are told in the log alone."""
        return self._strays.get(self._nodes.own_name, ())


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
