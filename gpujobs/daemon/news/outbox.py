"""The outbox: it is filled from the history of jobs, and emptied one recipient at a time.

What has happened is read from the store's events after their commit, and put into the outbox in one transaction with
the mark up to which events were looked at: each news is in it exactly once, whenever the daemon is killed. It is told
at least once: where the daemon is killed between the telling and its record, it is told again, with the same id.

Nobody waits for a recipient that hangs but the same recipient's other news: nothing here is awaited by anybody else.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import Counter
from datetime import datetime, timedelta

from gpujobs.daemon.in_force import InForce
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.news import allowed
from gpujobs.daemon.news.facts import facts_of
from gpujobs.daemon.news.happenings import limit_due, limit_near, news_of
from gpujobs.daemon.news.orders import Orders
from gpujobs.daemon.news.sending import deliver
from gpujobs.daemon.news.words import words
from gpujobs.daemon.tasks import Tasks
from gpujobs.daemon.writer import StoreWriter
from gpujobs.errors import GpujobsError, NotFoundError, StoreError
from gpujobs.failpoints import reach
from gpujobs.jobfile.recipients import Occasion, Recipient, Way, wish
from gpujobs.model import Job, utc_now
from gpujobs.policy.inputs.text import duration
from gpujobs.printing import one_line
from gpujobs.protocol.news import Outcome
from gpujobs.store.news import NewNews, NewsState, WaitingNews
from gpujobs.store.store import Store

AT_ONCE = 4
"""Recipients of one user that are told at the same time."""

AGAIN_SECONDS = 10.0
"""Where the store cannot be read, or cannot be written."""

MARK_EVERY = 5000
"""Events, of which nobody wanted to be told, before the mark moves on all the same."""

LONGER = 4
"""Each pause between two tries is so many times the one before."""

MAX_SAID = 300
"""Characters of what a process of a user's has said."""

EVENT = "news"

log = logging.getLogger(__name__)


class Outbox:
    def __init__(
        self,
        store: Store,
        writer: StoreWriter,
        cache: JobCache,
        in_force: InForce,
        orders: Orders,
        tasks: Tasks,
    ) -> None:
        self._store = store
        self._writer = writer
        self._cache = cache
        self._in_force = in_force
        self._orders = orders
        self._tasks = tasks
        self._wake = asyncio.Event()
        self._tried = asyncio.Event()
        self._looked_at = store.news.cursor
        self._limits_looked_at: set[tuple[int, int, float]] = set()
        """Job, attempt and limit of those whose time was near."""
        self._under_way: dict[int, WaitingNews] = {}

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """For as long as the daemon lives. It wakes for a commit, for the end of a try, and when something is due."""
        while True:
            self._wake.clear()
            try:
                seconds = self._work()
            except (StoreError, sqlite3.Error) as error:
                log.warning("news wait until the store can be read and written: %s", error)
                seconds = AGAIN_SECONDS
            except Exception:
                log.exception("news were not looked at")
                seconds = AGAIN_SECONDS
            try:
                async with asyncio.timeout(seconds):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def save(self) -> None:
        """At the daemon's end, so that the next one need not look at these events again."""
        if self._looked_at > self._store.news.cursor:
            self._writer.do(lambda store: store.news.go_on_after(self._looked_at))

    async def first_tries(self, seconds: float) -> None:
        """Returns when all that has happened was told or tried once, or after so long."""
        try:
            async with asyncio.timeout(seconds):
                while self._look_at_events():
                    await asyncio.sleep(0)
                while self._under_way or any(one.tries == 0 for one in self._store.news.waiting()):
                    self._tried.clear()
                    self.wake()
                    await self._tried.wait()
        except (TimeoutError, StoreError, sqlite3.Error) as error:
            why = str(error) or f"they were not within {seconds:g} s"
            log.warning("some news were not told, the next daemon tells them: %s", why)

    # Filling it

    def _work(self) -> float | None:
        """What is to be done now; returns after how many seconds there is more, None where nothing is in sight."""
        more = self._look_at_events()
        now = utc_now()
        due = [self._look_at_limits(now), self._begin_tries(now)]
        if more:
            return 0.0
        seconds = [max(0.0, (at - utc_now()).total_seconds()) for at in due if at is not None]
        return min(seconds, default=None)

    def _look_at_events(self) -> bool:
        """True where there are more."""
        found, newest = self._store.news.happenings(self._looked_at)
        new = [*news_of(self._store, found, self._in_force.site.notify)]
        if new or newest - self._store.news.cursor > MARK_EVERY:
            self._put(new, newest)
        has_moved = newest > self._looked_at
        self._looked_at = newest
        return has_moved

    def _put(self, new: list[NewNews], cursor: int | None) -> None:
        per_hour = self._in_force.site.notify.per_hour

        def put(store: Store) -> None:
            reach("news.put")
            for one in store.news.add(new, cursor, per_hour):
                whom = Recipient(Way(one.way), one.recipient).shown
                store.note(
                    one.job,
                    EVENT,
                    f"{one.occasion} is not told ({whom}): more than {per_hour} within an hour",
                )

        self._writer.do(put)

    def _look_at_limits(self, now: datetime) -> datetime | None:
        """Of the jobs that run; returns when the next one's time is near."""
        before, coming = self._in_force.site.notify.before_limit, list[datetime]()
        active = [job for job in self._cache.active() if job.current is not None]
        keys = {_limit_key(job) for job in active}
        self._limits_looked_at &= keys
        for job in active:
            due = limit_due(job, before)
            if due is None or _limit_key(job) in self._limits_looked_at:
                continue
            if due[0] > now:
                coming.append(due[0])
                continue
            self._tell_of_limit(job, *due)
            self._limits_looked_at.add(_limit_key(job))
        return min(coming, default=None)

    def _tell_of_limit(self, job: Job, due: datetime, left: float) -> None:
        wanted = wish(self._store.news.of_job(job.id), self._store.news.setting(job.uid))
        if wanted is not None and Occasion.TIME_LIMIT in wanted.on:
            self._put([*limit_near(job, wanted, due, left)], None)

    # Emptying it

    def _begin_tries(self, now: datetime) -> datetime | None:
        """Begins those that are due; returns when the next one is."""
        coming = list[datetime]()
        lanes = {(one.uid, one.way, one.recipient) for one in self._under_way.values()}
        busy = Counter(one.uid for one in self._under_way.values())
        for one in self._store.news.waiting():
            lane = (one.uid, one.way, one.recipient)
            if one.id in self._under_way:
                continue
            if one.next_at > now:
                coming.append(one.next_at)
            elif lane not in lanes and busy[one.uid] < AT_ONCE:
                lanes.add(lane)
                busy[one.uid] += 1
                self._under_way[one.id] = one
                self._tasks.spawn(self._try(one))
        return min(coming, default=None)

    async def _try(self, one: WaitingNews) -> None:
        try:
            outcome = await self._tell(one)
            reach("news.told")
            await self._record(one, outcome)
        except Exception:
            log.exception("job %d: what came of its news is not known", one.job)
            await asyncio.sleep(AGAIN_SECONDS)
        finally:
            del self._under_way[one.id]
            self._tried.set()
            self.wake()

    async def _tell(self, one: WaitingNews) -> Outcome:
        to = Recipient(Way(one.way), one.recipient)
        if why := allowed.refusal(to, self._in_force.site.notify):
            return Outcome(False, False, why)
        try:
            facts = await facts_of(self._store, one)
            message_id = self._orders.message_id(one.id)
            said = words(one, facts, self._orders.host, message_id, self._notes(one))
            job = facts.job
            order = self._orders.order(to, job.user, job.uid, self._store.gid(job.id), message_id, said)
            return await deliver(order)
        except NotFoundError as error:
            return Outcome(False, False, error.message)
        except GpujobsError as error:
            return Outcome(False, True, error.message)
        except Exception as error:
            log.exception("job %d: its news could not be put together", one.job)
            return Outcome(False, True, f"the daemon failed: {error!r}")

    def _notes(self, one: WaitingNews) -> list[str]:
        most = self._in_force.site.notify.per_hour
        if self._store.news.made_since(one.uid, utc_now()) < most:
            return []
        return [
            f"These are {most} news within an hour: what else happens before it is over is told to nobody."
        ]

    async def _record(self, one: WaitingNews, outcome: Outcome) -> None:
        """As long as it takes: what was told is not told again because a disk is full."""
        table = self._in_force.site.notify
        tries = one.tries + 1
        pause = timedelta(seconds=table.retry_after * LONGER ** (tries - 1))
        is_last = outcome.sent or not outcome.again or tries >= table.tries
        state = (NewsState.SENT if outcome.sent else NewsState.FAILED) if is_last else NewsState.WAITING
        said = _said(one, outcome, tries, table.tries, None if is_last else pause)

        def record(store: Store) -> None:
            store.news.tried(one.id, state, None if is_last else utc_now() + pause)
            store.note(one.job, EVENT, said)

        while True:
            try:
                self._writer.do(record)
                return
            except NotFoundError:  # the job was removed, and its news with it
                return
            except StoreError as error:
                log.warning("job %d: what came of its news cannot be recorded yet: %s", one.job, error)
            await asyncio.sleep(AGAIN_SECONDS)


def _limit_key(job: Job) -> tuple[int, int, float]:
    return job.id, job.attempt, job.demand.time_limit_seconds or 0.0


def _said(one: WaitingNews, outcome: Outcome, tries: int, most: int, pause: timedelta | None) -> str:
    """For the history, which others may read too."""
    what = f"{one.occasion} of g{one.group_id}" if one.group_id is not None else one.occasion
    whom = Recipient(Way(one.way), one.recipient).shown
    answer = f": {one_line(outcome.said)[:MAX_SAID]}" if outcome.said else ""
    if outcome.sent:
        return f"{what} told to {whom}{answer}"
    if pause is None:
        return f"{what} not told to {whom}, given up after try {tries} of {most}{answer}"
    return f"{what} not told to {whom}, try {tries} of {most}, again in {duration(pause.total_seconds())}{answer}"
