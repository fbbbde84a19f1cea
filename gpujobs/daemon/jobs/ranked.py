"""By which figure the jobs of a group are ranked where nobody says."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from gpujobs.jobfile.settings import path_of
from gpujobs.metric_names import Kinds, kinds_of
from gpujobs.results.catalogue import read_metrics
from gpujobs.results.ranking import Criterion, Figures, default, evaluated_by
from gpujobs.store.reader import Reader


class Trained(Protocol):
    """What a ranking asks of a job."""

    @property
    def id(self) -> int: ...

    @property
    def uid(self) -> int: ...

    @property
    def results(self) -> str | None: ...

    @property
    def sweep_values(self) -> Mapping[str, Any] | None: ...


def metrics_of(jobs: Sequence[Trained]) -> dict[int, dict[str, Any]]:
    """The metrics.json of those that have results. Reads files of their users': not for the event loop."""
    return {job.id: read_metrics(job.results, job.uid) for job in jobs if job.results is not None}


def kinds_of_metrics(store: Reader, jobs: Sequence[Trained]) -> Kinds:
    """The classes of metrics that the jobs' file has named, as the first job has them."""
    return kinds_of((store.spec(jobs[0].id).resolved.get("training") or {}).get("metrics") or ())


def default_criterion(
    store: Reader,
    jobs: Sequence[Trained],
    metrics: Mapping[int, Mapping[str, Any]],
    found: Mapping[int, Figures],
) -> Criterion | None:
    known = {name for one in found.values() for name in one}
    parts = [one for one in map(evaluated_by, metrics.values()) if one is not None]
    swept = swept_values(jobs, lambda job: store.spec(job).resolved)
    return default(store.spec(jobs[0].id).resolved, swept, known, parts[0] if parts else None)


def swept_values(
    jobs: Sequence[Trained], resolved: Callable[[int], Mapping[str, Any]]
) -> dict[str, list[Any]]:
    """What the jobs have at each key that a sweep sets. Entries of `sweep.list` may set different keys: a job that does
    not set one has what the file says, and then each value is read from a resolved file."""
    settings = [job.sweep_values or {} for job in jobs]
    found: dict[str, list[Any]] = {}
    for key in dict.fromkeys(key for one in settings for key in one):
        if all(key in one for one in settings):
            found[key] = [one[key] for one in settings]
        else:
            of_each = {
                json.dumps([one[key]] if key in one else [], sort_keys=True): job.id
                for job, one in zip(jobs, settings, strict=True)
            }
            found[key] = [_at(resolved(job), key) for job in of_each.values()]
    return found


def _at(tree: Any, key: str) -> Any:
    """None where the tree has no such place."""
    for part in path_of(key):
        is_there = (
            part in tree
            if isinstance(tree, Mapping)
            else isinstance(tree, list) and isinstance(part, int) and part < len(tree)
        )
        if not is_there:
            return None
        tree = tree[part]
    return tree
