"""What the policy is shown is what is so, and what a submission is told is what is so by then."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gpujobs.config.settings import Settings
from gpujobs.daemon.build import Parts, build
from gpujobs.daemon.daemon import Daemon
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.jobs.submissions import SubmissionBody
from gpujobs.daemon.jobs.submit import Submitted
from gpujobs.daemon.snapshot_builder import expected_end
from gpujobs.demand import Demand
from gpujobs.errors import UsageError
from gpujobs.model import Node, NodeStatus, utc_now
from gpujobs.policy import Reservation, Rules, decide
from gpujobs.policy.inputs.rules import Limits, PriorityRules, UserLimits
from gpujobs.store.store import Store
from tests.unit.daemon.views import GPU, view_of
from tests.unit.store.jobs import A, B, having, new_job

NODES = [Node("n", NodeStatus.OK, "", (GPU, replace(GPU, index=1, uuid="GPU-1")))]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "s.db")


def starts(store: Store) -> list[tuple[int, str]]:
    """What a daemon would start that has just read this store."""
    decision = decide(view_of(store, JobCache(store.unfinished())).snapshot(NODES))
    return [(one.job, one.device_uuid) for one in decision.starts]


def test_what_is_drained_reserved_held_or_taken_gets_no_job(store: Store) -> None:
    store.submit(A, "1", [new_job(), new_job(held=True), new_job(after=(1,))])
    store.submit(B, "2", [having(new_job(), begin_at=utc_now() + timedelta(hours=1)), new_job()])
    assert starts(store) == [(1, "GPU-0"), (5, "GPU-1")]
    store.devices.drain("GPU-0", "noisy fan", "root")
    assert starts(store) == [(1, "GPU-1")]
    now = utc_now()
    store.reservations.add(
        Reservation(0, "GPU-1", now - timedelta(minutes=1), now + timedelta(hours=1), "b", None), "root"
    )
    assert starts(store) == [(5, "GPU-1")]
    store.start_attempt(5, NODES[0].devices[1])
    assert starts(store) == []
    store.devices.resume("GPU-0", "root", ())
    assert starts(store) == [(1, "GPU-0")]


def test_time_limits_count_from_when_the_trainer_has_begun(store: Store) -> None:
    store.submit(A, "1", [having(new_job(), time_limit_seconds=100.0)])
    waits = store.start_attempt(1, GPU)
    begun = utc_now() + timedelta(minutes=5)
    runs = store.mark_running(1, 1, 99, begun)
    assert waits.current is not None
    assert expected_end(waits, None) == waits.current.started_at + timedelta(seconds=100)
    assert expected_end(runs, None) == begun + timedelta(seconds=100)
    assert expected_end(replace(runs, demand=Demand()), None) is None


TEXT = "name: j\ndata: {train: d.npz}\nmodel: {layers: [LSTM: {units: 2}, Dense: {units: 1}]}\ntraining: {loss: mse}\n"


@pytest.fixture
def submitting(tmp_path: Path) -> Callable[..., list[int]]:
    """Submits so many jobs of a daemon that allows ten that wait, and classes up to 2."""

    async def submit(parts: Parts, count: int, key: str, **options: object) -> list[int]:
        digest = "0" * 64
        place = parts.paths.data(A.uid, digest)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"x")
        parts.store.uploads.add(A.uid, digest, 1)
        parts.in_force.rules = Rules(
            priority=PriorityRules(max_priority=2), limits=Limits(UserLimits(max_waiting=10))
        )
        file = {"path": "j.yaml", "text": TEXT, "data": {"d.npz": {"sha256": digest, "bytes": 1}}}
        body = SubmissionBody.model_validate(
            {"request_key": key, "files": [file] * count, "options": options}
        )
        parts.dispatcher.draining = True
        made = await parts.submissions.submit(A, body, key)
        assert isinstance(made, Submitted), made
        return [job.id for job in made.jobs]

    def several(*asked: tuple[int, dict[str, object]]) -> list[int]:
        async def work() -> list[int]:
            parts = build(Settings("personal", tmp_path, tmp_path / "socket"))
            try:
                found = [
                    id
                    for count, options in asked
                    for id in await submit(parts, count, uuid.uuid4().hex, **options)
                ]
            finally:
                await Daemon(parts).close()
            return found

        return asyncio.run(work())

    return several


def test_those_that_wait_count_for_how_many_may(submitting: Callable[..., list[int]]) -> None:
    assert submitting((7, {}), (3, {})) == list(range(1, 11))
    with pytest.raises(UsageError, match="1 job submitted while 10 of yours wait; at most 10 may wait"):
        submitting((1, {}))


def test_what_the_site_does_not_allow_is_refused(submitting: Callable[..., list[int]]) -> None:
    assert submitting((1, {"priority": 2})) == [1]
    with pytest.raises(UsageError, match="the priority is 3; at most 2 is allowed"):
        submitting((1, {"priority": 3}))
    with pytest.raises(UsageError, match="past"):
        submitting((1, {"begin_at": "2020-01-01T00:00:00Z"}))
