"""Retention: once a day, and when somebody asks (`gpujobs prune`), what is too old or too much goes.

Each batch is looked at anew at the moment of its removal, on the event loop, so that nothing goes that a job
submitted meanwhile needs: it is committed to the store, put aside by a rename, and only then deleted, in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path

from gpujobs.config.site import Retention as RetentionTable
from gpujobs.daemon.keeping.kept_aside import kept_aside
from gpujobs.daemon.keeping.on_nodes import NodeKeeping
from gpujobs.daemon.keeping.removal import Kind, Left, Rules, chosen, records, rules_of
from gpujobs.daemon.writer import StoreWriter
from gpujobs.errors import GpujobsError
from gpujobs.linux import durable, logs
from gpujobs.model import Job, State, utc_now
from gpujobs.paths import StatePaths
from gpujobs.results.catalogue import list_files
from gpujobs.store.pruning import EndedJob
from gpujobs.store.store import DAEMON, Store

FIRST_SECONDS = 20.0
"""After the start, which has enough to do; within the life of a short daemon all the same."""

EVERY_SECONDS = 86400.0
BATCH = 50

ASIDE = ".removed-"
"""Begins the name of what is being deleted."""

log = logging.getLogger(__name__)


class Retention:
    """`table` gives the site's rules, which may change while the daemon runs."""

    def __init__(
        self,
        store: Store,
        writer: StoreWriter,
        paths: StatePaths,
        table: Callable[[], RetentionTable],
        others: NodeKeeping | None = None,
    ) -> None:
        self._others = others
        self._store = store
        self._paths = paths
        self._table = table
        self._writer = writer
        self._one_at_a_time = asyncio.Lock()

    async def run(self) -> None:
        """Once a day, for as long as the daemon lives."""
        await self._rotate_when_possible()
        await asyncio.sleep(FIRST_SECONDS)
        while True:
            try:
                await self.prune(self.rules, DAEMON)
            except (GpujobsError, OSError) as error:
                log.error("what is too old was not removed, and will be tried again tomorrow: %s", error)
            except Exception:  # one day that fails must not be the last one
                log.exception("what is too old was not removed, and will be tried again tomorrow")
            await self._rotate_when_possible()
            await asyncio.sleep(EVERY_SECONDS)

    @property
    def rules(self) -> Rules:
        return rules_of(self._table())

    # What there is

    async def plan(self, rules: Rules, uid: int | None = None) -> list[Left]:
        """What these rules remove, of everybody or of one user, here and on other boxes."""
        return [*await self._plan_here(rules, uid), *await self._plan_elsewhere(rules, uid)]

    async def _plan_elsewhere(self, rules: Rules, uid: int | None) -> list[Left]:
        """Sizes of users are counted here alone: there, data has a limit of its own ([nodes] cache)."""
        if self._others is None:
            return []
        return chosen(
            await self._others.left(uid), Rules(rules.ages), self._store.pruning.needed(), utc_now()
        )

    async def _plan_here(self, rules: Rules, uid: int | None) -> list[Left]:
        now, needed = utc_now(), self._store.pruning.needed()
        ended = [job for job in self._store.pruning.ended() if uid in (None, job.uid)]
        data = [
            Left(
                Kind.DATA,
                one.uid,
                one.user,
                one.last_used_at,
                one.bytes,
                sha256=one.sha256,
                places=(self._paths.data(one.uid, one.sha256),),
            )
            for one in self._store.pruning.unused_data()
            if uid in (None, one.uid)
        ]
        there = await asyncio.to_thread(lambda: [left for job in ended for left in self._left_of(job)])
        aside = await asyncio.to_thread(lambda: [*kept_aside(self._paths)])
        aside = [one for one in aside if uid in (None, one.uid)]
        removals = chosen([*there, *aside, *data], rules, needed, now)
        gone = {(one.kind, one.job) for one in removals}
        remaining = {one.job for one in there if (one.kind, one.job) not in gone and one.job is not None}
        staying = needed | self._store.pruning.in_living_groups()
        return [*removals, *records(ended, remaining, rules, staying, now)]

    def _left_of(self, job: EndedJob) -> Iterable[Left]:
        """What the disk has of an ended job. The directories may be their user's, and are looked at as such."""
        result, spool = self._paths.result(job.id), self._paths.job(job.id)
        if job.results is not None or (job.are_results_removed and result.is_dir()):
            yield _left(Kind.RESULTS, job, [result])
        if spool.work.is_dir():
            yield _left(Kind.CHECKPOINTS, job, [spool.work])
        attempts = [path for path in durable.entries(spool.root) if path.name.startswith("attempt-")]
        if attempts:
            # A completed job has its logs among its results: this is what could not be removed then.
            yield _left(Kind.CHECKPOINTS if job.state is State.COMPLETED else Kind.LOGS, job, attempts)

    # Removing it

    async def prune(self, rules: Rules, actor: str, uid: int | None = None) -> list[Left]:
        """Removes what `plan` says, and returns what was removed."""
        async with self._one_at_a_time:
            await asyncio.to_thread(self._sweep)
            removed: list[Left] = []
            if self._others is not None:
                await self._others.tidy_all()
            whole = await self.plan(rules, uid)
            planned = [one for one in whole if one.node is None]
            for start in range(0, len(planned), BATCH):
                batch, aside = await self._writer.patient(
                    partial(self._take_out, planned[start : start + BATCH], actor)
                )
                removed += batch
                await asyncio.to_thread(_delete, aside)
            if self._others is not None:
                removed += await self._others.remove([one for one in whole if one.node is not None])
            if removed:
                log.info("%s removed %s", name_of(actor), summary(removed))
            return removed

    def _still_unneeded(self, batch: Sequence[Left]) -> list[Left]:
        needed, unfinished = self._store.pruning.needed(), self._store.pruning.unfinished()
        grouped = self._store.pruning.in_living_groups()
        data = {(one.uid, one.sha256) for one in self._store.pruning.unused_data()}
        return [
            one
            for one in batch
            if (
                one.job is not None
                and one.job not in needed
                and one.job not in unfinished
                and not (one.kind is Kind.JOBS and one.job in grouped)
            )
            or one.name is not None
            or (one.kind is Kind.DATA and (one.uid, one.sha256) in data)
        ]

    def _take_out(self, planned: Sequence[Left], actor: str) -> tuple[list[Left], list[Path]]:
        """What may go of this, and where it waits to be deleted."""
        batch = self._still_unneeded(planned)
        return batch, self._put_aside(batch, actor)

    def _put_aside(self, batch: Sequence[Left], actor: str) -> list[Path]:
        """Committed first: what is on the disk without the store's knowing is found again, the reverse is a lie."""
        self._writer.do(lambda store: _record(store, batch, actor))
        return [aside for one in batch for aside in self._set_aside(one)]

    def _set_aside(self, one: Left) -> list[Path]:
        aside = [moved for place in one.places if (moved := _set_aside(place, self._beside(place)))]
        if one.job is not None:
            with contextlib.suppress(OSError):  # the other kind is still in it, or nothing ever was
                self._paths.job(one.job).root.rmdir()
        return aside

    def _beside(self, place: Path) -> Path:
        """A directory of the daemon's own on the same file system, where it is out of the way."""
        is_deeper = self._paths.spool / "jobs" in place.parents
        return self._paths.spool / "jobs" if is_deeper else place.parent

    def _sweep(self) -> None:
        """What a daemon that was killed had put aside, and not yet deleted."""
        spool = self._paths.spool
        for place in (
            self._paths.root,
            self._paths.run,
            self._paths.results,
            spool,
            spool / "jobs",
            *durable.entries(spool / "data"),
        ):
            _delete([path for path in durable.entries(place) if path.name.startswith(ASIDE)])

    # The daemon's own logs

    async def _rotate_when_possible(self) -> None:
        """A disk without room for their ends is to get some all the same."""
        try:
            await asyncio.to_thread(self.rotate)
        except OSError as error:
            log.error("logs have grown too large, and cannot begin anew: %s", error)

    def rotate(self) -> None:
        logs.limit((self._paths.log, *self._paths.run.glob("*.log")), self._table().daemon_logs)


def _record(store: Store, batch: Sequence[Left], actor: str) -> None:
    for one in batch:
        if one.kind is Kind.DATA and one.sha256 is not None:
            store.uploads.forget(one.uid, one.sha256)
        elif one.kind is Kind.RESULTS and one.job is not None:
            store.pruning.forget_results(one.job, actor, said_of(one, actor))
        elif one.kind is not Kind.JOBS and one.job is not None:
            store.pruning.note(one.job, actor, said_of(one, actor))
    if jobs := [one.job for one in batch if one.kind is Kind.JOBS and one.job is not None]:
        store.pruning.delete(jobs)


def _left(kind: Kind, job: EndedJob, places: Sequence[Path]) -> Left:
    size = sum(count for place in places for _, count in list_files(str(place)))
    return Left(kind, job.uid, job.user, job.ended_at, size, job.id, places=tuple(places))


def _set_aside(path: Path, beside: Path) -> Path | None:
    """None where there is nothing."""
    aside = beside / f"{ASIDE}{path.name}-{os.urandom(4).hex()}"
    try:
        durable.rename(path, aside)
    except FileNotFoundError:
        return None
    return aside


def _delete(paths: Iterable[Path]) -> None:
    """Nothing that a link leads to: rmtree goes by descriptors. What cannot be removed is said, and tried again."""
    for path in paths:
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except (OSError, RecursionError) as error:
            log.warning("%s could not be removed: %s", path, error)


def said_of(one: Left, actor: str) -> str:
    """Of a removal, in the history of its job."""
    return f"its {one.kind} ({one.bytes} bytes) were removed by {name_of(actor)}"


def name_of(actor: str) -> str:
    return "retention" if actor == DAEMON else actor


def removed_note(job: Job) -> str | None:
    """What to say of results that are no more; None of those that are, or never were."""
    if job.results_removed_at is None:
        return None
    when = job.results_removed_at.astimezone().strftime("%Y-%m-%d %H:%M")
    return (
        f"the results of job {job.id} were removed by {name_of(job.results_removed_by or DAEMON)} on {when}"
    )


def summary(removed: Collection[Left]) -> str:
    """`12 results (3.4 GiB), 2 logs (10.0 MiB)`."""
    counts, sizes = Counter(one.kind for one in removed), Counter[Kind]()
    for one in removed:
        sizes[one.kind] += one.bytes
    return ", ".join(
        f"{counts[kind]} {kind} ({sizes[kind] / 2**20:.1f} MiB)" for kind in Kind if counts[kind]
    )
