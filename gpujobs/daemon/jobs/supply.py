"""What an attempt on another box needs goes there before it starts: each content once, and never from the beginning.
Its data, the model that it applies, and the checkpoint that it goes on from, which has come home before."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gpujobs.cluster.link import ClusterLink
from gpujobs.config.cluster import NodesTable
from gpujobs.daemon.jobs.homecoming import Homecoming
from gpujobs.daemon.jobs.whereabouts import Whereabouts
from gpujobs.errors import GpujobsError, LaunchError, MachineError, NotThereError
from gpujobs.model import Job
from gpujobs.node.leaving import CHECKPOINTS
from gpujobs.paths import StatePaths
from gpujobs.protocol.boxes import Blob, Brought, Compare, Deliver, Leavings, Prepare, Survey, TreeFile
from gpujobs.protocol.records import AttemptKey
from gpujobs.protocol.spec import AttemptSpec, DataFile, Identity
from gpujobs.results.catalogue import open_file
from gpujobs.store.reader import Reader

MODEL = ("job.yaml", "preprocessing.json", "model.keras")
"""What is read of the results of a job whose model is applied."""


@dataclass(frozen=True, slots=True)
class _Source:
    """A file on this box: of `owner`'s, below `directory`."""

    directory: str
    name: str
    owner: int


@dataclass(frozen=True, slots=True)
class _Tree:
    files: tuple[TreeFile, ...] = ()
    sources: tuple[_Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Supplied:
    """`spec`: as the node is to be told. `troubles`: what has not come home from where it was trained, in words."""

    spec: AttemptSpec
    brought: Brought | None
    troubles: Sequence[str]


class Supply:
    def __init__(
        self,
        store: Reader,
        link: ClusterLink,
        paths: StatePaths,
        homecoming: Homecoming,
        whereabouts: Whereabouts,
        table: Callable[[], NodesTable],
    ) -> None:
        self._whereabouts = whereabouts
        self._table = table
        self._store = store
        self._link = link
        self._paths = paths
        self._homecoming = homecoming
        self._under_way: dict[tuple[str, Blob], asyncio.Task[None]] = {}

    async def bring(self, node: str, job: Job, spec: AttemptSpec, origins: Sequence[int]) -> Supplied:
        """Returns when all of it is there. Raises what the node refuses, and MachineError where it is cut off.
        `origins`: the jobs that it goes on from, if it has no checkpoint of its own."""
        await self._homecoming.settled(job.id)
        troubles = [] if spec.begins_anew else await self._bring_home(origins)
        if not self._link.is_remote(node):
            return Supplied(spec, None, troubles)
        spec = replace(spec, data={name: self._shared(file) for name, file in spec.data.items()})
        await self._compare(node, spec)
        uid = spec.identity.uid
        model = await self._model(spec)
        checkpoint = await self._checkpoint(node, job, spec, origins)
        wanted: dict[Blob, _Source] = {
            Blob(uid, file.sha256, file.bytes): _spooled(file.path, uid)
            for file in spec.data.values()
            if not file.in_place
        }
        for tree in (model, checkpoint or _Tree()):
            wanted |= {
                Blob(uid, file.sha256, file.bytes): source
                for file, source in zip(tree.files, tree.sources, strict=True)
            }
        await self._deliver_all(node, spec, wanted)
        brought = Brought(model.files, None if checkpoint is None else checkpoint.files)
        return Supplied(spec, brought, troubles)

    def _shared(self, file: DataFile) -> DataFile:
        """What the other box sees at the same path is used there in place, by its hash."""
        return replace(file, in_place=True) if self._table().has(file.path) else file

    async def _compare(self, node: str, spec: AttemptSpec) -> None:
        """Raises NotThereError where data that is used in place is not on that node, or is another."""
        files = tuple(file for file in spec.data.values() if file.in_place)
        if not files:
            return
        found = await self._link.call(node, Compare(spec.user, spec.identity, files))
        if found.problems:
            more = f", and {len(found.problems) - 1} more" if len(found.problems) > 1 else ""
            raise NotThereError(
                f"{node} has not the data that is used in place: {found.problems[0][:500]}{more}"
            )

    async def _bring_home(self, origins: Sequence[int]) -> list[str]:
        """Of the jobs that it goes on from: what is under way, or did not come when they ended."""
        troubles = []
        for origin in map(self._store.job, origins):
            if not self._homecoming.is_away(origin):
                continue
            try:
                await self._homecoming.bring(origin)
            except (GpujobsError, OSError) as error:
                troubles.append(f"the checkpoint of job {origin.id} has not come home: {error}")
        return troubles

    async def _model(self, spec: AttemptSpec) -> _Tree:
        """Raises LaunchError where the job's user may not read it, or where it is gone."""
        if spec.model_results is None:
            return _Tree()
        trained = self._store.job(int(spec.jobfile["model"]["job"]))
        try:
            return await asyncio.to_thread(_tree, spec.model_results, MODEL, trained.uid, spec.identity)
        except (GpujobsError, OSError) as error:
            raise LaunchError(f"the model of job {trained.id} cannot be read: {error}") from error

    async def _checkpoint(
        self, node: str, job: Job, spec: AttemptSpec, origins: Sequence[int]
    ) -> _Tree | None:
        """None where the node has the right one, or none is to be used."""
        if spec.begins_anew:
            return None
        here, there = self._homecoming.checkpoint_of(job.id), self._homecoming.trained_on(job.id, node)
        if there and there >= here and await self._has_checkpoint(node, job, there):
            return None
        roots = [self._paths.job(number).root for number in (job.id, *origins)]
        found = await asyncio.to_thread(_first_checkpoint, roots, spec.identity.uid)
        return found or (_Tree() if there else None)

    async def _has_checkpoint(self, node: str, job: Job, number: int) -> bool:
        """Its state may have been removed since that attempt trained there."""
        nonce = next(one.nonce for one in self._store.attempts(job.id) if one.number == number)
        # Nothing is taken, nor read: what is there is refused for its size.
        asked = Survey(AttemptKey(job.id, number, nonce), 0, Leavings.CHECKPOINT)
        try:
            found = await self._link.call(node, asked)
        except MachineError:
            raise
        except GpujobsError:  # what was refused there has no class of its own here
            return False
        return bool(found.files or found.refused)

    async def _deliver_all(self, node: str, spec: AttemptSpec, wanted: Mapping[Blob, _Source]) -> None:
        asked = Prepare(spec.user, spec.identity.uid, tuple(wanted), self._table().cache)
        lacking = (await self._link.call(node, asked)).blobs
        self._whereabouts.found(node, wanted.keys() - set(lacking))
        self._whereabouts.missed(node, lacking)
        await asyncio.gather(*(self._once(node, blob, wanted[blob]) for blob in lacking))

    async def _once(self, node: str, blob: Blob, source: _Source) -> None:
        """Jobs of a sweep that start together wait for the same delivery."""
        key = (node, blob)
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.create_task(self._deliver(node, blob, source))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        await asyncio.shield(task)

    async def _deliver(self, node: str, blob: Blob, source: _Source) -> None:
        await self._link.call(node, Deliver(blob, source.directory, source.name, source.owner))
        self._whereabouts.found(node, [blob])


def _spooled(path: str, uid: int) -> _Source:
    place = Path(path)
    return _Source(str(place.parent), place.name, uid)


def _first_checkpoint(roots: Sequence[Path], owner: int) -> _Tree | None:
    """Of the first of these jobs that has one. Blocks."""
    for root in roots:
        names = [f"work/checkpoint/{name}" for name in CHECKPOINTS]
        try:
            tree = _tree(str(root), [name for name in names if os.path.lexists(root / name)], owner, None)
        except (GpujobsError, OSError):
            continue  # of no use to anybody: a trainer would say so, and begin anew
        if tree.files:
            return _Tree(tuple(_bare(file) for file in tree.files), tree.sources)
    return None


def _bare(file: TreeFile) -> TreeFile:
    return TreeFile(Path(file.name).name, file.sha256, file.bytes)


def _tree(directory: str, names: Sequence[str], owner: int, reader: Identity | None) -> _Tree:
    """These files with their hashes. `reader`: who must be allowed to read them, where that is not their owner. Raises
    UsageError where one is missing, or is not a file of the owner's alone; OSError."""
    if reader is not None:
        _require_readable(Path(directory).lstat(), reader, directory)
    files = []
    for name in names:
        with open_file(directory, name, owner) as file:
            status = os.fstat(file.fileno())
            if reader is not None:
                _require_readable(status, reader, name)
            digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # opened to be read
            files.append(TreeFile(name, digest, status.st_size))
    return _Tree(tuple(files), tuple(_Source(directory, name, owner) for name in names))


def _require_readable(status: os.stat_result, reader: Identity, name: str) -> None:
    """As the kernel would decide it."""
    if reader.uid == 0:
        return
    if status.st_uid == reader.uid:
        needed = stat.S_IRUSR
    elif status.st_gid in (reader.gid, *reader.groups):
        needed = stat.S_IRGRP
    else:
        needed = stat.S_IROTH
    if not status.st_mode & needed:
        raise PermissionError(f"{name}: permission denied")
