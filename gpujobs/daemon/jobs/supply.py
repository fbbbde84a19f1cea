"""What an attempt on another box needs goes there before it starts: each content once, and never from the beginning."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from gpujobs.cluster.link import ClusterLink
from gpujobs.daemon.jobs.whereabouts import Whereabouts
from gpujobs.paths import StatePaths
from gpujobs.protocol.instructions import Blob, Deliver, Prepare
from gpujobs.protocol.spec import AttemptSpec, DataFile


class Supply:
    """`is_shared`: whether all boxes see a file, under its path."""

    def __init__(
        self, link: ClusterLink, paths: StatePaths, whereabouts: Whereabouts, is_shared: Callable[[str], bool]
    ) -> None:
        self._is_shared = is_shared
        self._link = link
        self._paths = paths
        self._whereabouts = whereabouts
        self._under_way: dict[tuple[str, Blob], asyncio.Task[None]] = {}

    async def bring(self, node: str, spec: AttemptSpec) -> AttemptSpec:
        """Returns when all of it is there: as it is to be told. Raises what the node refuses, and MachineError where
        it is cut off."""
        if not self._link.is_remote(node):
            return spec
        spec = replace(spec, data={name: self._shared(file) for name, file in spec.data.items()})
        uid = spec.identity.uid
        blobs = {
            Blob(uid, file.sha256, file.bytes): file.path for file in spec.data.values() if not file.in_place
        }
        lacking = (await self._link.call(node, Prepare(spec.user, uid, tuple(blobs)))).blobs
        self._whereabouts.found(node, blobs.keys() - set(lacking))
        self._whereabouts.missed(node, lacking)
        await asyncio.gather(*(self._once(node, blob, blobs[blob]) for blob in lacking))
        return spec

    def _shared(self, file: DataFile) -> DataFile:
        """What the other box sees at the same path is used there in place, by its hash."""
        return replace(file, in_place=True) if self._is_shared(file.path) else file

    async def _once(self, node: str, blob: Blob, source: str) -> None:
        """Jobs of a sweep that start together wait for the same delivery."""
        key = (node, blob)
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.create_task(self._deliver(node, blob, source))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        await asyncio.shield(task)

    async def _deliver(self, node: str, blob: Blob, source: str) -> None:
        await self._link.call(node, Deliver(blob, source))
        self._whereabouts.found(node, [blob])
