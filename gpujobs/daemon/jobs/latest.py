"""Jobs as they are at this moment, also such as have just ended and have left the cache."""

from __future__ import annotations

from collections.abc import Collection

from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.model import Job
from gpujobs.store.reader import Reader


def latest_of(cache: JobCache, store: Reader, ids: Collection[int]) -> dict[int, Job]:
    """Those of these that there are, by their ids; what was pruned is not."""
    now = {number: cache.jobs[number] for number in ids if number in cache.jobs}
    ended = [number for number in ids if number not in now]
    return {**now, **{job.id: job for job in store.existing(ended)}} if ended else now
