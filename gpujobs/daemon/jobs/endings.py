"""How attempts end: the store is told, the device is free, results are collected, and what waited for the job goes on.

No end is lost: what cannot be recorded is kept and tried again (`again.py`).
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence

from gpujobs.cluster.link import ClusterLink
from gpujobs.daemon.devices.nodes import Nodes
from gpujobs.daemon.jobs.again import Again, pauses
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.jobs.collecting import Collector
from gpujobs.daemon.jobs.homecoming import Homecoming
from gpujobs.daemon.tasks import Tasks
from gpujobs.daemon.writer import StoreWriter
from gpujobs.errors import GpujobsError, MachineError, StoreError
from gpujobs.failpoints import reach
from gpujobs.lifecycle import Finish, Requeue, follow_up
from gpujobs.model import Job, Reason, State
from gpujobs.protocol import codec, records
from gpujobs.protocol.codec import ShapeError
from gpujobs.protocol.instructions import Forget
from gpujobs.protocol.records import AttemptKey, ExitRecord
from gpujobs.store.store import DAEMON, StaleTransitionError, Store

RETRY_COLLECTING_SECONDS = 10.0

MAX_SURPRISES = 3
"""So often an error that nobody has foreseen may end a collection, or what comes home, before the job goes on."""

log = logging.getLogger(__name__)


class Endings:
    """`on_change` hears of what may let a job start, `on_end` of each attempt whose end is recorded."""

    def __init__(
        self,
        store: Store,
        writer: StoreWriter,
        cache: JobCache,
        nodes: Nodes,
        link: ClusterLink,
        collector: Collector,
        homecoming: Homecoming,
        tasks: Tasks,
        *,
        on_change: Callable[[], None],
        on_end: Callable[[Job], None],
    ) -> None:
        self._store = store
        self._writer = writer
        self._cache = cache
        self._nodes = nodes
        self._link = link
        self._collector = collector
        self._homecoming = homecoming
        self._tasks = tasks
        self._on_change = on_change
        self._on_end = on_end
        self.again = Again(on_trouble=cache.set_trouble, on_stale=self._catch_up)
        self._concluding: set[int] = set()
        self._between: dict[int, Iterator[float]] = {}
        """Pauses of the collections that are tried again."""

        self._surprises: dict[int, int] = {}

    def send_back(self, job: Job, step: Requeue) -> None:
        """An attempt that has never begun."""

        def record() -> None:
            latest = self._cache.jobs.get(job.id)
            if latest is not None and latest.attempt == job.attempt and latest.cancel_requested:
                # Somebody has cancelled it while this could not be recorded.
                self.conclude(ended_without_record(latest, Reason.CANCELLED_BY_USER, latest.message))
                return
            reach("attempts.requeue.commit")
            self._writer.job(lambda store: store.requeue(job.id, job.attempt, step))
            self._on_change()

        self.again.do(job.id, "that its start failed", record)

    def conclude(self, record: ExitRecord) -> None:
        """The attempt has ended: its device is free at once, whether or not that can be recorded now."""
        job, attempt = record.job, record.attempt

        def commit() -> None:
            reach("attempts.exited.commit")
            ended = self._writer.job(lambda store: store.mark_completing(job, attempt, codec.write(record)))
            self.again.do(job, "what it used", lambda: self._on_end(ended))
            # Beside it, as it takes as long as there are results: the next event must not wait for that.
            self._tasks.spawn(self._complete(job))

        if not self.again.do(job, "that its attempt has ended", commit):
            self._cache.release(job, attempt)
        self._on_change()

    def _catch_up(self, job: int, what: str) -> None:
        """What came too late was recorded before, though it may have seemed to fail: the store knows."""
        latest = self._store.job(job)
        known = self._cache.jobs.get(job)
        if known is not None and (known.state, known.attempt) != (latest.state, latest.attempt):
            self._cache.put(latest)
            self._on_change()
        if latest.state is State.COMPLETING:
            self._tasks.spawn(self._complete(job))

    def complete_now(self, job: int) -> None:
        """What is tried again after a pause is tried at once: somebody wants the job to end."""
        self._tasks.spawn(self._complete(job))

    async def _complete(self, job: int) -> None:
        """From COMPLETING to what follows; called again after a restart, so each step may be repeated."""
        # An event, a report of the node and a timer may all say that it has ended: one follows it up.
        if job in self._concluding:
            return
        self._concluding.add(job)
        try:
            await self._follow(job)
        except (GpujobsError, OSError, sqlite3.Error) as error:
            self._retry_completing(job, str(error))
        except StaleTransitionError as stale:
            log.info("job %d: %s", job, stale)
            self.again.do(job, "its end", lambda: self._catch_up(job, "its end"))
        except Exception as error:
            log.exception("job %d: it cannot be ended", job)
            self._surprises[job] = self._surprises.get(job, 0) + 1
            self._retry_completing(job, repr(error))
        else:
            self._between.pop(job, None)
            self._surprises.pop(job, None)
            self._cache.set_trouble(job, None)
        finally:
            self._concluding.discard(job)
        self._on_change()

    def _retry_completing(self, job: int, why: str) -> None:
        pause = next(self._between.setdefault(job, pauses(1.0, RETRY_COLLECTING_SECONDS)))
        log.error("job %d: %s; trying again in %g s", job, why, pause)
        self._cache.set_trouble(job, f"its end cannot be recorded yet, and is tried again: {why}")
        self._tasks.later(pause, lambda: self._complete(job))

    async def _follow(self, number: int) -> None:
        job = next(iter(self._store.existing([number])), None)
        if job is None or job.state is not State.COMPLETING:
            return  # another has followed it up, and it may be pruned since
        step = self._step_after(job)
        if isinstance(step, Requeue):
            await self._leave(job)
            job = self._store.job(number)
            step = self._step_after(job)  # somebody may have cancelled it meanwhile
        if isinstance(step, Requeue):
            again = step
            reach("attempts.requeue.commit")
            self._writer.job(lambda store: store.requeue(number, job.attempt, again))
        else:
            await self._finish(job, step)

    def _step_after(self, job: Job) -> Finish | Requeue:
        kept = job.current.exit_record if job.current is not None else None
        try:
            record = records.kept_of(key_of(job), kept or {})
        except ShapeError as error:
            lost = f"its exit record makes no sense: {error}"
            record = ended_without_record(job, Reason.SUPERVISOR_LOST, lost, costs_retry=False)
        step = follow_up(job, record)
        if isinstance(step, Requeue) or step.state in (State.COMPLETED, State.CANCELLED):
            return step
        if said := self._store.requeue_wanted(job.id, job.attempt):  # it has failed before it heard of that
            why = f"attempt {job.attempt} ended: {step.message or step.reason}; {said}"
            return Requeue(Reason.RETRY, why, False)
        return step

    async def _finish(self, job: Job, step: Finish) -> None:
        results = None
        if step.state is State.COMPLETED:
            try:
                results = str(await self._collector.collect(job, self._nodes.of(job)))
            except (StoreError, sqlite3.Error):
                raise
            except (MachineError, OSError) as error:
                if not self._store.job(job.id).cancel_requested:
                    raise  # a full disk, a node that is away: the results wait where they are
                why = f"{self._store.job(job.id).message}; its results were not collected: {error}"
                step = Finish(State.CANCELLED, Reason.CANCELLED_BY_USER, why)
            except GpujobsError as error:
                step = Finish(State.FAILED, Reason.RESULTS_FAILED, str(error))
            except Exception as error:
                if self._surprises.get(job.id, 0) < MAX_SURPRISES:
                    raise
                step = Finish(State.FAILED, Reason.RESULTS_FAILED, f"they cannot be collected: {error!r}")
        reach("attempts.finish.commit")
        self._writer.job(lambda store: store.finish(job.id, step, results))
        self.again.do(job.id, "what its end means for others", self.cancel_blocked)
        if step.state is State.COMPLETED:
            await self._forget(job, self._nodes.of(job), *self._before(job))
        else:
            self._tasks.spawn(self._clear_away(job))

    # Other boxes

    async def _leave(self, job: Job) -> None:
        """Before it may start elsewhere, what it has trained comes home. Raises MachineError, so that it is tried
        again, for as long as its box may come back."""
        if not self._homecoming.is_away(job):
            return
        assert job.current is not None
        try:
            refused: Sequence[str] = await self._homecoming.bring(job)
        except (MachineError, OSError) as error:
            if self._homecoming.left(job.current.node) > 0:
                raise
            refused = [str(error)]
        except GpujobsError as error:
            refused = [str(error)]
        except Exception as error:
            if self._surprises.get(job.id, 0) < MAX_SURPRISES:
                raise
            refused = [repr(error)]
        if refused and job.current.running_at is not None:
            said = self._homecoming.words(job, "; ".join(refused))
            self._writer.do(lambda store: store.note(job.id, "warning", said))

    async def _clear_away(self, job: Job) -> None:
        """What a job that did not complete has left comes home, and goes where it was, if all of it has come."""
        away = self._before(job)
        try:
            await self._homecoming.bring_whole(job)
        except (GpujobsError, OSError) as error:
            log.warning("job %d: what it has left has not come home: %s", job.id, error)
            away.discard(self._nodes.of(job))
        may_go = (node for node in away if not self._homecoming.holds_refused(job, node))
        await self._forget(job, *(node for node in may_go if self._nodes.is_remote(node)))

    def _before(self, job: Job) -> set[str]:
        """The boxes that have something of it, or had: where its attempts ran, and ours, where what they left is."""
        known = {node.name for node in self._nodes.known}
        ran = {attempt.node for attempt in self._store.attempts(job.id)}
        return (ran & known) | ({self._nodes.own_name} if any(map(self._nodes.is_remote, ran)) else set())

    async def _forget(self, job: Job, *nodes: str) -> None:
        for node in dict.fromkeys(nodes):
            self._homecoming.say_what_goes(job, node)
            try:
                await self._link.call(node, Forget(job.id))
            except GpujobsError as error:
                log.warning("job %d: its directory on %s is left behind: %s", job.id, node, error)

    def _cancel_blocked(self, job: int, step: Finish) -> None:
        self._writer.job(lambda store: store.cancel_pending(job, DAEMON, step))

    def cancel_blocked(self) -> None:
        """Ends the jobs that wait for one that has failed, or for the failure of one that has completed, and
        those that wait for these."""
        while blocked := self._store.blocked_for_good():
            for job, why in blocked.items():
                self._cancel_blocked(job, Finish(State.CANCELLED, Reason.DEPENDENCY_FAILED, why))


def key_of(job: Job) -> AttemptKey:
    """Of its latest attempt."""
    assert job.current is not None
    return AttemptKey(job.id, job.attempt, job.current.nonce)


def ended_without_record(job: Job, reason: Reason, message: str, *, costs_retry: bool = True) -> ExitRecord:
    """An exit record for an attempt that left none."""
    return records.without_one(key_of(job), reason, message, costs_retry=costs_retry)
