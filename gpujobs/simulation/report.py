"""What a replay shows: waits, slowdown, utilisation, fairness by user.

Bounded slowdown is max((wait + run) / max(run, 10 s), 1), after D. Feitelson et al., "Theory and Practice in
Parallel Job Scheduling", JSSPP 1997, LNCS 1291: without the bound, jobs of a few seconds outweigh all others.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gpujobs.policy.inputs.text import count
from gpujobs.simulation.replay import Record, Replay

SHORTEST_RUN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Summary:
    """None where there is no value."""

    median: float | None
    p95: float | None
    max: float | None


@dataclass(frozen=True, slots=True)
class UserReport:
    user: str
    jobs: int
    wait_seconds: Summary
    slowdown: Summary
    gpu_seconds: float
    """Of ended jobs; a packed one counts for its part of the device's memory."""
    share: float | None
    """Of all that went to users while jobs of theirs waited, what this one got. None: never waited."""
    entitled_share: float | None
    """And what this one was entitled to by the site's shares."""


@dataclass(frozen=True, slots=True)
class NodeReport:
    node: str
    gpus: int
    jobs: int
    """That ended there."""
    gpu_seconds: float
    """In which a job was on one of its devices."""
    utilisation: float | None
    """The part of the time that its devices were there; None: they never were."""


@dataclass(frozen=True, slots=True)
class Report:
    gpus: int
    """The most that were there at once."""
    jobs: int
    never_started: int
    preemptions: int
    span_seconds: float
    """From the first submission to the last event."""
    utilisation: float
    """The part of all device time in which a job was on the device."""
    wait_seconds: Summary
    """From submission to the first start."""
    slowdown: Summary
    users: Sequence[UserReport]
    """Those who used most come first."""
    nodes: Sequence[NodeReport] = ()

    @property
    def title(self) -> str:
        jobs, users = count(self.jobs, "job"), count(len(self.users), "user")
        nodes = f" of {len(self.nodes)} nodes" if len(self.nodes) > 1 else ""
        return f"{jobs} of {users} on {count(self.gpus, 'GPU')}{nodes}"


def report(replay: Replay) -> Report:
    by_user: dict[str, list[Record]] = {}
    for record in replay.records:
        by_user.setdefault(record.submission.user, []).append(record)
    contended = math.fsum(one.received for one in replay.fairness.values())
    users = [_user(user, records, replay, contended) for user, records in by_user.items()]
    span = replay.samples[-1].seconds - replay.samples[0].seconds
    there = math.fsum(replay.there_seconds.values())
    return Report(
        gpus=replay.gpus,
        jobs=len(replay.records),
        never_started=sum(record.started_seconds is None for record in replay.records),
        preemptions=sum(record.preemptions for record in replay.records),
        span_seconds=span,
        utilisation=math.fsum(replay.busy_seconds.values()) / there if there else 0.0,
        wait_seconds=summary(waits(replay.records)),
        slowdown=summary(slowdowns(replay.records)),
        users=sorted(users, key=lambda one: (-one.gpu_seconds, one.user)),
        nodes=_nodes(replay),
    )


def _nodes(replay: Replay) -> list[NodeReport]:
    jobs = Counter(record.node for record in replay.records if record.ended_seconds is not None)
    found = []
    for node in replay.nodes:
        busy, there = (one.get(node.name, 0.0) for one in (replay.busy_seconds, replay.there_seconds))
        found.append(
            NodeReport(node.name, len(node.devices), jobs[node.name], busy, busy / there if there else None)
        )
    return found


def waits(records: Iterable[Record]) -> list[float]:
    return [
        record.started_seconds - record.submission.submit_seconds
        for record in records
        if record.started_seconds is not None
    ]


def slowdowns(records: Iterable[Record]) -> list[float]:
    return [
        bounded_slowdown(record.ended_seconds - record.submission.submit_seconds, record.run_seconds)
        for record in records
        if record.ended_seconds is not None
    ]


def bounded_slowdown(response_seconds: float, run_seconds: float) -> float:
    """`response_seconds`: from submission to the end."""
    return max(response_seconds / max(run_seconds, SHORTEST_RUN_SECONDS), 1.0)


def summary(values: Sequence[float]) -> Summary:
    ordered = sorted(values)
    return Summary(*(quantile(ordered, q) for q in (0.5, 0.95, 1.0)))


def quantile(ordered: Sequence[float], q: float) -> float | None:
    """The smallest value that at least the part `q` of all does not exceed (nearest rank)."""
    return ordered[max(math.ceil(q * len(ordered)), 1) - 1] if ordered else None


def _user(user: str, records: Sequence[Record], replay: Replay, contended: float) -> UserReport:
    fairness = replay.fairness[user]
    return UserReport(
        user=user,
        jobs=len(records),
        wait_seconds=summary(waits(records)),
        slowdown=summary(slowdowns(records)),
        gpu_seconds=math.fsum(
            record.run_seconds * record.share for record in records if record.ended_seconds is not None
        ),
        share=fairness.received / contended if fairness.entitled else None,
        entitled_share=fairness.entitled / contended if fairness.entitled else None,
    )
