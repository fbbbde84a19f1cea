"""Trainers that have completed a job and wait for another of their kind, as far as this daemon has heard of them.

The policy does not know of them: it decides as if each job started afresh. Only when a job has been given a device is
it looked whether one that waits there fits; after each decision those are let go whose device was given to nobody. What
is not known here, as after a restart, ends by itself, or before the agent starts something else on its device.
"""

from __future__ import annotations

import logging
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from gpujobs.cluster.link import ClusterLink
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.tasks import Tasks
from gpujobs.errors import GpujobsError
from gpujobs.model import Attempt, Device, Job, Node, State
from gpujobs.protocol.instructions import Release
from gpujobs.protocol.records import AttemptKey
from gpujobs.protocol.residents import fits
from gpujobs.protocol.spec import AttemptSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Trainer:
    """`reserved`: the least that one of its jobs had of a shared device's memory, as it may hold so much as its largest
    has needed; None where each had the device whole. `pid`: None where it was not heard."""

    last: AttemptKey
    node: str
    spec: AttemptSpec
    reserved: int | None
    pid: int | None = None
    had_others: bool = False

    @property
    def place(self) -> tuple[str, str]:
        return self.node, self.spec.device.uuid


@dataclass(frozen=True, slots=True)
class Chosen:
    """For a start: whose trainer takes it, and who else waits on its device for another start."""

    resident: AttemptKey | None
    beside: tuple[AttemptKey, ...]


NOBODY = Chosen(None, ())


class Residents:
    def __init__(self, cache: JobCache, link: ClusterLink, tasks: Tasks) -> None:
        self._cache = cache
        self._link = link
        self._tasks = tasks
        self._training: dict[AttemptKey, _Trainer] = {}
        self._waiting: dict[AttemptKey, _Trainer] = {}
        self._promised: dict[AttemptKey, _Trainer] = {}

    def choose(self, job: Job, spec: AttemptSpec) -> Chosen:
        """Of those that wait on the job's device. None of them is chosen twice."""
        current = job.current
        assert current is not None
        place = (current.node, spec.device.uuid)
        here = [one for one in self._waiting.values() if one.place == place]
        found = next((one for one in here if _takes(one, current, spec)), None)
        if found is not None:
            del self._waiting[found.last]
            self._promised[found.last] = found
        elif not self._are_expected(place, but=job.id):
            for one in here:  # the agent ends them before it starts this one
                del self._waiting[one.last]
        beside = [
            one.last for one in (*self._promised.values(), *self._waiting.values()) if one.place == place
        ]
        reserved = _largest(found, current)
        key = AttemptKey(spec.job, spec.attempt, spec.nonce)
        self._training[key] = _Trainer(key, current.node, spec, reserved, had_others=found is not None)
        resident = None if found is None else found.last
        return Chosen(resident, tuple(one for one in beside if one != resident))

    def started(self, chosen: Chosen) -> None:
        """Or not: whoever was promised to it waits no more."""
        if chosen.resident is not None:
            self._promised.pop(chosen.resident, None)

    def has_taken_over(self, job: Job) -> bool:
        """Whether a job that runs was given a trainer that has had others."""
        if job.current is None:
            return False
        trainer = self._training.get(AttemptKey(job.id, job.attempt, job.current.nonce))
        return trainer is not None and trainer.had_others

    def ended(self, key: AttemptKey, *, stays: bool) -> None:
        trainer = self._training.pop(key, None)
        if not stays:
            return
        job = self._cache.jobs.get(key.job)
        if trainer is None or job is None or job.current is None:
            log.info("job %d: its trainer waits, and is not known here", key.job)
            return
        self._waiting[key] = replace(trainer, pid=job.current.pid)

    def let_go(self) -> None:
        """After a decision: those whose device was given to nobody end at once."""
        jobs = self._cache.jobs
        self._training = {
            key: one for key, one in self._training.items() if _is_under_way(jobs.get(key.job), key)
        }
        for key, trainer in list(self._waiting.items()):
            if not self._are_expected(trainer.place):
                del self._waiting[key]
                self._tasks.spawn(self._release(trainer))

    def _are_expected(self, place: tuple[str, str], but: int | None = None) -> bool:
        """Whether a job was given the device, and has not begun there."""
        return any(
            job.state is State.STARTING
            and job.id != but
            and job.current is not None
            and (job.current.node, job.current.device_uuid) == place
            and AttemptKey(job.id, job.attempt, job.current.nonce) not in self._training
            for job in self._cache.active()
        )

    async def _release(self, trainer: _Trainer) -> None:
        try:
            await self._link.call(trainer.node, Release(trainer.last))
        except GpujobsError as error:  # it ends by itself
            log.info("the trainer that waited after job %d: %s", trainer.last.job, error)

    def hidden(self, node: Node) -> Node:
        """Without what waits there, which is nobody's: not a job's, and no stranger's either."""
        here = [one for one in (*self._waiting.values(), *self._promised.values()) if one.node == node.name]
        pids = {one.pid for one in here if one.pid is not None}
        if not pids:
            return node
        return replace(node, devices=tuple(_without(device, pids) for device in node.devices))


def _is_under_way(job: Job | None, key: AttemptKey) -> bool:
    current = None if job is None else job.current
    return current is not None and current.nonce == key.nonce and current.ended_at is None


def _takes(one: _Trainer, current: Attempt, spec: AttemptSpec) -> bool:
    is_covered = current.gpu_memory_bytes is None or (
        one.reserved is not None and one.reserved <= current.gpu_memory_bytes
    )
    return is_covered and fits(one.spec, spec)


def _largest(found: _Trainer | None, current: Attempt) -> int | None:
    """What its trainer may hold from now on; None: as much as the device has."""
    if found is None:
        return current.gpu_memory_bytes
    if found.reserved is None or current.gpu_memory_bytes is None:
        return None
    return max(found.reserved, current.gpu_memory_bytes)


def _without(device: Device, pids: AbstractSet[int]) -> Device:
    gone = [one for one in device.processes if one.pid in pids]
    if not gone:
        return device
    used = device.memory_used_bytes
    if used is not None:
        used = max(0, used - sum(one.memory_bytes or 0 for one in gone))
    kept = tuple(one for one in device.processes if one.pid not in pids)
    return replace(device, processes=kept, memory_used_bytes=used)
