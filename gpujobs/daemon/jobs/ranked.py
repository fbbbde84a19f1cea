"""By which figure the jobs of a group are ranked where nobody says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

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


def default_criterion(
    store: Reader,
    jobs: Sequence[Trained],
    metrics: Mapping[int, Mapping[str, Any]],
    found: Mapping[int, Figures],
) -> Criterion | None:
    known = {name for one in found.values() for name in one}
    parts = [one for one in map(evaluated_by, metrics.values()) if one is not None]
    swept: dict[str, list[Any]] = {}
    for job in jobs:
        for key, value in (job.sweep_values or {}).items():
            swept.setdefault(key, []).append(value)
    return default(store.spec(jobs[0].id).resolved, swept, known, parts[0] if parts else None)
