"""Results whose directory is not there any more, though nobody has removed them through gpujobs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpujobs.lifecycle import Finish
from gpujobs.model import Reason, State, utc_now
from gpujobs.paths import StatePaths
from gpujobs.store.store import Store
from tests.unit.daemon.test_rights_of_requests import Box
from tests.unit.store.jobs import DEVICE, A, new_job


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """Job 1 has its results, those of job 2 are gone."""
    store, root = Store(StatePaths(tmp_path).database), tmp_path / "results"
    for number in (1, 2):
        (job,) = store.submit(A, str(number), [new_job()])
        store.start_attempt(job.id, DEVICE)
        store.mark_running(job.id, 1, 7, utc_now())
        store.mark_completing(job.id, 1, {})
        store.finish(job.id, Finish(State.COMPLETED, Reason.NONE, ""), str(root / str(number)))
    (root / "1").mkdir(parents=True)
    (root / "1" / "history.csv").touch()
    store.close()
    return Box(tmp_path)


def test_who_asks_for_them_is_told(box: Box, tmp_path: Path) -> None:
    gone = f"there is no directory {tmp_path}/results/2 any more: it was removed or moved, or its disk is not mounted"
    assert box.ask(A, "GET", "/v1/results?ids=2") == f"machine: the results of job 2 are lost: {gone}"
    assert box.ask(A, "GET", "/v1/results/2/model.keras") == f"usage: {gone}"
    assert "history.csv does not exist" not in box.ask(A, "GET", "/v1/results/2/history.csv")


def test_the_list_has_the_others(box: Box) -> None:
    found = json.loads(box.ask(A, "GET", "/v1/results"))["results"]
    assert {one["job"]: [file["name"] for file in one["files"]] for one in found} == {
        1: ["history.csv"],
        2: [],
    }
