"""The daemon's start and end; `build.py` puts it together."""

from __future__ import annotations

import logging

from gpujobs.daemon.build import Parts

log = logging.getLogger(__name__)


class Daemon:
    """Everything runs on one event loop."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def start(self) -> None:
        parts = self._parts
        for notice in parts.notices:
            log.warning("%s", notice)
        parts.uploads.remove_partial()
        parts.lacking.look()
        await parts.membership.learn(job.user for job in parts.cache.jobs.values())
        parts.admission.expect(node.name for node in parts.nodes.known if parts.nodes.is_remote(node.name))
        await parts.link.start()
        parts.attempts.cancel_blocked()
        parts.tasks.spawn(parts.retention.run())
        parts.tasks.spawn(parts.dispatcher.run())
        parts.dispatcher.wake()

    async def close(self) -> None:
        """Running trainers go on; their supervisors need nobody."""
        parts = self._parts
        parts.poller.end()
        parts.admission.close()
        parts.attempts.close()
        if parts.charge is not None:
            parts.charge.save()
        parts.tasks.close()
        await parts.link.close()
        await parts.nodes.close()
        parts.journal.write()
        parts.store.close()
