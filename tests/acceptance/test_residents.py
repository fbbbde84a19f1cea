"""A trainer that has completed a job takes over the next of its user's, and nobody else's: a site, one slot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from .conftest import running
from .harness import ENDLESS, RunningDaemon, eventually, is_alive
from .people import Person, submit_as

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def daemon(alice: Person, bob: Person) -> Iterator[RunningDaemon]:
    with running(site=True, slots=1) as daemon:
        daemon.root.chmod(0o711)
        yield daemon


def results(daemon: RunningDaemon, job: int) -> tuple[dict[str, list[Any]], str]:
    directory = daemon.paths.result(job)
    with np.load(directory / "predictions.npz") as found:
        arrays = {name: found[name].tolist() for name in found.files}
    return arrays, (directory / "history.csv").read_text()


def test_the_next_job_of_one_user_goes_on_in_the_same_process_and_two_users_never_share_one(
    daemon: RunningDaemon, alice: Person, bob: Person
) -> None:
    """In this order: alice's, bob's, two of alice's."""
    blocking = daemon.submit_quick("blocking", units=3, epochs=ENDLESS)
    daemon.until_epoch(blocking, 1)
    jobs = [
        submit_as(person, daemon, f"{person.name}-{seed}", "--set", f"training.seed={seed}")
        for person, seed in ((alice, 1), (bob, 1), (alice, 2), (alice, 1))
    ]
    for priority, job in zip((40, 30, 20, 10), jobs, strict=True):
        daemon.cli("prioritize", job, priority, code=0)
    daemon.cli("cancel", blocking, code=0)
    for job in jobs:
        daemon.until(job, "COMPLETED")
    shown = [daemon.show(job)["attempts"][-1] for job in jobs]
    pids = [attempt["pid"] for attempt in shown]
    assert len({*pids[:3]}) == 3 and pids[3] == pids[2], pids
    assert [attempt["trainer_of"] for attempt in shown] == [None, None, None, jobs[2]]
    assert results(daemon, jobs[0]) == results(daemon, jobs[1]) == results(daemon, jobs[3])
    assert results(daemon, jobs[0]) != results(daemon, jobs[2])
    logs = [daemon.job_log(job) for job in jobs]
    assert logs[3] == logs[0] != ""
    assert f"that of job {jobs[2]}" in daemon.cli("show", jobs[3], code=0).stdout
    eventually(lambda: not any(map(is_alive, pids)), 5)
    assert not list(daemon.paths.residents.iterdir())
