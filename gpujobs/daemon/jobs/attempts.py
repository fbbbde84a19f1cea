"""Attempts under way: launching, stopping and following them.

What happens to a trainer becomes a transition of its job here, in `endings.py` (what ends) and in `reconciliation.py`
(what was not heard of).
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable

from gpujobs.cluster.link import ClusterLink
from gpujobs.daemon.devices.nodes import Nodes
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.jobs.collecting import Collector
from gpujobs.daemon.jobs.endings import RETRY_COLLECTING_SECONDS, Endings, ended_without_record, key_of
from gpujobs.daemon.jobs.holds import Holds
from gpujobs.daemon.jobs.homecoming import Homecoming
from gpujobs.daemon.jobs.reconciliation import Reconciliation
from gpujobs.daemon.jobs.residents import NOBODY, Residents
from gpujobs.daemon.jobs.specs import GRACE_SECONDS, Specs
from gpujobs.daemon.jobs.supply import Supply
from gpujobs.daemon.tasks import Tasks
from gpujobs.daemon.writer import StoreWriter
from gpujobs.errors import GpujobsError, LauncherError, LaunchError, MachineError, NotThereError, UnfitError
from gpujobs.failpoints import reach
from gpujobs.lifecycle import Requeue
from gpujobs.model import Job, Reason, State, StopReason
from gpujobs.protocol.boxes import Alive
from gpujobs.protocol.events import AttemptEvent, Exited, Logged, Progressed, Started, Unclear, Warned
from gpujobs.protocol.instructions import Adjust, AttemptStatus, Start, Stop
from gpujobs.protocol.records import AttemptKey, ExitRecord, Wishes
from gpujobs.store.store import Store

HEARD_SECONDS = GRACE_SECONDS + 5.0
"""So long after a stop its end is heard of; else the node is asked."""

UNFIT_SECONDS = 300.0

log = logging.getLogger(__name__)


class Attempts:
    """`on_change` hears of what may let a job start, `on_end` of each attempt whose end is recorded."""

    def __init__(
        self,
        store: Store,
        writer: StoreWriter,
        cache: JobCache,
        nodes: Nodes,
        link: ClusterLink,
        specs: Specs,
        collector: Collector,
        supply: Supply,
        homecoming: Homecoming,
        granted: Callable[[str], Alive | None],
        *,
        on_change: Callable[[], None],
        on_end: Callable[[Job], None],
    ) -> None:
        self._on_change = on_change
        self._writer = writer
        self._cache = cache
        self._nodes = nodes
        self._link = link
        self._specs = specs
        self._supply = supply
        self._granted = granted
        self._tasks = Tasks()
        self.holds = Holds(on_change)
        self._endings = Endings(
            store,
            writer,
            cache,
            nodes,
            link,
            collector,
            homecoming,
            self._tasks,
            on_change=on_change,
            on_end=on_end,
        )
        self._again = self._endings.again
        self._reconciliation = Reconciliation(
            store, writer, cache, nodes, link, self._endings, self.begin_stop
        )
        self._inquiries = self._reconciliation.inquiries
        self.residents = Residents(cache, link, self._tasks)
        self.recover = self._reconciliation.recover
        self.complete_now = self._endings.complete_now
        self.cancel_blocked = self._endings.cancel_blocked

    # Starting and stopping

    def launch(self, job: Job) -> None:
        self._tasks.spawn(self._launch(job))

    async def _launch(self, job: Job) -> None:
        assert job.current is not None
        chosen = NOBODY
        try:
            devices = [d for n in self._nodes.known if n.name == job.current.node for d in n.devices]
            spec = self._specs.attempt(job, devices)
            chosen = self.residents.choose(job, spec)
            seconds = self._link.launcher_seconds(job.current.node, spec.backend)
            supplied = await self._supply.bring(job.current.node, job, spec, self._specs.origins(job))
            spec = supplied.spec
            for trouble in supplied.troubles:
                self._warn(job.id, trouble)
            if not self._is_under_way(job):  # its box was away for long, while its data came
                return
            reach("attempts.launch")
            before = self._granted(job.current.node)
            await self._link.call(
                job.current.node,
                Start(spec, seconds, before, chosen.resident, chosen.beside, supplied.brought),
            )
        except UnfitError as error:
            self._not_there(job, job.id if isinstance(error, NotThereError) else job.user, str(error))
            await self._launch_failed(job, Requeue(Reason.RETRY, f"it could not be started: {error}", False))
        except LauncherError as error:
            self.holds.failed(job.current.node, str(error))
            await self._launch_failed(job, Requeue(Reason.RETRY, f"it could not be started: {error}", False))
        except LaunchError as error:
            await self._launch_failed(job, ended_without_record(job, Reason.LAUNCH_FAILED, str(error)))
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
                job, ended_without_record(job, Reason.LAUNCH_FAILED, f"it could not be started: {error!r}")
            )
        else:
            self.holds.worked(job.current.node)
            latest = self._cache.jobs.get(job.id)
            if latest and latest.cancel_requested:
                await self.stop(latest)
            elif latest and _wishes(latest) != _wishes(job):  # since its spec was made
                await self.adjust(latest)
        finally:
            self.residents.started(chosen)

    def _is_under_way(self, job: Job) -> bool:
        latest = self._cache.jobs.get(job.id)
        return latest is not None and latest.attempt == job.attempt and latest.state.holds_device

    def _not_there(self, job: Job, whose: str | int, why: str) -> None:
        """This job, or its user's jobs, are kept off that node for some time; whoever looks after it may have made the
        user since, or brought the data."""
        assert job.current is not None
        node = job.current.node
        self._cache.set_unfit(whose, node, why)
        self._tasks.later(UNFIT_SECONDS, lambda: self._there_again(whose, node))

    async def _there_again(self, whose: str | int, node: str) -> None:
        self._cache.set_unfit(whose, node, None)
        self._on_change()

    async def _launch_failed(self, job: Job, outcome: Requeue | ExitRecord) -> None:
        """It may have started all the same, so its node is asked, which revokes it if not."""
        try:
            (report,) = await self._reconciliation.ask([job])
        except GpujobsError as error:
            log.warning("job %d: what became of its start is not known: %s", job.id, error)
            self._inquiries.begin(job, 1.0)
            return
        if report.status is not AttemptStatus.NEVER_STARTED:
            self._reconciliation.take_reports([report])
        elif isinstance(outcome, Requeue) and not self._is_to_end(job.id):
            self._endings.send_back(job, outcome)
        else:
            if isinstance(outcome, Requeue):
                outcome = ended_without_record(job, Reason.LAUNCH_FAILED, outcome.message)
            self._endings.conclude(outcome)

    def _is_to_end(self, job: int) -> bool:
        latest = self._cache.jobs.get(job)
        return latest is not None and latest.cancel_requested

    def begin_stop(self, job: Job, reason: StopReason = StopReason.CANCEL, message: str = "") -> None:
        """As `stop`, without waiting for the answer."""
        self._cache.stopping.add(job.id)
        self._tasks.spawn(self.stop(job, reason, message))

    async def stop(self, job: Job, reason: StopReason = StopReason.CANCEL, message: str = "") -> None:
        """Asks the supervisor to end the job's trainer; its end is heard of as an event. Asked again where it was
        not heard, but for a preemption: the policy may have changed its mind."""
        if not self._is_under_way(job):
            return
        self._cache.stopping.add(job.id)
        try:
            found = (await self._link.call(self._nodes.of(job), Stop(key_of(job), reason, message))).found
        except GpujobsError as error:
            if self._is_under_way(job):
                self._not_heard(job, reason, message, error)
            return
        if not self._is_under_way(job):
            return  # what has come after it was asked nothing
        if found:
            self._inquiries.begin(job, HEARD_SECONDS)
        else:
            self._not_found(job, reason, message)

    def _not_heard(self, job: Job, reason: StopReason, message: str, error: GpujobsError) -> None:
        """It runs on, and may be asked again: nobody is to count on its device until then."""
        self._cache.stopping.discard(job.id)
        log.warning("job %d: the stop was not acknowledged: %s", job.id, error)
        if reason is not StopReason.PREEMPT:
            self._cache.set_trouble(job.id, f"asked to stop ({reason}), which is tried again: {error}")
            self._tasks.later(RETRY_COLLECTING_SECONDS, lambda: self._stop_again(job, reason, message))

    def _not_found(self, job: Job, reason: StopReason, message: str) -> None:
        """Its supervisor has ended, or does not live yet: its node is asked which."""
        self._cache.stopping.discard(job.id)
        self._inquiries.begin(job)
        if reason is not StopReason.PREEMPT:
            self._tasks.later(RETRY_COLLECTING_SECONDS, lambda: self._stop_again(job, reason, message))

    async def _stop_again(self, job: Job, reason: StopReason, message: str) -> None:
        latest = self._cache.jobs.get(job.id)
        if latest is not None and latest.attempt == job.attempt and latest.state.holds_device:
            self._cache.set_trouble(job.id, None)
            await self.stop(latest, reason, message)

    async def adjust(self, job: Job) -> None:
        """Tells the supervisor of a running job whether its training is to finish, and what its time limit is. One
        that does not hear it is told with its next attempt."""
        # What was asked of many takes long, and other things are asked meanwhile.
        latest = self._cache.jobs.get(job.id)
        if latest is None or latest.attempt != job.attempt or not latest.state.holds_device:
            return
        try:
            await self._link.call(self._nodes.of(latest), Adjust(key_of(latest), _wishes(latest)))
        except GpujobsError as error:
            log.warning("job %d: its supervisor was not told: %s", job.id, error)

    def lost_with(self, node: str) -> None:
        """Its lease has ended: nothing of ours runs there any more, whatever it has trained."""
        message = f"{node} could not be reached until its lease had ended"
        for job in [job for job in self._cache.jobs.values() if job.current and self._nodes.of(job) == node]:
            if job.state.holds_device:
                self._endings.conclude(
                    ended_without_record(job, Reason.NODE_LOST, message, costs_retry=False)
                )
            elif job.state is State.COMPLETING:  # nothing is waited for any more that is there
                self.complete_now(job.id)

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
                running = self._reconciliation.mark_running
                self._again.do(job, "that it runs", lambda: running(job, attempt, pid, at))
            case Progressed():
                self._cache.set_progress(job, event.progress)
            case Logged():
                self._cache.tell(job)
            case Warned():
                said = event.message
                self._again.do(job, "a warning", lambda: self._warn(job, said))
            case Exited():
                self.residents.ended(AttemptKey(job, attempt, event.nonce), stays=event.stays)
                self._endings.conclude(event.exit)
            case Unclear():
                self._inquiries.begin(self._cache.jobs[job])

    def _is_current(self, event: AttemptEvent) -> bool:
        """Numbers may be given again; the random id of an attempt is not."""
        current = self._cache.jobs.get(event.job)
        if current is None or current.current is None or current.attempt != event.attempt:
            return False
        ids = {event.nonce, event.exit.nonce} if isinstance(event, Exited) else {event.nonce}
        return ids == {current.current.nonce}

    def _warn(self, job: int, message: str) -> None:
        self._writer.do(lambda store: store.note(job, "warning", message))

    def close(self) -> None:
        self._inquiries.end()
        self._tasks.close()


def _wishes(job: Job) -> Wishes:
    return Wishes(job.finish, job.demand.time_limit_seconds)
