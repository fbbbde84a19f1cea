"""What is known of a job, or of a group, when it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gpujobs.daemon.jobs.ranked import default_criterion, metrics_of
from gpujobs.daemon.news.words import Facts, Ranking
from gpujobs.jobfile.recipients import Occasion
from gpujobs.results.ranking import evaluation_lines, figures, rank
from gpujobs.store.news import Member, WaitingNews
from gpujobs.store.store import Store


async def facts_of(store: Store, one: WaitingNews) -> Facts:
    """Raises NotFoundError where the job is gone."""
    job = store.job(one.job)
    if one.group_id is not None:
        group = store.groups([one.group_id])[one.group_id]
        return Facts(job, group, await _ranking(store, store.news.members_with_results(one.group_id)))
    if one.occasion not in (Occasion.END, Occasion.FAILURE) or job.results is None:
        return Facts(job)
    found = await asyncio.to_thread(metrics_of, [job])
    return Facts(job, evaluation=evaluation_lines(found.get(job.id, {})))


async def _ranking(store: Store, members: Sequence[Member]) -> Ranking | None:
    if not members:
        return None
    # Their user has written what is read here: it may be large, or slow to read.
    metrics = await asyncio.to_thread(metrics_of, members)
    found = {job: figures(one) for job, one in metrics.items()}
    criterion = default_criterion(store, members, metrics, found)
    places = rank(found, criterion) if criterion is not None else []
    if criterion is None or not places:
        return None
    return Ranking(criterion, places, {job.id: job.sweep_values or {} for job in members})
