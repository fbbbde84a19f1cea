"""Runs a trace through the policy and records what became of each job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gpujobs.model import Device, DeviceKind, Node, NodeStatus
from gpujobs.policy.inputs.pending_job import PendingJob
from gpujobs.policy.inputs.rules import Rules
from gpujobs.policy.inputs.snapshot import Snapshot
from gpujobs.policy.users.fairshare import device_share, normalised_shares
from gpujobs.policy.virtual.virtual_time import Engine, Step
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


@dataclass(frozen=True, slots=True)
class Fairness:
    """GPU-seconds while jobs of the user waited: what the user got, and what the user was entitled to of
    all that those got whose jobs waited then."""

    received: float
    entitled: float


@dataclass(frozen=True, slots=True)
class Replay:
    gpus: int
    records: Sequence[Record]
    samples: Sequence[Sample]
    fairness: dict[str, Fairness]


def replay(trace: Sequence[Submission], rules: Rules, gpus: int, memory_bytes: int) -> Replay:
    """`trace` is in order of time and not empty; each of the `gpus` has `memory_bytes`."""
    jobs = [_waiting(number, one) for number, one in enumerate(trace, 1)]
    devices = tuple(
        Device("simulated", DeviceKind.GPU, index, f"GPU-{index}", "simulated", memory_bytes, 0)
        for index in range(gpus)
    )
    groups: dict[str, tuple[str, ...]] = {one.user: (one.group,) for one in trace if one.group is not None}
    nodes = (Node("simulated", NodeStatus.OK, "", devices),)
    start = _at(trace[0].submit_seconds)
    records = [Record(one) for one in trace]
    engine = Engine(
        Snapshot(start, (), nodes, rules=rules, groups=groups),
        lambda job: records[job.id - 1].run_seconds,
        ((_at(one.submit_seconds), job) for one, job in zip(trace, jobs, strict=True)),
    )
    recorder = Recorder(engine, records, rules, groups, memory_bytes)
    for step in engine.steps():
        recorder.record(step)
    return recorder.result(gpus)


class Recorder:
    """Follows an engine, step by step."""

    def __init__(
        self,
        engine: Engine,
        records: Sequence[Record],
        rules: Rules,
        groups: Mapping[str, tuple[str, ...]],
        memory_bytes: int,
    ) -> None:
        self._engine = engine
        self._rules = rules
        self._groups = groups
        self._memory_bytes = memory_bytes
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
            self._hold(start.job, device_share(start.gpu_memory_bytes, self._memory_bytes))
        running = self._engine.running.values()
        busy = len({one.device_uuid for one in running})
        self._samples.append(Sample(seconds, busy, len(running), len(self._engine.queue)))
        self._competing = frozenset(self._engine.queue.users)

    def result(self, gpus: int) -> Replay:
        users = sorted({record.submission.user for record in self._records})
        fairness = {
            user: Fairness(self._received.get(user, 0.0), self._entitled.get(user, 0.0)) for user in users
        }
        return Replay(gpus, self._records, self._samples, fairness)

    def _hold(self, job: int, share: float) -> None:
        user = self._records[job - 1].submission.user
        change = share - self._shares.pop(job, 0.0)
        self._held[user] = self._held.get(user, 0.0) + change
        if share:
            self._shares[job] = share

    def _pass_time(self, seconds: float) -> None:
        """What those who had jobs waiting got since the last step is what they compete for."""
        competing = self._competing
        if not competing:
            return
        passed = seconds - self._samples[-1].seconds
        if competing not in self._entitlements:
            self._entitlements[competing] = normalised_shares(competing, self._groups, self._rules.shares)
        given = passed * sum(self._held.get(user, 0.0) for user in competing)
        for user, share in self._entitlements[competing].items():
            self._received[user] = self._received.get(user, 0.0) + passed * self._held.get(user, 0.0)
            self._entitled[user] = self._entitled.get(user, 0.0) + share * given


def _waiting(number: int, one: Submission) -> PendingJob:
    return PendingJob(
        id=number,
        demand=one.demand,
        user=one.user,
        submitted_at=_at(one.submit_seconds),
    )


def _at(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=seconds)
