"""The loop that asks the policy whenever something has changed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gpujobs.daemon.devices.nodes import Nodes
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.snapshot_builder import SnapshotBuilder
from gpujobs.daemon.writer import StoreWriter
from gpujobs.errors import StoreError
from gpujobs.model import Device, DeviceKind, Job, Node, NodeStatus, StopReason, utc_now
from gpujobs.policy import Decision, Start, decide
from gpujobs.store.store import StaleTransitionError

LOOK_AGAIN_SECONDS = 2.0
"""NVML tells nobody when a process leaves a GPU, so while a job waits for that, it is asked again: soon
after something has changed (the driver takes a moment to free what a trainer had), then less often."""

LOOK_AGAIN_FIRST_SECONDS = 0.1

PATIENCE_SECONDS = 1.0
"""Who has changed a job waits so long to hear what that has led to."""

CLOCK_SECONDS = 30.0
"""Until it is looked again whether an instant has come: a clock that is set is noticed so soon."""

log = logging.getLogger(__name__)


class Dispatcher:
    """Snapshot, decide, apply; then wait for the next change, or for the instant that the policy names.
    `holds` shows the nodes as the policy is to see them: without those on which nothing is to be started now."""

    def __init__(
        self,
        writer: StoreWriter,
        cache: JobCache,
        nodes: Nodes,
        snapshots: SnapshotBuilder,
        *,
        launch: Callable[[Job], None],
        stop: Callable[[Job, StopReason, str], None],
        may_start: Callable[[int], bool] = lambda _: True,
        holds: Callable[[Sequence[Node]], Sequence[Node]] = lambda nodes: nodes,
        near: Mapping[int, Collection[str]] = {},
        recent: Callable[[], Sequence[Node] | None] = lambda: None,
        decided: Callable[[], None] = lambda: None,
    ) -> None:
        """`may_start`: the last look at a job before it starts; one that may not is out of the queue when it is
        answered. `near`: the nodes that have all data of a job. `recent`: a reading that is good enough where nothing
        was heard; None where there is none. `decided` hears of each decision, when its starts are committed."""
        self._writer = writer
        self._cache = cache
        self._nodes = nodes
        self._snapshots = snapshots
        self._launch = launch
        self._stop = stop
        self._may_start = may_start
        self._holds = holds
        self._tell = decided
        self._near = near
        self._recent = recent
        self._is_told = False
        """Whether something was heard since the latest decision was begun."""
        self._decided_on: _Decided | None = None
        """What the latest decision rested on, while it counts."""
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._delay_seconds = LOOK_AGAIN_FIRST_SECONDS
        self._decided: list[asyncio.Future[None]] = []
        """Of those who wait for the next decision."""
        self.draining = False
        """While true nothing new is started."""

    def wake(self) -> None:
        """Something has changed that may let a job start."""
        self._delay_seconds = LOOK_AGAIN_FIRST_SECONDS
        self._is_told = True
        self._changed.set()

    async def decision(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Waits for the next decision, but not for ever: NVML may hang."""
        decided = asyncio.get_running_loop().create_future()
        self._decided.append(decided)
        self.wake()
        await asyncio.wait([decided], timeout=patience_seconds)

    async def run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()  # before the look: what changes during it wakes the next round
            try:
                await self._dispatch()
                self._tell()
                self._tell_decided()
            except StoreError as error:
                log.error("nothing can be started: %s", error)
                self._wake_in(self._next_look())
            except Exception:  # one decision that fails must not be the last one
                log.exception("nothing was started; trying again in %g s", LOOK_AGAIN_SECONDS)
                self._wake_in(LOOK_AGAIN_SECONDS)

    def _tell_decided(self) -> None:
        decided, self._decided = self._decided, []
        for one in decided:
            if not one.done():
                one.set_result(None)

    async def _dispatch(self) -> None:
        if not len(self._cache.queue):
            self._cache.set_waits({})
            return
        self._cache.queue.advance(utc_now())  # a job whose time has come starts on a fresh reading too
        before, self._decided_on = self._decided_on, None
        is_told, self._is_told = self._is_told, False
        nodes = self._holds(await self._read(is_told=is_told))
        uses = _uses(nodes)
        if not (is_told or self._is_told) and before is not None and before.counts(uses):
            self._decided_on = before
            self._wake_in(self._next_wake(before.next_change_at, nodes))
            return
        # Probing took time, and the cache may have changed: the snapshot is made after it, and
        # nothing is awaited between the snapshot and the commit of the starts.
        decision = decide(replace(self._snapshots.snapshot(nodes), near=self._near))
        self._cache.set_waits(decision.waits)
        if not self.draining:
            self._apply(decision, nodes)
        self._decided_on = _Decided(uses, decision.next_change_at, time.monotonic())
        self._wake_in(self._next_wake(decision.next_change_at, nodes))

    async def _read(self, *, is_told: bool) -> Sequence[Node]:
        """As they are now; where nothing was heard for some time, as they were when they were last looked at, if that
        is not long ago."""
        if not self._cache.queue.has_ready:
            return self._nodes.known
        is_quiet = not is_told and self._delay_seconds >= LOOK_AGAIN_SECONDS
        return (self._recent() if is_quiet else None) or await self._nodes.probe()

    def _apply(self, decision: Decision, nodes: Sequence[Node]) -> None:
        devices = {(node.name, device.uuid): device for node in nodes for device in node.devices}
        for start in decision.starts:
            # Last, since it looks at the disk: only at the jobs that start, not at all that wait.
            if not self._may_start(start.job):
                self._is_told = True
                self._changed.set()  # its device is for another
                continue
            try:
                device = devices[start.node, start.device_uuid]
                job = self._start(start, device)
            except StaleTransitionError as error:  # it was cancelled while the devices were read
                log.warning("not started: %s", error)
                continue
            self._launch(job)
        for preemption in decision.preemptions:
            victim = self._cache.jobs[preemption.job]
            self._stop(victim, StopReason.PREEMPT, f"it made room for job {preemption.for_job}")

    def _start(self, start: Start, device: Device) -> Job:
        return self._writer.job(lambda store: store.start_attempt(start.job, device, start.gpu_memory_bytes))

    def _next_wake(self, at: datetime | None, nodes: Sequence[Node]) -> float | None:
        """Seconds until the decision should be made again though nothing was heard. `at`: when time alone changes
        it."""
        # Of the clock on the wall, which may be set; the timer is of another one, which is not.
        seconds = [] if at is None else [min(CLOCK_SECONDS, max(0.0, (at - utc_now()).total_seconds()))]
        if self._cache.queue.has_ready and _asks_nvml(nodes):
            seconds.append(self._next_look())
        return min(seconds, default=None)

    def _next_look(self) -> float:
        delay = self._delay_seconds
        self._delay_seconds = min(delay * 2, LOOK_AGAIN_SECONDS)
        return delay

    def _wake_in(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._changed.set)


@dataclass(frozen=True, slots=True)
class _Decided:
    """What a decision rested on besides what somebody would have told of."""

    uses: tuple[object, ...]
    next_change_at: datetime | None
    at: float

    def counts(self, uses: tuple[object, ...]) -> bool:
        """Whether another one would come out the same, as far as is known; after a while it is asked for anyway."""
        is_due = self.next_change_at is not None and self.next_change_at <= utc_now()
        return not is_due and uses == self.uses and time.monotonic() - self.at < CLOCK_SECONDS


def _uses(nodes: Sequence[Node]) -> tuple[object, ...]:
    """All of a reading that matters for a decision: not how warm a device is."""
    return tuple((node.name, node.status, node.message, tuple(map(_use, node.devices))) for node in nodes)


def _use(device: Device) -> tuple[object, ...]:
    return device.uuid, device.fault, device.hardware_errors, device.memory_used_bytes, device.processes


def _asks_nvml(nodes: Sequence[Node]) -> bool:
    """Only what NVML answers can change without an event; CPU slots cannot."""
    return any(
        node.status is NodeStatus.DRIVER_ERROR or any(d.kind is DeviceKind.GPU for d in node.devices)
        for node in nodes
    )
