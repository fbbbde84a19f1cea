"""Attempts of which it is not known what has become: their node is asked, after a restart and whenever an answer did
not come, until it is known (`inquiries.py`)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from gpujobs.cluster.link import ClusterLink
from gpujobs.daemon.devices.nodes import Nodes
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.jobs.endings import Endings, ended_without_record, key_of
from gpujobs.daemon.jobs.inquiries import Inquiries
from gpujobs.daemon.writer import StoreWriter
from gpujobs.errors import GpujobsError
from gpujobs.failpoints import reach
from gpujobs.lifecycle import Requeue
from gpujobs.model import Job, Reason, State, StopReason, from_iso, utc_now
from gpujobs.protocol.instructions import AttemptStatus, Reconcile, Report
from gpujobs.store.store import Store

log = logging.getLogger(__name__)

Stop = Callable[[Job, StopReason, str], None]
"""Asks an attempt to end, with the reason in words."""


class Reconciliation:
    def __init__(
        self,
        store: Store,
        writer: StoreWriter,
        cache: JobCache,
        nodes: Nodes,
        link: ClusterLink,
        endings: Endings,
        stop: Stop,
    ) -> None:
        self._store = store
        self._writer = writer
        self._cache = cache
        self._nodes = nodes
        self._link = link
        self._endings = endings
        self._again = endings.again
        self._stop = stop
        self.inquiries = Inquiries(self._inquire)

    async def recover(self, node: str) -> None:
        """Asks a node that is back what has become of the attempts that the store believes on it."""
        mine = [job for job in self._cache.jobs.values() if job.current and self._nodes.of(job) == node]
        self.take_reports(await self.ask([job for job in mine if job.state.holds_device]))
        for job in mine:
            if job.state is State.COMPLETING:
                self._endings.complete_now(job.id)

    async def ask(self, jobs: Sequence[Job]) -> tuple[Report, ...]:
        """Of one node."""
        if not jobs:
            return ()
        asked = Reconcile(tuple(key_of(job) for job in jobs if job.current is not None))
        return (await self._link.call(self._nodes.of(jobs[0]), asked)).reports

    async def _inquire(self, job: int, attempt: int) -> bool:
        """Whether to ask again: it is not known yet, or it has been asked to end and lives."""
        current = self._cache.jobs.get(job)
        if current is None or current.attempt != attempt or not current.state.holds_device:
            return False
        if self._again.waits(job):
            return True
        try:
            (report,) = await self.ask([current])
        except GpujobsError as error:
            self._cache.set_trouble(job, f"what became of its attempt is not known, and asked again: {error}")
            return True
        self.take_reports([report])
        is_stopping = report.status is AttemptStatus.RUNNING and job in self._cache.stopping
        return report.status is AttemptStatus.UNKNOWN or is_stopping

    def take_reports(self, reports: Iterable[Report]) -> None:
        """Each by itself: one that cannot be believed must not keep the others, or the node, away."""
        for report in reports:
            try:
                self._take_report(report)
            except Exception:
                log.exception("job %d: its report was not understood: %s", report.attempt.job, report)

    def _take_report(self, report: Report) -> None:
        job, status = report.attempt.job, report.status
        current = self._cache.jobs.get(job)
        if current is None or current.attempt != report.attempt.attempt or not current.state.holds_device:
            return  # it has ended while its node was asked
        log.info("job %d, attempt %d: %s", job, current.attempt, status)
        self._note_damages(job, report.damaged)
        if status is AttemptStatus.UNKNOWN:
            self._cache.set_trouble(job, f"what became of its attempt cannot be told yet: {report.error}")
            self.inquiries.begin(current, 1.0)
            return
        self._cache.set_trouble(job, None)
        if status is AttemptStatus.RUNNING:
            self._take_running(current, report)
        elif status is AttemptStatus.NEVER_STARTED:
            self._take_never_started(current, report.damaged)
        elif report.exit is not None:
            self._endings.conclude(report.exit)

    def _take_never_started(self, job: Job, damaged: Sequence[str]) -> None:
        if job.cancel_requested:
            self._endings.conclude(ended_without_record(job, Reason.CANCELLED_BY_USER, job.message))
        elif job.state is State.STARTING:
            self._endings.send_back(job, Requeue(Reason.RETRY, "the start was interrupted", False))
        else:
            gone = "; ".join(damaged) or "its files are gone"
            message = f"nothing is left of the attempt on its node: {gone}"
            self._endings.conclude(
                ended_without_record(job, Reason.SUPERVISOR_LOST, message, costs_retry=False)
            )

    def _take_running(self, job: Job, report: Report) -> None:
        record = report.record
        if job.state is State.STARTING and record is not None:
            pid, at = record.trainer.pid, record.started_at
            self._again.do(job.id, "that it runs", lambda: self.mark_running(job.id, job.attempt, pid, at))
        if report.progress:
            self._cache.set_progress(job.id, report.progress)
        if job.id in self._cache.stopping:
            return
        if job.cancel_requested:
            self._stop(job, StopReason.CANCEL, "")
        elif said := self._store.requeue_wanted(job.id, job.attempt):
            self._stop(job, StopReason.REQUEUE, said)

    def _note_damages(self, job: int, damages: Iterable[str]) -> None:
        for damage in damages:
            log.warning("job %d: %s", job, damage)
            self._again.do(job, "what is damaged", partial(self._note, job, damage))

    def _note(self, job: int, damage: str) -> None:
        self._writer.do(lambda store: store.note(job, "damaged", damage))

    def mark_running(self, job: int, attempt: int, pid: int, at: str) -> None:
        reach("attempts.started.commit")
        self._writer.job(lambda store: store.mark_running(job, attempt, pid, from_iso(at) or utc_now()))
