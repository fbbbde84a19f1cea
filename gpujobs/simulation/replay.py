"""Runs a trace through the policy and records what became of each job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from gpujobs.model import Node, NodeStatus
from gpujobs.policy.inputs.pending_job import PendingJob
from gpujobs.policy.inputs.rules import Rules
from gpujobs.policy.inputs.snapshot import Snapshot
from gpujobs.policy.users.fairshare import device_share, normalised_shares
from gpujobs.policy.virtual.virtual_time import Engine, Step
from gpujobs.simulation.nodes import Site
from gpujobs.simulation.trace import Submission

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Record:
    """One job. Seconds count as the trace's do; None: it has not come to that."""

    submission: Submission
    started_seconds: float | None = None
    """Of the first start."""
    ended_seconds: float | None = None
    preemptions: int = 0
    """Also where its node went."""
    node: str | None = None
    """Of the last start."""
    share: float = 0.0
    """Of its device, as of the last start."""

    @property
    def run_seconds(self) -> float:
        """How long it runs in all, unless its time limit ends it before."""
        one = self.submission
        return min(one.duration_seconds, one.demand.time_limit_seconds or one.duration_seconds)


@dataclass(frozen=True, slots=True)
class Sample:
    """What is there from this instant until the next sample."""

    seconds: float
    busy_gpus: int
    running: int
    waiting: int
    gpus: int = 0
    """Of the nodes that are there."""


@dataclass(frozen=True, slots=True)
class Fairness:
    """GPU-seconds while jobs of the user waited: what the user got, and what the user was entitled to of
    all that those got whose jobs waited then."""

    received: float
    entitled: float


@dataclass(frozen=True, slots=True)
class Replay:
    """`busy_seconds`: of the devices of each node, in which a job was there; `there_seconds`: in which they were."""

    gpus: int
    records: Sequence[Record]
    samples: Sequence[Sample]
    fairness: dict[str, Fairness]
    nodes: Sequence[Node] = ()
    busy_seconds: Mapping[str, float] = field(default_factory=dict)
    there_seconds: Mapping[str, float] = field(default_factory=dict)


def replay_on(trace: Sequence[Submission], rules: Rules, site: Site) -> Replay:
    """`trace` is in order of time and not empty."""
    jobs = [_waiting(number, one) for number, one in enumerate(trace, 1)]
    groups: dict[str, tuple[str, ...]] = {one.user: (one.group,) for one in trace if one.group is not None}
    start = trace[0].submit_seconds
    records = [Record(one) for one in trace]
    engine = Engine(
        Snapshot(_at(start), (), site.at(start), rules=rules, groups=groups),
        lambda job: records[job.id - 1].run_seconds,
        ((_at(one.submit_seconds), job) for one, job in zip(trace, jobs, strict=True)),
        changes=[(_at(border), site.at(border)) for border in site.borders if border > start],
    )
    recorder = Recorder(engine, records, rules, groups, site)
    for step in engine.steps():
        recorder.record(step)
    return recorder.result()


class Recorder:
    """Follows an engine, step by step."""

    def __init__(
        self,
        engine: Engine,
        records: Sequence[Record],
        rules: Rules,
        groups: Mapping[str, tuple[str, ...]],
        site: Site,
    ) -> None:
        self._engine = engine
        self._rules = rules
        self._groups = groups
        self._site = site
        self._memory = {one.uuid: one.memory_total_bytes for node in site.nodes for one in node.devices}
        self._busy: Counter[str] = Counter()
        """Devices in use at the last step, by node."""
        self._there: dict[str, int] = {}
        """Devices of the nodes that were there at the last step."""
        self._busy_seconds: dict[str, float] = {}
        self._there_seconds: dict[str, float] = {}
        self._records = records
        self._samples: list[Sample] = []
        self._competing: frozenset[str] = frozenset()
        """The users whose jobs wait."""
        self._shares: dict[int, float] = {}
        """The part of a device that each running job holds."""
        self._held: dict[str, float] = {}
        """The sum of these, by user."""
        self._received: dict[str, float] = {}
        self._entitled: dict[str, float] = {}
        self._entitlements: dict[frozenset[str], dict[str, float]] = {}
        """Normalised shares, by who competes."""

    def record(self, step: Step) -> None:
        seconds = (step.at - EPOCH).total_seconds()
        self._pass_time(seconds)
        for job in (*step.ended, *step.stopped):
            self._hold(job, 0.0)
        for job in step.ended:
            self._records[job - 1].ended_seconds = seconds
        for job in step.stopped:
            self._records[job - 1].preemptions += 1
        for start in step.started:
            record = self._records[start.job - 1]
            if record.started_seconds is None:
                record.started_seconds = seconds
            record.node = start.node
            record.share = device_share(start.gpu_memory_bytes, self._memory.get(start.device_uuid))
            self._hold(start.job, record.share)
        running = self._engine.running.values()
        self._busy = Counter(node for node, _ in {(one.node, one.device_uuid) for one in running})
        self._there = {
            node.name: len(node.devices) for node in self._site.at(seconds) if node.status is NodeStatus.OK
        }
        busy, gpus = self._busy.total(), sum(self._there.values())
        self._samples.append(Sample(seconds, busy, len(running), len(self._engine.queue), gpus))
        self._competing = frozenset(self._engine.queue.users)

    def result(self) -> Replay:
        users = sorted({record.submission.user for record in self._records})
        fairness = {
            user: Fairness(self._received.get(user, 0.0), self._entitled.get(user, 0.0)) for user in users
        }
        gpus = max(sample.gpus for sample in self._samples)
        return Replay(
            gpus,
            self._records,
            self._samples,
            fairness,
            self._site.nodes,
            self._busy_seconds,
            self._there_seconds,
        )

    def _hold(self, job: int, share: float) -> None:
        user = self._records[job - 1].submission.user
        change = share - self._shares.pop(job, 0.0)
        self._held[user] = self._held.get(user, 0.0) + change
        if share:
            self._shares[job] = share

    def _pass_time(self, seconds: float) -> None:
        """What those who had jobs waiting got since the last step is what they compete for."""
        competing = self._competing
        passed = seconds - self._samples[-1].seconds if self._samples else 0.0
        self._count(passed)
        if not competing:
            return
        if competing not in self._entitlements:
            self._entitlements[competing] = normalised_shares(competing, self._groups, self._rules.shares)
        given = passed * sum(self._held.get(user, 0.0) for user in competing)
        for user, share in self._entitlements[competing].items():
            self._received[user] = self._received.get(user, 0.0) + passed * self._held.get(user, 0.0)
            self._entitled[user] = self._entitled.get(user, 0.0) + share * given

    def _count(self, passed: float) -> None:
        for sums, devices in ((self._busy_seconds, self._busy), (self._there_seconds, self._there)):
            for node, count in devices.items():
                sums[node] = sums.get(node, 0.0) + passed * count


def _waiting(number: int, one: Submission) -> PendingJob:
    return PendingJob(
        id=number,
        demand=one.demand,
        user=one.user,
        submitted_at=_at(one.submit_seconds),
    )


def _at(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=seconds)
