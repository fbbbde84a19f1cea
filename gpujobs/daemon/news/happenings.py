"""From what has happened to what is to be told: of a job's events those that its user wants to know. The jobs of a
group are one piece of news: their ends together when the last one has ended, all else at the first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from gpujobs.config.news import NotifyTable
from gpujobs.jobfile.recipients import Occasion, Wish, wish
from gpujobs.model import Job, State
from gpujobs.policy.inputs.text import duration
from gpujobs.store.news import Happening, NewNews
from gpujobs.store.store import Store


def news_of(store: Store, happenings: Sequence[Happening], table: NotifyTable) -> Iterator[NewNews]:
    """Of a group that ends at once, as a sweep that is cancelled, its last event is looked at."""
    last = {one.group_id: one.id for one in happenings if one.group_id is not None and _is_end(one)}
    for one in happenings:
        if one.group_id is None or not _is_end(one) or last[one.group_id] == one.id:
            yield from _news_of(store, one, table)


def _is_end(one: Happening) -> bool:
    return one.to_state is not None and one.to_state.is_final


def _news_of(store: Store, happening: Happening, table: NotifyTable) -> Iterator[NewNews]:
    wanted = wish(happening.notify, happening.setting)
    if wanted is None or not wanted.on:
        return
    if happening.kind == "stranger":
        yield from _stranger(happening, wanted)
    elif happening.to_state is State.RUNNING:
        yield from _start(store, happening, wanted, table)
    elif happening.group_id is None:
        yield from _end(happening, wanted, failed=happening.to_state is not State.COMPLETED)
    else:
        yield from _end_of_group(store, happening, happening.group_id, wanted)


def _stranger(one: Happening, wanted: Wish) -> Iterator[NewNews]:
    """The first of an attempt: somebody who starts many programs is one stranger."""
    if Occasion.STRANGER in wanted.on:
        yield from _each(one, wanted, Occasion.STRANGER, _first(one), one.message)


def _start(store: Store, one: Happening, wanted: Wish, table: NotifyTable) -> Iterator[NewNews]:
    if Occasion.START not in wanted.on:
        return
    job = store.job(one.job)
    since = max(filter(None, (store.news.waits_since(one.job, one.id), job.demand.begin_at)), default=one.at)
    started = job.current.started_at if job.current and job.attempt == one.attempt else one.at
    waited = (started - since).total_seconds()
    if waited >= table.long_wait:
        yield from _each(
            one, wanted, Occasion.START, _first(one), f"after it has waited for {duration(waited)}"
        )


def _end(one: Happening, wanted: Wish, *, failed: bool) -> Iterator[NewNews]:
    if (occasion := _occasion_of_end(wanted, failed=failed)) is not None:
        yield from _each(one, wanted, occasion, f"{one.job}", "")


def _end_of_group(store: Store, one: Happening, group_id: int, wanted: Wish) -> Iterator[NewNews]:
    """One that was queued again, or was joined by another, ends anew: with more jobs than before."""
    jobs = store.news.ended_group(group_id)
    if jobs is None:
        return
    failed = any(state is not State.COMPLETED for state in store.groups([group_id])[group_id].counts)
    if (occasion := _occasion_of_end(wanted, failed=failed)) is not None:
        yield from _each(one, wanted, occasion, f"g{group_id}:{jobs}", "", group_id)


def _occasion_of_end(wanted: Wish, *, failed: bool) -> Occasion | None:
    if failed and Occasion.FAILURE in wanted.on:
        return Occasion.FAILURE
    return Occasion.END if Occasion.END in wanted.on else None


def limit_near(job: Job, wanted: Wish, due: datetime, left: float) -> Iterator[NewNews]:
    assert job.current is not None and job.demand.time_limit_seconds is not None
    limit = job.demand.time_limit_seconds
    what = f"g{job.group_id}" if job.group_id is not None else f"{job.id}:{job.attempt}:{limit:g}"
    for recipient in wanted.recipients:
        yield NewNews(
            job.id,
            None,
            job.uid,
            Occasion.TIME_LIMIT,
            f"{Occasion.TIME_LIMIT}:{what}",
            f"{duration(left)} of its time limit of {duration(limit)} are left",
            recipient.way,
            recipient.to,
            due,
        )


def limit_due(job: Job, before_limit: float) -> tuple[datetime, float] | None:
    """When a running job's time limit is near, and how many seconds are left then."""
    if job.current is None or job.demand.time_limit_seconds is None:
        return None
    limit = job.demand.time_limit_seconds
    left = min(before_limit, limit / 10)
    return job.current.started_at + timedelta(seconds=limit - left), left


def _first(one: Happening) -> str:
    return f"{one.job}:{one.attempt}" if one.group_id is None else f"g{one.group_id}"


def _each(
    one: Happening, wanted: Wish, occasion: Occasion, what: str, detail: str, group_id: int | None = None
) -> Iterator[NewNews]:
    """`what`: the same is told once. An end is the same whether it is told as an end or as a failure."""
    kind = "end" if occasion is Occasion.FAILURE else str(occasion)
    for recipient in wanted.recipients:
        yield NewNews(
            one.job,
            group_id,
            one.uid,
            occasion,
            f"{kind}:{what}",
            detail,
            recipient.way,
            recipient.to,
            one.at,
        )
