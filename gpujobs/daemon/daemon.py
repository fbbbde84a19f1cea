"""The daemon: its parts put together, and its start and end."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from gpujobs.cluster.link import ClusterLink
from gpujobs.cluster.settings import ClusterSettings
from gpujobs.config import Settings
from gpujobs.daemon.attempts import Attempts
from gpujobs.daemon.board import Board
from gpujobs.daemon.dispatch import Dispatcher
from gpujobs.daemon.nodes import Nodes
from gpujobs.daemon.specs import Specs
from gpujobs.errors import GpujobsError
from gpujobs.lifecycle import Finish
from gpujobs.model import Device, Job, NodeStatus, Reason, State, utc_now
from gpujobs.node.probe import read_once
from gpujobs.paths import StatePaths
from gpujobs.store.store import Store

log = logging.getLogger(__name__)


class Mode(StrEnum):
    SITE = "site"
    """Started as root: serves everybody, trainers run as the submitting user."""
    PERSONAL = "personal"
    """Serves the user that it runs as."""
    EMBEDDED = "embedded"
    """A personal one that `gpujobs run` started, and that ends when nobody needs it any more."""


class StopMode(StrEnum):
    NOW = "now"
    DRAIN = "drain"
    CANCEL = "cancel"


class Daemon:
    """What handlers work on. Everything runs on one event loop; the store is written here only."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.mode = mode = Mode(settings.mode)
        self.started_at = utc_now()
        self.paths = StatePaths(settings.state_dir)
        self.node_name = socket.gethostname()
        self.store = Store(self.paths.database)
        self.board = Board(self.store.unfinished())
        self.link = ClusterLink(
            self.paths,
            ClusterSettings(self.node_name, str(settings.state_dir), settings.cpu_slots),
            on_node=self._on_node,
            on_attempt=self._on_attempt,
        )
        self.nodes = Nodes(self.link, self.node_name)
        site = mode is Mode.SITE
        self.specs = Specs(self.store, self.paths, changes_identity=site, require_gpu=settings.require_gpu)
        self.attempts = Attempts(
            self.store,
            self.board,
            self.nodes,
            self.link,
            self.specs,
            self.paths,
            gives_away_results=site,
            on_change=self._changed,
        )
        self.dispatcher = Dispatcher(self.store, self.board, self.nodes, self.attempts.launch)
        self.ended = asyncio.Event()
        """Set when the daemon is to close."""
        self._stop_when_idle = False
        self._work: list[asyncio.Task[Any]] = []

    async def start(self) -> None:
        await self.link.start()
        self.attempts.cancel_blocked()
        self._work.append(asyncio.create_task(self.dispatcher.run()))
        self.dispatcher.wake()

    async def close(self) -> None:
        """Running trainers go on; their supervisors need nobody."""
        for task in self._work:
            task.cancel()
        await self.link.close()
        self.store.close()

    # What happens

    def _changed(self) -> None:
        self.dispatcher.wake()
        if self._stop_when_idle and not self._is_busy():
            self.ended.set()

    def _on_attempt(self, event: Mapping[str, Any]) -> None:
        self.attempts.on_event(event)

    def _on_node(self, event: Mapping[str, Any]) -> None:
        status = NodeStatus(event["status"])
        log.info("node %s: %s %s", event["name"], status, event["message"])
        if status in (NodeStatus.STARTING, NodeStatus.DOWN):
            self.nodes.report(event["name"], status, event["message"])
            self.dispatcher.wake()
        else:
            self._work.append(asyncio.get_running_loop().create_task(self._admit(event["name"])))

    async def _admit(self, name: str) -> None:
        """First what runs there already, then new jobs."""
        try:
            await self.attempts.recover(name)
            node = await self.nodes.admit(name)
        except GpujobsError as error:
            self.nodes.report(name, NodeStatus.DOWN, str(error))
        else:
            log.info("node %s has %d devices. %s", name, len(node.devices), node.message)
        self.dispatcher.wake()

    async def devices(self) -> list[Device]:
        """Those of the members; of this machine alone while the cluster is still starting."""
        known = [device for node in self.nodes.known for device in node.devices]
        if known or any(node.status is NodeStatus.OK for node in self.nodes.known):
            return known
        reading = await asyncio.to_thread(read_once)
        return list(reading.devices)

    # What people ask for

    def submitted(self, jobs: list[Job]) -> None:
        for job in jobs:
            if not job.state.is_final and job.id not in self.board.jobs:
                self.board.put(job)
        self.dispatcher.wake()

    async def cancel(self, job: Job, actor: str) -> Job:
        """Cancelling what has ended changes nothing."""
        job = self.board.jobs.get(job.id) or self.store.job(job.id)  # it may have started since it was read
        if job.state is State.PENDING:
            job = self.store.cancel_pending(job.id, actor, cancelled_by(actor))
            self.board.put(job)
            self.attempts.cancel_blocked()
        elif not job.state.is_final and not job.cancel_requested:
            job = self.store.request_cancel(job.id, actor)
            self.board.put(job)
            if job.state.holds_device:
                await self.attempts.stop(job)
        self._changed()
        return job

    def stop(self, mode: StopMode) -> list[int]:
        """Begins to end; returns the jobs that are running. An embedded daemon that others use
        meanwhile ends when their jobs have."""
        self.dispatcher.draining = mode is not StopMode.NOW
        running = self.board.active()
        if mode is StopMode.CANCEL:
            for job in running:
                self._work.append(asyncio.create_task(self.cancel(job, "gpujobs stop --cancel")))
        elif mode is StopMode.NOW and self.mode is not Mode.EMBEDDED:
            self.ended.set()
        self._stop_when_idle = True
        self._changed()
        return [job.id for job in running]

    def _is_busy(self) -> bool:
        """Whether a stop that waits must wait on."""
        states = {job.state for job in self.board.jobs.values() if not job.held}
        if self.dispatcher.draining:
            states.discard(State.PENDING)
        return bool(states)


def cancelled_by(actor: str) -> Finish:
    return Finish(State.CANCELLED, Reason.CANCELLED_BY_USER, f"cancelled by {actor}")
