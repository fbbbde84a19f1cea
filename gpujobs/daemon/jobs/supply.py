"""What an attempt on another box needs goes there before it starts: each content once, and never from the beginning."""

from __future__ import annotations

import asyncio

from gpujobs.cluster.link import ClusterLink
from gpujobs.daemon.jobs.whereabouts import Whereabouts
from gpujobs.paths import StatePaths
from gpujobs.protocol.instructions import Blob, Deliver, Prepare
from gpujobs.protocol.spec import AttemptSpec


class Supply:
    def __init__(self, link: ClusterLink, paths: StatePaths, whereabouts: Whereabouts) -> None:
        self._link = link
        self._paths = paths
        self._whereabouts = whereabouts
        self._under_way: dict[tuple[str, Blob], asyncio.Task[None]] = {}

    async def bring(self, node: str, spec: AttemptSpec) -> None:
        """Returns when all of it is there. Raises what the node refuses, and MachineError where it is cut off."""
        if not self._link.is_remote(node):
            return
        uid = spec.identity.uid
        blobs = {
            Blob(uid, file.sha256, file.bytes): file.path for file in spec.data.values() if not file.in_place
        }
        lacking = (await self._link.call(node, Prepare(spec.user, uid, tuple(blobs)))).blobs
        self._whereabouts.found(node, blobs.keys() - set(lacking))
        self._whereabouts.missed(node, lacking)
        await asyncio.gather(*(self._once(node, blob, blobs[blob]) for blob in lacking))

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
