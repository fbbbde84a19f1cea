"""What an attempt has left on another box comes home when its job leaves that box, so that it goes on elsewhere from
there, and so that people find it though the box is gone: its checkpoint, what it has written of results, its log.

It gets the places that it would have if the attempt had run here. That it is here is noted beside it, last.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpujobs.cluster.link import ClusterLink
from gpujobs.config.site import Quotas
from gpujobs.daemon.devices.nodes import Nodes
from gpujobs.daemon.tasks import Locks
from gpujobs.errors import GpujobsError, MachineError
from gpujobs.failpoints import reach
from gpujobs.linux import durable
from gpujobs.model import Attempt, Job, State
from gpujobs.paths import AttemptPaths, JobPaths, StatePaths
from gpujobs.protocol.boxes import BringHome, Leavings, Survey, Surveyed, TreeFile
from gpujobs.protocol.records import AttemptKey
from gpujobs.results.collect import RefusedResultError
from gpujobs.results.handover import exchange, give_away
from gpujobs.store.reader import Reader

log = logging.getLogger(__name__)

CHECKPOINT = Path("work/checkpoint")
"""As it lies in the directory of a job."""


@dataclass(frozen=True, slots=True)
class _Owner:
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrived:
    """`is_latest`: no other attempt has begun meanwhile, whose checkpoint and results nothing may replace."""

    coming: Path
    found: Surveyed
    wanted: Leavings
    is_latest: bool

    @property
    def is_whole(self) -> bool:
        return self.wanted is Leavings.ALL and not self.found.refused

    @property
    def has_checkpoint(self) -> bool:
        """Or none, where nothing was refused: what was takes the place of no earlier one."""
        if self.wanted is Leavings.RESULTS:
            return False
        return not self.found.refused or any(CHECKPOINT in Path(one.name).parents for one in self.found.files)


class Homecoming:
    """`left`: the seconds that a node's lease lasts; while it does, the node is waited for."""

    def __init__(
        self,
        store: Reader,
        link: ClusterLink,
        nodes: Nodes,
        paths: StatePaths,
        quotas: Callable[[], Quotas],
        left: Callable[[str], float],
    ) -> None:
        self._store = store
        self._link = link
        self._nodes = nodes
        self._paths = paths
        self._quotas = quotas
        self.left = left
        self._installing = Locks()
        self._under_way: dict[tuple[int, int, Leavings], asyncio.Task[tuple[str, ...]]] = {}

    def is_away(self, job: Job) -> bool:
        """Whether its latest attempt has run on another box, and what it has left is not here yet."""
        current = job.current
        if current is None or not self._nodes.is_remote(current.node):
            return False
        paths = self.attempt(job.id, current.number)
        has_checkpoint = current.running_at is None or paths.checkpoint_home.exists()
        return not (has_checkpoint and paths.home.exists())

    def attempt(self, job: int, number: int) -> AttemptPaths:
        return self._paths.job(job).attempt(number)

    def _is_whole(self, job: Job) -> bool:
        """Whether nothing that its latest attempt has left is on another box alone."""
        assert job.current is not None
        if not self._nodes.is_remote(job.current.node):
            return True
        noted = durable.read_json(self.attempt(job.id, job.attempt).home)
        return noted is not None and noted.get("is_whole") is True

    async def bring_whole(self, job: Job) -> None:
        """Returns when nothing of it is needed on its box any more. Raises as `bring`, and RefusedResultError where
        some of it was not taken."""
        if not self._is_whole(job) and (refused := await self.bring(job)):
            raise RefusedResultError("; ".join(refused))

    def holds_refused(self, job: Job, node: str) -> bool:
        """Whether something of it is on that box alone, as it was refused here. What the attempts of a job that has
        completed have left before counts no more."""
        if job.state is State.COMPLETED or not self._nodes.is_remote(node):
            return False
        homes = (
            self.attempt(job.id, one.number).home for one in self._store.attempts(job.id) if one.node == node
        )
        return any((durable.read_json(home) or {}).get("is_whole") is False for home in homes)

    def say_what_goes(self, job: Job, node: str) -> None:
        """Ahead of the removal of what is there."""
        last = self.trained_on(job.id, node) if self._nodes.is_remote(node) else 0
        if 0 < last < job.attempt and not self.attempt(job.id, last).home.exists():
            log.warning(
                "job %d: what attempt %d has left on %s goes, and never came home: attempt %d has taken its place",
                job.id,
                last,
                node,
                job.attempt,
            )

    async def bring(self, job: Job, wanted: Leavings = Leavings.ALL) -> tuple[str, ...]:
        """Returns when it is here; what of it could not be taken, in words. Raises MachineError where it cannot be
        reached or stored, and what its node refuses."""
        key = (job.id, job.attempt, wanted)
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.create_task(self._bring(job, wanted))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        return await asyncio.shield(task)

    async def _bring(self, job: Job, wanted: Leavings) -> tuple[str, ...]:
        current = job.current
        assert current is not None
        coming = self.attempt(job.id, job.attempt).coming / wanted
        await asyncio.to_thread(_make_private, coming, self._paths.spool / "jobs")
        reach("homecoming.begin")
        survey = Survey(AttemptKey(job.id, job.attempt, current.nonce), self._room(), wanted)
        found = await self._link.call(current.node, BringHome(survey, str(coming)))
        owner = _Owner(job.uid, self._store.gid(job.id))
        # An older checkpoint must not come after the one of its end.
        async with self._installing.of(job.id):
            latest = self._store.job(job.id)
            is_latest = latest.attempt == job.attempt
            if wanted is not Leavings.CHECKPOINT or (is_latest and latest.state.holds_device):
                arrived = _Arrived(coming=coming, found=found, wanted=wanted, is_latest=is_latest)
                await asyncio.to_thread(_install, self._paths.job(job.id), current, arrived, owner)
        await asyncio.to_thread(shutil.rmtree, coming, ignore_errors=True)
        return found.refused

    async def run(self, active: Callable[[], Iterable[Job]], seconds: Callable[[], float]) -> None:
        """Now and then, the checkpoint of each training on another box, in case that box is lost. One that takes long,
        or whose box does not answer, holds up no other."""
        coming: dict[int, asyncio.Task[None]] = {}
        try:
            while True:
                await asyncio.sleep(seconds())
                coming = {number: task for number, task in coming.items() if not task.done()}
                for job in active():
                    if job.id not in coming and self._trains_elsewhere(job):
                        coming[job.id] = asyncio.create_task(self._bring_checkpoint(job))
        finally:
            for task in coming.values():
                task.cancel()

    def _trains_elsewhere(self, job: Job) -> bool:
        current = job.current
        return current is not None and bool(current.running_at) and self._nodes.is_remote(current.node)

    async def _bring_checkpoint(self, job: Job) -> None:
        """A training that has written another one meanwhile has its next turn."""
        try:
            refused = await self.bring(job, Leavings.CHECKPOINT)
        except (GpujobsError, OSError) as error:
            refused = (str(error),)
        except Exception:  # that of one job must not be the last that comes
            log.exception("job %d: its checkpoint has not come home", job.id)
            return
        if refused:
            log.info("job %d: its checkpoint has not come home: %s", job.id, "; ".join(refused))

    async def settled(self, job: int) -> None:
        """Nothing of it is on its way here any more, which would come into the way of a new attempt."""
        tasks = [task for key, task in self._under_way.items() if key[0] == job]
        await asyncio.gather(*tasks, return_exceptions=True)

    def _room(self) -> int:
        """Bytes: what one job may leave, and as much as the disk takes."""
        quotas = self._quotas()
        return max(0, min(quotas.results, shutil.disk_usage(self._paths.spool).free - quotas.free_disk))

    # What is here

    def checkpoint_of(self, job: int) -> int:
        """The attempt whose checkpoint is here; 0 where none of it is."""
        attempts = self._store.attempts(job)
        return max((one.number for one in attempts if self._has_left_checkpoint(one)), default=0)

    def _has_left_checkpoint(self, attempt: Attempt) -> bool:
        if not self._nodes.is_remote(attempt.node):
            return attempt.running_at is not None
        return self.attempt(attempt.job, attempt.number).checkpoint_home.exists()

    def trained_on(self, job: int, node: str) -> int:
        """The last attempt that has trained there; 0 where none has."""
        attempts = self._store.attempts(job)
        numbers = (one.number for one in attempts if one.node == node and one.running_at is not None)
        return max(numbers, default=0)

    def words(self, job: Job, why: str) -> str:
        """That what its latest attempt has trained did not come home, and from where its next one goes on."""
        assert job.current is not None
        began = self.checkpoint_of(job.id)
        then = (
            f"it goes on from the checkpoint of attempt {began}, the last that has come home"
            if began
            else "it begins anew"
        )
        node = job.current.node
        return (
            f"what attempt {job.attempt} has trained on {node} has not come home ({why}); {then}, unless it "
            f"starts on {node} again"
        )


def _install(job: JobPaths, attempt: Attempt, arrived: _Arrived, owner: _Owner) -> None:
    """Puts what has come in its places, and notes that it is here. Where it is cut off, all comes again."""
    paths = job.attempt(attempt.number)
    fresh = JobPaths(paths.root / "fresh")
    shutil.rmtree(fresh.root, ignore_errors=True)
    fresh.checkpoint.mkdir(mode=0o700, parents=True)
    fresh.results.mkdir(mode=0o700)
    _name(fresh.root, arrived.coming, arrived.found.files)
    _make_work(job, owner)
    if attempt.running_at is not None and arrived.is_latest and arrived.has_checkpoint:
        _take_place(job, fresh.checkpoint, owner)
        durable.write_json(paths.checkpoint_home, {"node": attempt.node})
    if arrived.wanted is not Leavings.CHECKPOINT:
        if arrived.is_latest:
            _take_place(job, fresh.results, owner)
        _note_home(job, fresh, attempt, owner, is_whole=arrived.is_whole)
    shutil.rmtree(fresh.root, ignore_errors=True)


def _name(root: Path, coming: Path, files: Sequence[TreeFile]) -> None:
    """Files that are alike have come once."""
    left = Counter(file.sha256 for file in files)
    for file in files:
        target = root / file.name
        if not target.resolve().is_relative_to(root.resolve()):
            raise MachineError(f"{file.name} is outside of its directory")
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        left[file.sha256] -= 1
        if left[file.sha256]:
            durable.copy(coming / file.sha256, target)
        else:
            (coming / file.sha256).rename(target)


def _make_private(directory: Path, top: Path) -> None:
    """And what of it is missing below `top`: closed to others, whatever the umask."""
    for path in reversed([directory, *(one for one in directory.parents if top in one.parents)]):
        if not path.is_dir():
            path.mkdir(mode=0o700)


def _make_work(job: JobPaths, owner: _Owner) -> None:
    if not job.work.is_dir():
        job.work.mkdir(mode=0o700)
        os.chown(job.work, owner.uid, owner.gid)


def _take_place(job: JobPaths, made: Path, owner: _Owner) -> None:
    give_away(made, owner.uid, owner.gid, None)
    exchange(job.work, made.name, made)


def _note_home(job: JobPaths, fresh: JobPaths, attempt: Attempt, owner: _Owner, *, is_whole: bool) -> None:
    paths = job.attempt(attempt.number)
    log_file = fresh.attempt(attempt.number).log
    if log_file.exists():
        durable.rename(log_file, paths.log)
    head = {
        "job": attempt.job,
        "attempt": attempt.number,
        "nonce": attempt.nonce,
        "identity": {"uid": owner.uid},
    }
    durable.write_json(paths.spec, head)
    durable.write_json(paths.home, {"node": attempt.node, "is_whole": is_whole})
