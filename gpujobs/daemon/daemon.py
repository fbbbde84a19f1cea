"""The daemon: its parts put together, and its start and end."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Any

from gpujobs.cluster.link import ClusterLink
from gpujobs.config import site as siteconfig
from gpujobs.config.settings import Settings
from gpujobs.config.site import SiteConfig
from gpujobs.daemon.access.connections import RequestLimiter
from gpujobs.daemon.access.policy import AccessPolicy
from gpujobs.daemon.devices.drains import Drains
from gpujobs.daemon.devices.foreign_charges import ForeignCharge
from gpujobs.daemon.devices.foreign_monitor import ForeignProcessMonitor
from gpujobs.daemon.devices.ledger import Ledger
from gpujobs.daemon.devices.membership import Membership
from gpujobs.daemon.devices.memory_monitor import MemoryMonitor
from gpujobs.daemon.devices.nodes import Nodes
from gpujobs.daemon.devices.poller import DevicePoller
from gpujobs.daemon.dispatch import Dispatcher
from gpujobs.daemon.forecast import Forecast
from gpujobs.daemon.jobs.again import pauses
from gpujobs.daemon.jobs.attempts import Attempts
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.jobs.collecting import Collector
from gpujobs.daemon.jobs.lacking import Lacking
from gpujobs.daemon.jobs.requests import Requests
from gpujobs.daemon.jobs.specs import Specs
from gpujobs.daemon.jobs.uploads import Uploads
from gpujobs.daemon.journal import Journal
from gpujobs.daemon.keeping.retention import Retention
from gpujobs.daemon.patience import committed
from gpujobs.daemon.snapshot_builder import SnapshotBuilder
from gpujobs.errors import GpujobsError
from gpujobs.failpoints import reach
from gpujobs.lifecycle import Finish
from gpujobs.linux.stateid import state_id
from gpujobs.model import Device, Job, Node, NodeStatus, Reason, State, StopReason, utc_now
from gpujobs.node.probe import DEADLINE_SECONDS, read_once
from gpujobs.paths import StatePaths
from gpujobs.policy import Snapshot, occupancies
from gpujobs.policy.devices.memory import outgrown
from gpujobs.policy.inputs.rules import ForeignPolicy
from gpujobs.protocol.events import AttemptEvent, NodeReported, Warned
from gpujobs.protocol.instructions import FindStrays, Stray
from gpujobs.protocol.records import AttemptKey
from gpujobs.protocol.settings import NodeSettings
from gpujobs.store.opening import open_store
from gpujobs.store.store import Store
from gpujobs.store.usage import EndedUsage

RETRY_ADMITTING_SECONDS = 10.0
"""The longest pause between two tries, where the store cannot be written, say."""

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
        self.site = siteconfig.read(settings.config)
        self.gatekeeper = AccessPolicy(mode is Mode.SITE, self.site.access)
        self.store, self.notices = open_store(self.paths)
        self.journal = Journal(self.store.history, self._device_name)
        self.board = JobCache(self.store.unfinished(), self.journal.wake)
        self.state_id = state_id(self.paths.identity)
        self.link = ClusterLink(
            self.paths,
            NodeSettings(
                self.node_name,
                str(settings.state_dir),
                settings.cpu_slots,
                DEADLINE_SECONDS,
                self.state_id,
            ),
            on_node=self._on_node,
            on_attempt=self._on_attempt,
        )
        self.drains = Drains(self.store.devices, self.journal.wake)
        self.rules = self.site.rules()
        self.measurements = MemoryMonitor(self.board, self.store.usage, self.rules.packing.settle_seconds)
        self.estimates: dict[str, int] = {}
        """Bytes of device memory by family, for jobs of which nothing was measured yet."""
        self.membership = Membership()
        self.ledger = _ledger(self.store, self.rules.priority.half_life_seconds)
        self.view = SnapshotBuilder(
            self.board,
            self.drains,
            self.ledger,
            self.measurements,
            self.membership,
            self.store.reservations,
            self.rules,
        )
        self.forecast = Forecast(lambda: self.view.snapshot(self.nodes.known))
        self.board.expected = lambda job: self.forecast.expected.get(job)
        self.strangers = ForeignProcessMonitor(
            self.store,
            self.board,
            self._stop_attempt,
            names_people=self.rules.names_people,
            are_welcome=self.rules.foreign is ForeignPolicy.IGNORE,
            on_note=self.journal.wake,
        )
        self.nodes = Nodes(self.link, self.node_name, self._on_reading, settings.cpu_slots)
        charges = self.rules.foreign is ForeignPolicy.CHARGE
        self.lookout = DevicePoller(self.board, self.nodes, always=charges)
        self.foreign = (
            ForeignCharge(self.ledger, self.store.usage, self.rules.priority.half_life_seconds)
            if charges
            else None
        )
        site = mode is Mode.SITE
        self.turns = RequestLimiter()
        self.requests = Requests()
        self.uploads = Uploads(self.store, self.paths, self.site.quotas if site else None)
        self.lacking = Lacking(self.store, self.board, self.uploads)
        self.retention = Retention(self.store, self.paths, lambda: self.site.retention, self.journal.wake)
        self.specs = Specs(
            self.store,
            self.paths,
            self.site,
            self.state_id,
            changes_identity=site,
            require_gpu=settings.require_gpu,
        )
        self.collector = Collector(self.store, self.link, self.paths, self.gatekeeper, self.site.quotas)
        self.attempts = Attempts(
            self.store,
            self.board,
            self.nodes,
            self.link,
            self.specs,
            self.collector,
            on_change=self._changed,
            on_end=self._attempt_ended,
        )
        self.dispatcher = Dispatcher(
            self.store,
            self.board,
            self.nodes,
            self.view,
            launch=self._launch,
            stop=self._stop_attempt,
            may_start=self.lacking.may_start,
            holds=self.attempts.holds.applied,
        )
        self.ended = asyncio.Event()
        """Set when the daemon is to close."""
        self._stop_when_idle = self._was_told_to_end = False
        self.file_values: dict[str, Any] = {}
        """Of the configuration that was read: the keys of its top, to tell what has changed."""
        self._work: set[asyncio.Task[Any]] = set()
        self._admissions: dict[str, int] = {}
        """How often each node was announced: what an earlier announcement still does is void."""

        self.strays: tuple[Stray, ...] = ()
        """Attempts that live on a node and that no job knows, as of the last look."""

    def configure(self, site: SiteConfig) -> None:
        """Takes over rules that may change while it runs (`daemon/reload.py`)."""
        self.site, self.rules = site, site.rules()
        is_site = self.mode is Mode.SITE
        self.gatekeeper = AccessPolicy(is_site, site.access)
        self.view.rules = self.rules
        self.measurements.settle_seconds = self.rules.packing.settle_seconds
        self.strangers.names_people = self.rules.names_people
        self.uploads.quotas = site.quotas if is_site else None
        self.specs.site = site
        self.collector.configure(self.gatekeeper, site.quotas)
        self.dispatcher.wake()

    async def start(self) -> None:
        for notice in self.notices:
            log.warning("%s", notice)
        self.uploads.remove_partial()
        self.lacking.look()
        await self.membership.learn(job.user for job in self.board.jobs.values())
        await self.link.start()
        self.attempts.cancel_blocked()
        self._spawn(self.retention.run())
        self._spawn(self.dispatcher.run())
        self.dispatcher.wake()

    async def close(self) -> None:
        """Running trainers go on; their supervisors need nobody."""
        self.lookout.end()
        self.attempts.close()
        if self.foreign is not None:
            self.foreign.save()
        for task in list(self._work):
            task.cancel()
        await self.link.close()
        await self.nodes.close()
        self.journal.write()
        self.store.close()

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._work.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a task of the daemon failed", exc_info=task.exception())

    # What happens

    def _changed(self) -> None:
        self.dispatcher.wake()
        if self._stop_when_idle and not self.is_busy():
            self.ended.set()

    def _launch(self, job: Job) -> None:
        self.attempts.launch(job)
        self.lookout.begin()

    def _on_reading(self, nodes: Sequence[Node]) -> None:
        self.drains.look(nodes)
        self.measurements.look(nodes)
        self.strangers.look(nodes)
        snapshot = self.view.snapshot(nodes)
        self._stop_outgrown(snapshot)
        if self.foreign is not None:
            self.foreign.look(occupancies(snapshot))

    def _stop_outgrown(self, snapshot: Snapshot) -> None:
        """Packed jobs that use more than they reserved, where others would run out of memory."""
        for one in outgrown(snapshot):
            job = self.store.set_reservation(one.job, one.reservation_bytes)
            self.board.put(job)
            message = (
                f"it used {one.used_bytes / 2**30:.1f} GiB of a shared device, more than it had reserved"
            )
            self._stop_attempt(job, StopReason.OUTGROWN, message)

    def _attempt_ended(self, job: Job) -> None:
        current = job.current
        assert current is not None and current.ended_at is not None
        self.measurements.ended(job)
        self.ledger.add(
            EndedUsage(
                job.user,
                current.started_at,
                current.ended_at,
                current.gpu_memory_bytes,
                current.device_memory_bytes,
            )
        )

    def _stop_attempt(self, job: Job, reason: StopReason, message: str) -> None:
        self.board.stopping.add(job.id)
        self._spawn(self.attempts.stop(job, reason, message))

    def _on_attempt(self, event: AttemptEvent) -> None:
        self.attempts.on_event(event)
        if isinstance(event, Warned):  # noted, and changes no job
            self.journal.wake()

    def _on_node(self, event: NodeReported) -> None:
        log.info("node %s: %s", event.name, event.message or event.status)
        if event.status in (NodeStatus.STARTING, NodeStatus.DOWN):
            self._announced(event.name)
            self.nodes.report(event.name, event.status, event.message)
            self.dispatcher.wake()
        else:
            self._spawn(self._admit(event.name, self._announced(event.name)))

    def _announced(self, name: str) -> int:
        self._admissions[name] = self._admissions.get(name, 0) + 1
        return self._admissions[name]

    async def _admit(self, name: str, announcement: int) -> None:
        """First what runs there already, then new jobs. Tried again, whatever it is that fails."""
        for pause in pauses(1.0, RETRY_ADMITTING_SECONDS):
            if self._admissions[name] != announcement:
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
                if self._admissions[name] == announcement:
                    why = str(error) or repr(error)
                    message = f"it cannot be used yet: {why}; another try in {pause:g} s"
                    self.nodes.report(name, NodeStatus.DOWN, message)
                    self.dispatcher.wake()
            await asyncio.sleep(pause)

    async def _take_in(self, name: str) -> None:
        reach("node.admit")
        await self.attempts.recover(name)
        node = await self.nodes.admit(name)
        self.lookout.begin()
        log.info("node %s has %d devices. %s", name, len(node.devices), node.message)
        self.dispatcher.wake()
        await self.look_for_strays(name)

    async def look_for_strays(self, name: str) -> None:
        """Trainers that go on though no job knows them: of a store that was lost, or restored from a copy."""
        known = [
            AttemptKey(job.id, job.attempt, job.current.nonce)
            for job in self.board.jobs.values()
            if job.current is not None
        ]
        try:
            found = (await self.link.call(name, FindStrays(tuple(known)))).strays
        except GpujobsError as error:
            log.warning("node %s: it was not looked for trainers that no job knows: %s", name, error)
            return
        for stray in found:
            if stray not in self.strays:
                log.warning("node %s: %s", name, describe_stray(stray))
        self.strays = found

    async def devices(self) -> list[Device]:
        """Those of the members; of this machine alone while the cluster is still starting."""
        known = [device for node in self.nodes.known for device in node.devices]
        if known or any(node.status is NodeStatus.OK for node in self.nodes.known):
            return known
        reading = await asyncio.to_thread(read_once)
        return list(reading.devices)

    def _device_name(self, uuid: str) -> str:
        """With the number by which people know it, where it is known."""
        devices = (device for node in self.nodes.known for device in node.devices)
        found = next((device for device in devices if device.uuid == uuid), None)
        return uuid if found is None else f"{found.kind} {found.index} ({uuid})"

    # What people ask for

    def data_arrived(self, uid: int, sha256: str) -> None:
        self.lacking.arrived(uid, sha256)
        self.dispatcher.wake()

    def submitted(self, jobs: list[Job]) -> None:
        for job in jobs:
            if not job.state.is_final and job.id not in self.board.jobs:
                self.board.put(job)
        self.dispatcher.wake()

    async def cancel(self, job: Job, actor: str, why: str = "") -> Job:
        """Cancelling what has ended changes nothing."""
        job = await committed(lambda: self._record_cancel(job.id, actor, why))
        if job.state.holds_device:
            await self.attempts.stop(job)
        elif not job.state.is_final:
            self.attempts.complete_now(job.id)
        self._changed()
        return job

    def _record_cancel(self, number: int, actor: str, why: str) -> Job:
        job = self.latest(number)
        if job.state is State.PENDING:
            (job,) = self.cancel_waiting([job], actor, why)
        elif not job.state.is_final and not job.cancel_requested:
            job = self.store.request_cancel(job.id, actor, cancelled_by(actor, why).message)
            self.board.put(job)
        return job

    def latest(self, number: int) -> Job:
        """It may have started, or ended, since somebody has read it."""
        return self.board.jobs.get(number) or self.store.job(number)

    def cancel_waiting(self, jobs: Sequence[Job], actor: str, why: str = "") -> list[Job]:
        """These PENDING jobs, all at once."""
        step = cancelled_by(actor, why)
        with self.store.together():
            cancelled = [self.store.cancel_pending(job.id, actor, step) for job in jobs]
        for job in cancelled:
            self.board.put(job)
        self.attempts.cancel_blocked()
        self._changed()
        return cancelled

    def stop(self, mode: StopMode, actor: str) -> list[int]:
        """Begins to end; returns the jobs that are running. An embedded daemon that others use
        meanwhile ends when their jobs have."""
        self.dispatcher.draining = mode is not StopMode.NOW
        running = self.board.active()
        if mode is StopMode.CANCEL:
            for job in list(self.board.jobs.values()):
                if job.state is not State.PENDING:
                    self._spawn(self.cancel(job, actor))
        elif mode is StopMode.NOW and self.mode is not Mode.EMBEDDED:
            self.ended.set()
        self._stop_when_idle = True
        self._changed()
        return [job.id for job in running]

    def end(self) -> None:
        """At once, as a signal asks for."""
        self._was_told_to_end = True
        self.ended.set()

    @property
    def ends_by_itself(self) -> bool:
        """It ends because nobody needs it any more, not since somebody wants it to."""
        return self.mode is Mode.EMBEDDED and not self._was_told_to_end and not self.dispatcher.draining

    def is_busy(self) -> bool:
        """Whether a stop that waits must wait on."""
        states = {job.state for job in self.board.jobs.values() if not job.held}
        if self.dispatcher.draining:
            states.discard(State.PENDING)
        return bool(states)


def _ledger(store: Store, half_life_seconds: float) -> Ledger:
    """After ten half-lives a thousandth is left, which decides nothing."""
    begin = utc_now() - timedelta(seconds=10 * half_life_seconds)
    return Ledger(store.usage.since(begin), store.usage.foreign(), half_life_seconds)


def cancelled_by(actor: str, why: str = "") -> Finish:
    said = f"cancelled by {actor}{f': {why}' if why else ''}"
    return Finish(State.CANCELLED, Reason.CANCELLED_BY_USER, said)


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
