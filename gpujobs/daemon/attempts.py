"""Attempts under way: launching, following, ending, and finding them again after a restart."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from gpujobs.cluster.link import ClusterLink
from gpujobs.daemon.access import Gatekeeper
from gpujobs.daemon.board import Board
from gpujobs.daemon.nodes import Nodes
from gpujobs.daemon.specs import Specs
from gpujobs.errors import GpujobsError, LaunchError, MachineError
from gpujobs.lifecycle import Finish, Requeue, follow_up
from gpujobs.model import Job, Reason, Share, State, StopReason, from_iso, iso, utc_now
from gpujobs.paths import StatePaths
from gpujobs.results.handover import give_away
from gpujobs.siteconfig import Quotas
from gpujobs.store.store import DAEMON, StaleTransitionError, Store

RETRY_COLLECTING_SECONDS = 10.0

log = logging.getLogger(__name__)


class Attempts:
    """The one place that turns what happens to a trainer into transitions of its job."""

    def __init__(
        self,
        store: Store,
        board: Board,
        nodes: Nodes,
        link: ClusterLink,
        specs: Specs,
        paths: StatePaths,
        *,
        gatekeeper: Gatekeeper,
        quotas: Quotas,
        on_change: Callable[[], None],
        on_end: Callable[[Job], None],
    ) -> None:
        self._store = store
        self._board = board
        self._nodes = nodes
        self._link = link
        self._specs = specs
        self._paths = paths
        self._gatekeeper = gatekeeper
        self._quotas = quotas
        self._on_change = on_change
        self._on_end = on_end
        self._tasks: set[asyncio.Task[None]] = set()
        self._concluding: set[int] = set()

    def configure(self, gatekeeper: Gatekeeper, quotas: Quotas) -> None:
        """Counts for what ends from now on."""
        self._gatekeeper, self._quotas = gatekeeper, quotas

    # Starting and stopping

    def launch(self, job: Job) -> None:
        self._spawn(self._launch(job))

    async def _launch(self, job: Job) -> None:
        assert job.current is not None
        try:
            devices = [d for n in self._nodes.known if n.name == job.current.node for d in n.devices]
            spec = self._specs.attempt(job, devices)
            self._link.launchers.use(spec["backend"])
            await self._link.call(job.current.node, "start", spec=spec)
        except LaunchError as error:
            await self._launch_failed(job, str(error))
        except GpujobsError as error:
            # Whether it started is not known. The job stays STARTING until its node is back and
            # has been asked (`recover`).
            log.warning("job %d: the start was not acknowledged: %s", job.id, error)
        else:
            latest = self._board.jobs.get(job.id)
            if latest and latest.cancel_requested:
                await self.stop(latest)

    async def _launch_failed(self, job: Job, message: str) -> None:
        assert job.current is not None
        reports = await self._reconcile(job.current.node, [job])
        if reports and reports[0]["status"] == "never_started":
            self._conclude(job.id, job.attempt, _ended(Reason.LAUNCH_FAILED, message))
        else:
            self._take_reports(reports)

    async def stop(self, job: Job, reason: StopReason = StopReason.CANCEL, message: str = "") -> None:
        """Asks the supervisor to end the job's trainer; its end is heard of as an event."""
        assert job.current is not None
        self._board.stopping.add(job.id)
        asked = {"job": job.id, "attempt": job.attempt, "reason": reason, "message": message}
        try:
            await self._link.call(job.current.node, "stop", **asked)
        except GpujobsError as error:
            # It runs on, and may be asked again: nobody is to count on its device until then.
            self._board.stopping.discard(job.id)
            log.warning("job %d: the stop was not acknowledged: %s", job.id, error)

    async def adjust(self, job: Job) -> None:
        """Tells the supervisor of a running job whether its training is to finish, and what its time limit is. One
        that does not hear it is told with its next attempt."""
        if job.current is None or not job.state.holds_device:
            return
        wishes = {"finish": job.finish, "time_limit_seconds": job.time_limit_seconds}
        try:
            await self._link.call(job.current.node, "adjust", job=job.id, attempt=job.attempt, wishes=wishes)
        except GpujobsError as error:
            log.warning("job %d: its supervisor was not told: %s", job.id, error)

    # Following

    def on_event(self, event: Mapping[str, Any]) -> None:
        """An event of section 4 of docs/protocol.md."""
        job, attempt, what = event["job"], event["attempt"], event["what"]
        try:
            if what == "started":
                self._mark_running(job, attempt, event["pid"], event.get("at"))
            elif what == "progress":
                self._board.set_progress(job, event["progress"])
            elif what == "log":
                self._board.tell(job)
            elif what == "warning":
                self._store.note(job, "warning", event["message"])
            elif what == "exited":
                self._conclude(job, attempt, event["exit"])
        except StaleTransitionError as stale:
            log.info("job %d: %s came late: %s", job, what, stale)
        except GpujobsError as error:
            log.error("job %d: %s was not recorded: %s", job, what, error)
        except Exception:  # the event of one job must not end the link to the cluster
            log.exception("job %d: %s was not recorded", job, what)

    def _mark_running(self, job: int, attempt: int, pid: int, at: str | None) -> None:
        self._board.put(self._store.mark_running(job, attempt, pid, from_iso(at) or utc_now()))

    # Ending

    def _conclude(self, job: int, attempt: int, record: Mapping[str, Any]) -> None:
        ended = self._store.mark_completing(job, attempt, record)
        self._on_end(ended)
        self._board.put(ended)
        self._on_change()
        self._spawn(self._complete(ended))

    async def _complete(self, job: Job) -> None:
        """From COMPLETING to what follows; called again after a restart, so each step may be repeated."""
        if job.id in self._concluding:
            return
        self._concluding.add(job.id)
        try:
            assert job.current is not None and job.current.exit_record is not None
            step = follow_up(job, job.current.exit_record)
            if isinstance(step, Requeue):
                self._board.put(self._store.requeue(job.id, job.attempt, step))
            else:
                await self._finish(job, step)
        except (GpujobsError, OSError) as error:
            log.error("job %d: %s; trying again in %g s", job.id, error, RETRY_COLLECTING_SECONDS)
            asyncio.get_running_loop().call_later(
                RETRY_COLLECTING_SECONDS, lambda: self._spawn(self._complete(job))
            )
        finally:
            self._concluding.discard(job.id)
        self._on_change()

    async def _finish(self, job: Job, step: Finish) -> None:
        results = None
        if step.state is State.COMPLETED:
            try:
                results = str(await self._collect(job))
            except MachineError:
                raise  # a full disk, a node that is away: the results wait where they are
            except GpujobsError as error:
                step = Finish(State.FAILED, Reason.RESULTS_FAILED, str(error))
        self._board.put(self._store.finish(job.id, step, results))
        self.cancel_blocked()
        if step.state is State.COMPLETED:
            await self._forget(job)

    async def _collect(self, job: Job) -> Path:
        """Moves the results into the central store: whole, or not at all."""
        assert job.current is not None
        target = self._paths.result(job.id)
        if target.is_dir():
            return target  # collected before a restart that came ahead of the commit
        staging = self._paths.results / f".staging-{job.id}-{job.attempt}"
        await asyncio.to_thread(shutil.rmtree, staging, ignore_errors=True)
        await self._link.call(
            job.current.node,
            "collect",
            job=job.id,
            attempt=job.attempt,
            limit_bytes=self._quotas.results,
            destination=str(staging),
        )
        if self._gatekeeper.is_site:
            readers = self._gatekeeper.share_gid if job.share is Share.LAB else None
            await asyncio.to_thread(give_away, staging, job.uid, self._store.gid(job.id), readers)
        staging.rename(target)
        _fsync_directory(self._paths.results)
        return target

    async def _forget(self, job: Job) -> None:
        assert job.current is not None
        try:
            await self._link.call(job.current.node, "forget", job=job.id)
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
        mine = [job for job in self._board.jobs.values() if job.current and job.current.node == node]
        self._take_reports(await self._reconcile(node, [job for job in mine if job.state.holds_device]))
        for job in mine:
            if job.state is State.COMPLETING:
                self._spawn(self._complete(job))

    async def _reconcile(self, node: str, jobs: list[Job]) -> list[dict[str, Any]]:
        if not jobs:
            return []
        attempts = [[job.id, job.attempt] for job in jobs]
        reports: list[dict[str, Any]] = await self._link.call(node, "reconcile", attempts=attempts)
        return reports

    def _take_reports(self, reports: list[dict[str, Any]]) -> None:
        for report in reports:
            try:
                self._take_report(report)
            except StaleTransitionError as stale:
                log.info("job %d: %s", report["job"], stale)

    def _take_report(self, report: Mapping[str, Any]) -> None:
        job, attempt, status = report["job"], report["attempt"], report["status"]
        current = self._board.jobs.get(job)
        if current is None:
            return  # it has ended while its node was asked
        log.info("job %d, attempt %d: %s", job, attempt, status)
        if status == "running":
            trainer = (report.get("record") or {}).get("trainer")
            if current.state is State.STARTING and trainer:
                self._mark_running(job, attempt, trainer["pid"], report["record"].get("started_at"))
            if report.get("progress"):
                self._board.set_progress(job, report["progress"])
            if current.cancel_requested:
                self._spawn(self.stop(self._board.jobs[job]))
        elif status == "never_started" and current.cancel_requested:
            self._conclude(job, attempt, _ended(Reason.CANCELLED_BY_USER, current.message))
        elif status == "never_started":
            step = Requeue(Reason.RETRY, "the start was interrupted", False)
            self._board.put(self._store.requeue(job, attempt, step))
            self._on_change()
        else:
            lost = _ended(Reason.SUPERVISOR_LOST, "the supervisor was gone when the daemon came back")
            self._conclude(job, attempt, report.get("exit") or lost)

    # Tasks

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a task of the daemon failed", exc_info=task.exception())

    async def settle(self) -> None:
        """Waits for launches and collections under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)


def _ended(reason: Reason, message: str) -> dict[str, Any]:
    """An exit record for an attempt that left none."""
    return {
        "state": State.FAILED,
        "reason": reason,
        "message": message,
        "exit": {"code": None, "signal": None},
        "ended_at": iso(utc_now()),
    }


def _fsync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
