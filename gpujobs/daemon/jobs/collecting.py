"""From the spool of a node into the central store of results: whole, or not at all."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gpujobs import result_mark
from gpujobs.cluster.link import ClusterLink
from gpujobs.config.site import Quotas
from gpujobs.daemon.access.policy import AccessPolicy
from gpujobs.daemon.jobs.homecoming import Homecoming
from gpujobs.failpoints import reach
from gpujobs.linux import durable
from gpujobs.model import Job, Share
from gpujobs.paths import StatePaths
from gpujobs.protocol.boxes import Leavings
from gpujobs.protocol.instructions import Collect
from gpujobs.protocol.records import AttemptKey
from gpujobs.result_mark import ResultMark
from gpujobs.results.catalogue import read_metrics
from gpujobs.results.collect import RefusedResultError
from gpujobs.results.handover import give_away
from gpujobs.store.store import Store

log = logging.getLogger(__name__)


class Collector:
    def __init__(
        self,
        store: Store,
        link: ClusterLink,
        paths: StatePaths,
        access: AccessPolicy,
        quotas: Quotas,
        device_use: Callable[[Job], Mapping[str, Any] | None],
        homecoming: Homecoming,
    ) -> None:
        """`device_use`: what a job has made of its device, for its metrics.json."""
        self._store = store
        self._link = link
        self._paths = paths
        self._access = access
        self._quotas = quotas
        self._homecoming = homecoming
        self._device_use = device_use

    def configure(self, access: AccessPolicy, quotas: Quotas) -> None:
        """Counts for what ends from now on."""
        self._access, self._quotas = access, quotas

    async def collect(self, job: Job, node: str) -> Path:
        """The directory of the job's results, which `node` has. May be repeated: what was collected before a
        restart that came ahead of the commit is found by the random id in it, which no other attempt has."""
        assert job.current is not None
        target = self._paths.result(job.id)
        if os.path.lexists(target):
            if self._is_of(target, job.current.nonce):
                return target
            log.warning(
                "job %d: other results are in its place; kept as %s",
                job.id,
                durable.set_aside(target, "other"),
            )
        staging = self._paths.results / f".staging-{job.id}-{job.attempt}"
        await asyncio.to_thread(shutil.rmtree, staging, ignore_errors=True)
        reach("collect.begin")
        node = await self._brought_home(job, node)
        await self._link.call(
            node,
            Collect(AttemptKey(job.id, job.attempt, job.current.nonce), self._quotas.results, str(staging)),
        )
        await asyncio.to_thread(_add_device_use, staging, self._device_use(job))
        mark = self._paths.result_mark(staging)
        await asyncio.to_thread(result_mark.write, mark, ResultMark(job.current.nonce, job.attempt))
        if self._access.is_site:
            readers = self._access.share_gid if job.share is Share.LAB else None
            await asyncio.to_thread(give_away, staging, job.uid, self._store.gid(job.id), readers)
        reach("collect.rename")
        await asyncio.to_thread(durable.rename, staging, target)
        return target

    async def _brought_home(self, job: Job, node: str) -> str:
        """What another box has comes in pieces, and goes on where it was cut off; then it is collected as if it had
        been written here. Raises RefusedResultError."""
        if not self._link.is_remote(node):
            return node
        if self._homecoming.is_away(job) and (refused := await self._homecoming.bring(job, Leavings.RESULTS)):
            raise RefusedResultError(refused[0])
        return self._link.own_name

    def _is_of(self, directory: Path, nonce: str) -> bool:
        """Results of earlier versions have no mark, and their attempts no id."""
        mark = result_mark.read(self._paths.result_mark(directory))
        is_directory = directory.is_dir() and not directory.is_symlink()
        return is_directory and (mark.nonce if mark else "") == nonce


def _add_device_use(staging: Path, use: Mapping[str, Any] | None) -> None:
    """As `device`, into metrics.json, where that is one: what a trainer has written there is not ours to judge."""
    metrics = read_metrics(str(staging), os.geteuid())
    if metrics and use is not None:
        content = json.dumps({**metrics, "device": use}, indent=2)
        durable.write(staging / "metrics.json", content.encode() + b"\n")
