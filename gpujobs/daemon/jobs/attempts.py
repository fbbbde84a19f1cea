"""Attempts under way: launching, following, ending, and finding them again after a restart.

No event of an attempt is lost: what cannot be recorded is kept and tried again (`again.py`), what is not known is
asked for until it is (`inquiries.py`).
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from gpujobs.cluster.link import ClusterLink
from gpujobs.daemon.devices.nodes import Nodes
from gpujobs.daemon.jobs.again import Again, pauses
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.jobs.collecting import Collector
from gpujobs.daemon.jobs.holds import Holds
from gpujobs.daemon.jobs.inquiries import Inquiries
from gpujobs.daemon.jobs.specs import GRACE_SECONDS, Specs
from gpujobs.errors import GpujobsError, LauncherError, LaunchError, MachineError, StoreError
from gpujobs.failpoints import reach
from gpujobs.lifecycle import Finish, Requeue, follow_up
from gpujobs.model import Job, Reason, State, StopReason, from_iso, utc_now
from gpujobs.protocol import codec, records
from gpujobs.protocol.codec import ShapeError
from gpujobs.protocol.events import AttemptEvent, Exited, Logged, Progressed, Started, Unclear, Warned
from gpujobs.protocol.instructions import Adjust, AttemptStatus, Forget, Reconcile, Report, Start, Stop
from gpujobs.protocol.records import AttemptKey, ExitRecord, Wishes
from gpujobs.store.store import DAEMON, StaleTransitionError, Store

RETRY_COLLECTING_SECONDS = 10.0

HEARD_SECONDS = GRACE_SECONDS + 5.0
"""So long after a stop its end is heard of; else the node is asked."""

MAX_SURPRISES = 3
"""So often an error that nobody has foreseen may end a collection before the job does."""

log = logging.getLogger(__name__)


class Attempts:
    """The one place that turns what happens to a trainer into transitions of its job."""

    def __init__(
        self,
        store: Store,
        board: JobCache,
        nodes: Nodes,
        link: ClusterLink,
        specs: Specs,
        collector: Collector,
        *,
        on_change: Callable[[], None],
        on_end: Callable[[Job], None],
    ) -> None:
        self._store = store
        self._board = board
        self._nodes = nodes
        self._link = link
        self._specs = specs
        self._collector = collector
        self._on_change = on_change
        self._on_end = on_end
        self.holds = Holds(on_change)
        self._again = Again(on_trouble=board.set_trouble, on_stale=self._catch_up)
        self._inquiries = Inquiries(self._inquire)
        self._tasks: set[asyncio.Task[None]] = set()
        self._concluding: set[int] = set()
        self._between: dict[int, Iterator[float]] = {}
        """Pauses of the collections that are tried again."""

        self._surprises: dict[int, int] = {}

    # Starting and stopping

    def launch(self, job: Job) -> None:
        self._spawn(self._launch(job))

    async def _launch(self, job: Job) -> None:
        assert job.current is not None
        try:
            devices = [d for n in self._nodes.known if n.name == job.current.node for d in n.devices]
            spec = self._specs.attempt(job, devices)
            self._link.launchers.use(spec.backend)
            seconds = self._link.launchers.answer_seconds(spec.backend)
            reach("attempts.launch")
            await self._link.call(job.current.node, Start(spec, seconds))
        except LauncherError as error:
            self.holds.failed(job.current.node, str(error))
            await self._launch_failed(job, Requeue(Reason.RETRY, f"it could not be started: {error}", False))
        except LaunchError as error:
            await self._launch_failed(job, _ended(job, Reason.LAUNCH_FAILED, str(error)))
        except MachineError as error:
            # Whether it started is not known: the node is asked, now or when it is back.
            log.warning("job %d: the start was not acknowledged: %s", job.id, error)
            self._inquiries.begin(job, 1.0)
        except (sqlite3.Error, OSError) as error:
            self.holds.failed(job.current.node, str(error))
            await self._launch_failed(job, Requeue(Reason.RETRY, f"it could not be started: {error}", False))
        except Exception as error:  # nobody else would ever end this attempt
            log.exception("job %d: the start failed", job.id)
            await self._launch_failed(
                job, _ended(job, Reason.LAUNCH_FAILED, f"it could not be started: {error!r}")
            )
        else:
            self.holds.worked(job.current.node)
            latest = self._board.jobs.get(job.id)
            if latest and latest.cancel_requested:
                await self.stop(latest)

    async def _launch_failed(self, job: Job, outcome: Requeue | ExitRecord) -> None:
        """It may have started all the same, so its node is asked, which revokes it if not."""
        try:
            (report,) = await self._reconcile([job])
        except GpujobsError as error:
            log.warning("job %d: what became of its start is not known: %s", job.id, error)
            self._inquiries.begin(job, 1.0)
            return
        if report.status is not AttemptStatus.NEVER_STARTED:
            self._take_reports([report])
        elif isinstance(outcome, Requeue) and not self._is_to_end(job.id):
            self._send_back(job, outcome)
        else:
            if isinstance(outcome, Requeue):
                outcome = _ended(job, Reason.LAUNCH_FAILED, outcome.message)
            self._conclude(outcome)

    def _is_to_end(self, job: int) -> bool:
        latest = self._board.jobs.get(job)
        return latest is not None and latest.cancel_requested

    def _send_back(self, job: Job, step: Requeue) -> None:
        """An attempt that has never begun."""

        def record() -> None:
            reach("attempts.requeue.commit")
            self._board.put(self._store.requeue(job.id, job.attempt, step))
            self._on_change()

        self._again.do(job.id, "that its start failed", record)

    async def stop(self, job: Job, reason: StopReason = StopReason.CANCEL, message: str = "") -> None:
        """Asks the supervisor to end the job's trainer; its end is heard of as an event. Asked again where it was
        not heard, but for a preemption: the policy may have changed its mind."""
        self._board.stopping.add(job.id)
        try:
            answer = await self._link.call(self._node_of(job), Stop(_key(job), reason, message))
        except GpujobsError as error:
            # It runs on, and may be asked again: nobody is to count on its device until then.
            self._board.stopping.discard(job.id)
            log.warning("job %d: the stop was not acknowledged: %s", job.id, error)
            if reason is not StopReason.PREEMPT:
                self._board.set_trouble(job.id, f"asked to stop ({reason}), which is tried again: {error}")
                self._later(RETRY_COLLECTING_SECONDS, lambda: self._stop_again(job, reason, message))
        else:
            if answer.found:
                self._inquiries.begin(job, HEARD_SECONDS)
            else:
                self._not_found(job, reason, message)

    def _not_found(self, job: Job, reason: StopReason, message: str) -> None:
        """Its supervisor has ended, or does not live yet: its node is asked which."""
        self._board.stopping.discard(job.id)
        self._inquiries.begin(job)
        if reason is not StopReason.PREEMPT:
            self._later(RETRY_COLLECTING_SECONDS, lambda: self._stop_again(job, reason, message))

    async def _stop_again(self, job: Job, reason: StopReason, message: str) -> None:
        latest = self._board.jobs.get(job.id)
        if latest is not None and latest.attempt == job.attempt and latest.state.holds_device:
            self._board.set_trouble(job.id, None)
            await self.stop(latest, reason, message)

    async def adjust(self, job: Job) -> None:
        """Tells the supervisor of a running job whether its training is to finish, and what its time limit is. One
        that does not hear it is told with its next attempt."""
        if job.current is None or not job.state.holds_device:
            return
        wishes = Wishes(job.finish, job.time_limit_seconds)
        try:
            await self._link.call(self._node_of(job), Adjust(_key(job), wishes))
        except GpujobsError as error:
            log.warning("job %d: its supervisor was not told: %s", job.id, error)

    # Following

    def on_event(self, event: AttemptEvent) -> None:
        """An event that cannot be recorded is tried again, after which those that have come later follow."""
        job, attempt = event.job, event.attempt
        if not self._is_current(event):
            log.debug("job %d, attempt %d: %s is of no attempt that is under way", job, attempt, event.tag)
            return
        match event:
            case Started():
                pid, at = event.pid, event.at
                self._again.do(job, "that it runs", lambda: self._mark_running(job, attempt, pid, at))
            case Progressed():
                self._board.set_progress(job, event.progress)
            case Logged():
                self._board.tell(job)
            case Warned():
                said = event.message
                self._again.do(job, "a warning", lambda: self._store.note(job, "warning", said))
            case Exited():
                self._conclude(event.exit)
            case Unclear():
                self._inquiries.begin(self._board.jobs[job])

    def _is_current(self, event: AttemptEvent) -> bool:
        """Numbers may be given again; the random id of an attempt is not."""
        current = self._board.jobs.get(event.job)
        if current is None or current.current is None or current.attempt != event.attempt:
            return False
        ids = {event.nonce, event.exit.nonce} if isinstance(event, Exited) else {event.nonce}
        return ids == {current.current.nonce}

    def _mark_running(self, job: int, attempt: int, pid: int, at: str) -> None:
        reach("attempts.started.commit")
        self._board.put(self._store.mark_running(job, attempt, pid, from_iso(at) or utc_now()))

    # Ending

    def _conclude(self, record: ExitRecord) -> None:
        """The attempt has ended: its device is free at once, whether or not that can be recorded now."""
        job, attempt = record.job, record.attempt

        def commit() -> None:
            reach("attempts.exited.commit")
            ended = self._store.mark_completing(job, attempt, codec.write(record))
            self._board.put(ended)
            self._again.do(job, "what it used", lambda: self._on_end(ended))
            self._spawn(self._complete(job))

        if not self._again.do(job, "that its attempt has ended", commit):
            self._board.release(job, attempt)
        self._on_change()

    def _catch_up(self, job: int, what: str) -> None:
        """What came too late was recorded before, though it may have seemed to fail: the store knows."""
        latest = self._store.job(job)
        known = self._board.jobs.get(job)
        if known is not None and (known.state, known.attempt) != (latest.state, latest.attempt):
            self._board.put(latest)
            self._on_change()
        if latest.state is State.COMPLETING:
            self._spawn(self._complete(job))

    def complete_now(self, job: int) -> None:
        """What is tried again after a pause is tried at once: somebody wants the job to end."""
        self._spawn(self._complete(job))

    async def _complete(self, job: int) -> None:
        """From COMPLETING to what follows; called again after a restart, so each step may be repeated."""
        if job in self._concluding:
            return
        self._concluding.add(job)
        try:
            await self._follow(self._store.job(job))
        except (GpujobsError, OSError, sqlite3.Error) as error:
            self._retry_completing(job, str(error))
        except StaleTransitionError as stale:
            log.info("job %d: %s", job, stale)
            self._again.do(job, "its end", lambda: self._catch_up(job, "its end"))
        except Exception as error:
            log.exception("job %d: it cannot be ended", job)
            self._surprises[job] = self._surprises.get(job, 0) + 1
            self._retry_completing(job, repr(error))
        else:
            self._between.pop(job, None)
            self._surprises.pop(job, None)
            self._board.set_trouble(job, None)
        finally:
            self._concluding.discard(job)
        self._on_change()

    def _retry_completing(self, job: int, why: str) -> None:
        pause = next(self._between.setdefault(job, pauses(1.0, RETRY_COLLECTING_SECONDS)))
        log.error("job %d: %s; trying again in %g s", job, why, pause)
        self._board.set_trouble(job, f"its end cannot be recorded yet, and is tried again: {why}")
        self._later(pause, lambda: self._complete(job))

    async def _follow(self, job: Job) -> None:
        if job.state is not State.COMPLETING:
            return
        step = self._step_after(job)
        if isinstance(step, Requeue):
            reach("attempts.requeue.commit")
            self._board.put(self._store.requeue(job.id, job.attempt, step))
        else:
            await self._finish(job, step)

    def _step_after(self, job: Job) -> Finish | Requeue:
        kept = job.current.exit_record if job.current is not None else None
        try:
            record = records.kept_of(_key(job), kept or {})
        except ShapeError as error:
            lost = f"its exit record makes no sense: {error}"
            record = _ended(job, Reason.SUPERVISOR_LOST, lost, costs_retry=False)
        return follow_up(job, record)

    async def _finish(self, job: Job, step: Finish) -> None:
        results = None
        if step.state is State.COMPLETED:
            try:
                results = str(await self._collector.collect(job, self._node_of(job)))
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
        self._board.put(self._store.finish(job.id, step, results))
        self._again.do(job.id, "what its end means for others", self.cancel_blocked)
        if step.state is State.COMPLETED:
            await self._forget(job)

    async def _forget(self, job: Job) -> None:
        try:
            await self._link.call(self._node_of(job), Forget(job.id))
        except GpujobsError as error:
            log.warning("job %d: its directory is left behind: %s", job.id, error)

    def cancel_blocked(self) -> None:
        """Ends the jobs that wait for one that has failed, or for the failure of one that has completed, and
        those that wait for these."""
        while blocked := self._store.blocked_for_good():
            for job, why in blocked.items():
                step = Finish(State.CANCELLED, Reason.DEPENDENCY_FAILED, why)
                self._board.put(self._store.cancel_pending(job, DAEMON, step))

    # Finding them again

    async def recover(self, node: str) -> None:
        """Asks a node that is back what has become of the attempts that the store believes on it."""
        mine = [job for job in self._board.jobs.values() if job.current and self._node_of(job) == node]
        self._take_reports(await self._reconcile([job for job in mine if job.state.holds_device]))
        for job in mine:
            if job.state is State.COMPLETING:
                self._spawn(self._complete(job.id))

    def _node_of(self, job: Job) -> str:
        """Where its attempt is asked for. A machine may have another name since: then it is ours."""
        members = [node.name for node in self._nodes.known]
        name = job.current.node if job.current is not None else ""
        return name if name in members or not members else members[0]

    async def _reconcile(self, jobs: list[Job]) -> tuple[Report, ...]:
        """Of one node."""
        if not jobs:
            return ()
        asked = Reconcile(tuple(_key(job) for job in jobs if job.current is not None))
        return (await self._link.call(self._node_of(jobs[0]), asked)).reports

    async def _inquire(self, job: int, attempt: int) -> bool:
        """Whether to ask again: it is not known yet, or it has been asked to end and lives."""
        current = self._board.jobs.get(job)
        if current is None or current.attempt != attempt or not current.state.holds_device:
            return False
        if self._again.waits(job):
            return True
        try:
            (report,) = await self._reconcile([current])
        except GpujobsError as error:
            self._board.set_trouble(job, f"what became of its attempt is not known, and asked again: {error}")
            return True
        self._take_reports([report])
        is_stopping = report.status is AttemptStatus.RUNNING and job in self._board.stopping
        return report.status is AttemptStatus.UNKNOWN or is_stopping

    def _take_reports(self, reports: Iterable[Report]) -> None:
        """Each by itself: one that cannot be believed must not keep the others, or the node, away."""
        for report in reports:
            try:
                self._take_report(report)
            except Exception:
                log.exception("job %d: its report was not understood: %s", report.attempt.job, report)

    def _take_report(self, report: Report) -> None:
        job, status = report.attempt.job, report.status
        current = self._board.jobs.get(job)
        if current is None or current.attempt != report.attempt.attempt or not current.state.holds_device:
            return  # it has ended while its node was asked
        log.info("job %d, attempt %d: %s", job, current.attempt, status)
        self._note_damages(job, report.damaged)
        if status is AttemptStatus.UNKNOWN:
            self._board.set_trouble(job, f"what became of its attempt cannot be told yet: {report.error}")
            self._inquiries.begin(current, 1.0)
            return
        self._board.set_trouble(job, None)
        if status is AttemptStatus.RUNNING:
            self._take_running(current, report)
        elif status is AttemptStatus.NEVER_STARTED:
            self._take_never_started(current, report.damaged)
        elif report.exit is not None:
            self._conclude(report.exit)

    def _take_never_started(self, job: Job, damaged: Sequence[str]) -> None:
        if job.cancel_requested:
            self._conclude(_ended(job, Reason.CANCELLED_BY_USER, job.message))
        elif job.state is State.STARTING:
            self._send_back(job, Requeue(Reason.RETRY, "the start was interrupted", False))
        else:
            message = (
                f"nothing is left of the attempt on its node: {'; '.join(damaged) or 'its files are gone'}"
            )
            self._conclude(_ended(job, Reason.SUPERVISOR_LOST, message, costs_retry=False))

    def _take_running(self, job: Job, report: Report) -> None:
        record = report.record
        if job.state is State.STARTING and record is not None:
            pid, at = record.trainer.pid, record.started_at
            self._again.do(job.id, "that it runs", lambda: self._mark_running(job.id, job.attempt, pid, at))
        if report.progress:
            self._board.set_progress(job.id, report.progress)
        if job.id in self._board.stopping:
            return
        if job.cancel_requested:
            self._spawn(self.stop(job))
        elif said := self._store.requeue_wanted(job.id, job.attempt):
            self._spawn(self.stop(job, StopReason.REQUEUE, said))

    def _note_damages(self, job: int, damages: Iterable[str]) -> None:
        for damage in damages:
            log.warning("job %d: %s", job, damage)
            self._again.do(job, "what is damaged", partial(self._store.note, job, "damaged", damage))

    # Tasks

    def _later(self, seconds: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        asyncio.get_running_loop().call_later(seconds, lambda: self._spawn(work()))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a task of the daemon failed", exc_info=task.exception())

    def close(self) -> None:
        self._inquiries.end()
        for task in self._tasks:
            task.cancel()


def _key(job: Job) -> AttemptKey:
    assert job.current is not None
    return AttemptKey(job.id, job.attempt, job.current.nonce)


def _ended(job: Job, reason: Reason, message: str, *, costs_retry: bool = True) -> ExitRecord:
    return records.without_one(_key(job), reason, message, costs_retry=costs_retry)
