"""What boxes that have joined keep, and need not: directories of jobs that have ended, whose last word comes home
first, and data that nobody has read for long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from gpujobs.cluster.link import ClusterLink
from gpujobs.daemon.access.identity import user_name
from gpujobs.daemon.devices.nodes import Nodes
from gpujobs.daemon.jobs.homecoming import Homecoming
from gpujobs.daemon.keeping.removal import Kind, Left
from gpujobs.errors import GpujobsError, UsageError
from gpujobs.model import Job, NodeStatus, State
from gpujobs.protocol.boxes import Blob, DropData, Kept, KeptData, KeptJob, ListKept
from gpujobs.protocol.instructions import Forget
from gpujobs.store.store import Store

AT_ONCE = 8
"""Jobs of a box that come home, and go from there, beside each other."""

log = logging.getLogger(__name__)


class NodeKeeping:
    def __init__(self, store: Store, link: ClusterLink, nodes: Nodes, homecoming: Homecoming) -> None:
        self._store = store
        self._link = link
        self._nodes = nodes
        self._homecoming = homecoming

    @property
    def _here(self) -> list[str]:
        """The other boxes that are there now."""
        known = self._nodes.known
        return [n.name for n in known if n.status is NodeStatus.OK and self._nodes.is_remote(n.name)]

    async def tidy(self, node: str) -> None:
        """Directories of jobs that have ended go, when what is in them is at home; so comes what a job has trained
        there that waits, after the box was away."""
        try:
            kept = await self._link.call(node, ListKept())
        except GpujobsError as error:
            log.warning("node %s: what ended jobs have left there stays: %s", node, error)
            return
        few = asyncio.Semaphore(AT_ONCE)  # which serves in this order: what is soon done is done first
        await asyncio.gather(*(self._tidy_one(node, one, few) for one in sorted(kept.jobs, key=_size)))

    async def _tidy_one(self, node: str, kept: KeptJob, few: asyncio.Semaphore) -> None:
        """What fails, or takes long, is that job's alone."""
        async with few:
            try:
                await self._tidy(node, kept)
            except (GpujobsError, OSError) as error:
                log.warning("node %s: what job %d has left there stays: %s", node, kept.job, error)
            except Exception:
                log.exception("node %s: what job %d has left there stays", node, kept.job)

    async def tidy_all(self) -> None:
        await asyncio.gather(*map(self.tidy, self._here))

    async def _tidy(self, node: str, kept: KeptJob) -> None:
        job = self._known(kept)
        if job is None or kept.is_live or not (job.state.is_final or job.state is State.PENDING):
            return
        is_here = job.current is not None and job.current.node == node
        if is_here and job.state is not State.COMPLETED:
            await self._homecoming.bring_whole(job)
        if job.state.is_final and not self._homecoming.holds_refused(job, node):
            self._homecoming.say_what_goes(job, node)
            await self._link.call(node, Forget(job.id))

    def _known(self, kept: KeptJob) -> Job | None:
        try:
            return self._store.job(kept.job)
        except UsageError:
            return None

    # By rules

    async def left(self, uid: int | None) -> list[Left]:
        """What is there that could go, of everybody or of one user."""
        found = await asyncio.gather(*(self._left_on(node) for node in self._here))
        return [left for lefts in found for left in lefts if uid in (None, left.uid)]

    async def _left_on(self, node: str) -> list[Left]:
        try:
            kept: Kept = await self._link.call(node, ListKept())
        except GpujobsError as error:
            log.warning("node %s: what it keeps is not known: %s", node, error)
            return []
        jobs = [self._job(node, one) for one in kept.jobs if not one.is_live and self._has_ended(one)]
        return [*jobs, *(self._data(node, one) for one in kept.data)]

    def _has_ended(self, kept: KeptJob) -> bool:
        """Also of one that is not known any more."""
        job = self._known(kept)
        return job is None or job.state.is_final

    def _job(self, node: str, one: KeptJob) -> Left:
        job = self._known(one)
        since = job.ended_at if job is not None and job.ended_at is not None else _instant(one.since)
        uid = one.uid if job is None else job.uid
        return Left(
            Kind.CHECKPOINTS,
            uid,
            user_name(uid),
            since,
            one.bytes,
            job=one.job,
            name=f"{node}:{one.job}",
            node=node,
        )

    def _data(self, node: str, one: KeptData) -> Left:
        blob = one.blob
        return Left(
            Kind.DATA,
            blob.uid,
            user_name(blob.uid),
            _instant(one.read_at),
            blob.bytes,
            sha256=blob.sha256,
            node=node,
        )

    async def remove(self, chosen: Sequence[Left]) -> list[Left]:
        """Returns what has gone."""
        gone: list[Left] = []
        nodes = dict.fromkeys(one.node for one in chosen if one.node is not None)
        await asyncio.gather(*(self._try_to_remove_on(node, chosen, gone) for node in nodes))
        return gone

    async def _try_to_remove_on(self, node: str, chosen: Sequence[Left], gone: list[Left]) -> None:
        try:
            await self._remove_on(node, [one for one in chosen if one.node == node], gone)
        except GpujobsError as error:
            log.warning("node %s: what is too old there stays: %s", node, error)

    async def _remove_on(self, node: str, chosen: Sequence[Left], gone: list[Left]) -> None:
        """Adds each to `gone` as it goes: some has also where the box does not answer any more."""
        data = {Blob(one.uid, one.sha256, one.bytes): one for one in chosen if one.sha256 is not None}
        if data:
            gone += [data[blob] for blob in (await self._link.call(node, DropData(tuple(data)))).blobs]
        for one in chosen:
            # A job that was submitted since it was chosen may go on from what is there.
            if one.job is not None and one.job not in self._store.pruning.needed():
                await self._link.call(node, Forget(one.job))
                gone.append(one)


def _size(kept: KeptJob) -> int:
    return kept.bytes


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
