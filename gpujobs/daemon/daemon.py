"""The daemon's start and end; `build.py` puts it together."""

from __future__ import annotations

import contextlib
import logging

from gpujobs.daemon.build import Parts
from gpujobs.daemon.devices.foreign_charges import ForeignCharge
from gpujobs.daemon.devices.presence_monitor import PresenceMonitor
from gpujobs.daemon.devices.sampler import DeviceSampler
from gpujobs.daemon.modes import Mode
from gpujobs.errors import StoreError

NEWS_SECONDS = 10.0
"""That a daemon which `run` has started, and which nobody may start again soon, takes to tell its news."""

log = logging.getLogger(__name__)


class Daemon:
    """Everything runs on one event loop."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def start(self) -> None:
        parts = self._parts
        for notice in parts.notices:
            log.warning("%s", notice)
        listening = parts.link.listening
        if listening is not None and not listening.tls:
            log.warning("what crosses the network between the boxes is not encrypted (docs/cluster.md)")
        if parts.link.ray_address is not None:
            log.warning(
                "jobs run on the nodes of the Ray at %s, all as the user of that Ray: whoever can start anything on it "
                "can do what this daemon can",
                parts.link.ray_address,
            )
        parts.uploads.remove_partial()
        parts.lacking.look()
        await parts.membership.learn(job.user for job in parts.cache.jobs.values())
        parts.admission.expect(node.name for node in parts.nodes.known if parts.nodes.is_remote(node.name))
        await parts.link.start()
        parts.attempts.cancel_blocked()
        parts.tasks.spawn(parts.retention.run())
        parts.tasks.spawn(
            parts.homecoming.run(parts.cache.active, lambda: parts.in_force.site.nodes.checkpoints)
        )
        parts.tasks.spawn(parts.mapping.run())
        parts.mapping.wake()
        parts.tasks.spawn(parts.dispatcher.run())
        parts.tasks.spawn(parts.outbox.run())
        parts.dispatcher.wake()

    async def close(self) -> None:
        """Running trainers go on; their supervisors need nobody."""
        parts = self._parts
        if parts.mode is Mode.EMBEDDED:
            await parts.outbox.first_tries(NEWS_SECONDS)
        parts.poller.end()
        parts.admission.close()
        parts.attempts.close()
        for what in (parts.charge, parts.sampler, parts.presence):
            if what is not None:
                _save(what)
        parts.tasks.close()
        await parts.link.close()
        await parts.nodes.close()
        with contextlib.suppress(StoreError):  # then the next daemon looks at these events again
            parts.outbox.save()
        parts.journal.close()
        parts.store.close()


def _save(what: ForeignCharge | DeviceSampler | PresenceMonitor) -> None:
    """What was measured since the last time; a disk that is full must not keep the daemon from its end."""
    try:
        what.save()
    except (StoreError, OSError) as error:
        log.error("what was measured last is lost: %s", error)
