"""Fairness over time, in simulation."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from gpujobs.policy import Rules, Snapshot
from gpujobs.policy.inputs.rules import DAY, HOUR, PriorityRules, Shares
from gpujobs.policy.virtual.virtual_time import Arrival, Engine

from .box import GIB, NOW, gpus, later, pending

GPUS = 4
USERS = "abcde"
RULES = Rules(priority=PriorityRules(half_life_seconds=DAY))


def saturating(seed: int) -> tuple[list[Arrival], dict[int, float]]:
    """Five users, each with more work than there is time, and how long each job takes.

    a comes first and with most jobs; the jobs of each user have lengths of their own.
    """
    chance = random.Random(seed)
    arrivals: list[Arrival] = []
    seconds: dict[int, float] = {}
    counts = {"a": 10_000, "b": 1_000, "c": 800, "d": 800, "e": 3_000}
    for number, user in enumerate(USERS):
        typical = chance.uniform(300, 2400)
        for _ in range(counts[user]):
            id = len(arrivals) + 1
            seconds[id] = chance.uniform(0.5, 1.5) * typical
            arrivals.append((later(60 * number), pending(id, 0, user=user, submitted_at=later(60 * number))))
    return arrivals, seconds


def gpu_seconds(engine: Engine, moments: list[datetime]) -> Iterator[dict[str, float]]:
    """What each user has had until each of the moments."""
    had = dict.fromkeys(USERS, 0.0)
    began: dict[int, tuple[str, datetime]] = {}
    owners: dict[int, str] = {}
    for step in engine.steps():
        while moments and step.at > moments[0]:
            so_far = dict(had)
            for user, since in began.values():
                so_far[user] += (moments[0] - since).total_seconds()
            yield so_far
            moments = moments[1:]
        if not moments:
            return
        owners.update((job.id, job.user) for job in step.submitted)
        for id in step.ended:
            user, since = began.pop(id)
            had[user] += (step.at - since).total_seconds()
        began.update((start.job, (owners[start.job], step.at)) for start in step.started)


@pytest.mark.parametrize("seed", range(5))
def test_after_one_half_life_nobody_is_more_than_a_tenth_off(seed: int) -> None:
    arrivals, seconds = saturating(seed)
    engine = Engine(Snapshot(NOW, (), gpus(GPUS), rules=RULES), lambda job: seconds[job.id], arrivals)
    moments = [NOW + timedelta(seconds=part * DAY) for part in (1.0, 1.3, 1.7, 2.0)]
    seen = list(gpu_seconds(engine, moments))
    assert len(seen) == 4
    for had in seen:
        fair = sum(had.values()) / len(USERS)
        assert all(abs(got / fair - 1) < 0.1 for got in had.values()), had


@pytest.mark.parametrize("seed", range(3))
def test_shares_are_kept_too(seed: int) -> None:
    rules = Rules(RULES.priority, Shares(users={"a": 0.5, "b": 2.0}))
    arrivals, seconds = saturating(seed)
    engine = Engine(Snapshot(NOW, (), gpus(GPUS), rules=rules), lambda job: seconds[job.id], arrivals)
    (had,) = gpu_seconds(engine, [NOW + timedelta(seconds=2 * DAY)])
    weights = {"a": 0.5, "b": 2.0, "c": 1.0, "d": 1.0, "e": 1.0}
    for user, weight in weights.items():
        fair = sum(had.values()) * weight / sum(weights.values())
        assert abs(had[user] / fair - 1) < 0.1, had


@pytest.mark.parametrize("memory", [None, 8 * GIB], ids=["whole", "packed"])
@pytest.mark.parametrize("hours", [0.1, 5, 40])
def test_ten_thousand_jobs_delay_another_users_first_job_by_one_end_at_most(
    hours: float, memory: int | None
) -> None:
    chance = random.Random(hours)
    arrivals: list[Arrival] = [
        (NOW, pending(id, 0, user="a", submitted_at=NOW, gpu_memory=memory)) for id in range(1, 10_001)
    ]
    at = later(hours * HOUR)
    arrivals.append((at, pending(10_001, 0, user="b", submitted_at=at, gpu_memory=memory)))
    snapshot = Snapshot(NOW, (), gpus(GPUS))
    engine = Engine(snapshot, lambda _: chance.uniform(0.5, 1.5) * HOUR, arrivals)
    ends_after = 0
    for step in engine.steps():
        if step.at > at:
            ends_after += bool(step.ended)
        if 10_001 in {start.job for start in step.started}:
            break
    assert ends_after <= 1


def test_a_whole_device_comes_free_although_small_jobs_never_end_to_come() -> None:
    """One device's jobs end, none is refilled meanwhile: then the other user's large job starts."""
    chance = random.Random(0)
    arrivals: list[Arrival] = [(NOW, pending(id, 0, user="a", gpu_memory=8 * GIB)) for id in range(1, 2_001)]
    at = later(5 * HOUR)
    arrivals.append((at, pending(2_001, 0, user="b")))
    engine = Engine(Snapshot(NOW, (), gpus(GPUS)), lambda _: chance.uniform(0.5, 1.5) * HOUR, arrivals)
    for step in engine.steps():
        if 2_001 in {start.job for start in step.started}:
            break
    assert (step.at - at).total_seconds() <= 1.5 * HOUR
