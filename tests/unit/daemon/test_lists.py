"""What has ended, in the lists that are asked for: it is outlined, and read whole where it is shown."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gpujobs.config.settings import Settings
from gpujobs.daemon.build import build
from gpujobs.daemon.daemon import Daemon
from gpujobs.daemon.handlers import jobs as listed
from gpujobs.daemon.handlers import pieces
from gpujobs.daemon.keys import JOB_QUERIES
from gpujobs.daemon.server import make_application
from gpujobs.lifecycle import Finish
from gpujobs.model import Reason, State, utc_now
from gpujobs.paths import StatePaths
from gpujobs.store.store import Store
from tests.unit.daemon.test_rights_of_requests import ADMIN, Box
from tests.unit.store.jobs import DEVICE, A, B, complete, having, new_job


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """1 of a has completed, and of its sweep g2 the first, 2; 4 of b has failed; 3 and 5 wait."""
    box = Box(tmp_path)
    store = Store(StatePaths(tmp_path).database)
    sweep = [
        replace(new_job("s"), group="s", group_start=1, sweep_values={"training.seed": seed})
        for seed in (1, 2)
    ]
    store.submit(A, "k", [new_job("one"), *sweep])
    store.submit(B, "k", [new_job("hers"), new_job("waits")])
    complete(store, 2)
    complete(store, 4, Finish(State.FAILED, Reason.TIME_LIMIT, "too long"))
    complete(store, 1)
    store.close()
    return box


def jobs(box: Box, question: str) -> Any:
    answer = json.loads(box.ask(A, "GET", f"/v1/jobs?{question}"))
    return answer["total"], [job["id"] for job in answer["jobs"]]


def test_those_that_have_ended_are_the_oldest_first_before_the_others(box: Box) -> None:
    assert jobs(box, "all=1") == (5, [1, 2, 4, 3, 5])
    assert jobs(box, "all=1&limit=2") == (5, [1, 2])
    assert jobs(box, "all=1&newest=3") == (5, [4, 3, 5])
    assert jobs(box, "state=failed,completed") == (3, [1, 2, 4])
    assert jobs(box, "all=1&user=b") == (2, [4, 5])
    assert jobs(box, "all=1&name=s") == (2, [2, 3])
    assert jobs(box, "all=1&mine=1") == (3, [1, 2, 3])


def test_what_runs_comes_before_what_waits_and_that_in_its_turn(box: Box) -> None:
    store = Store(StatePaths(box.directory).database)
    (urgent,) = store.submit(A, "u", [having(new_job("urgent"), priority=2)])
    store.start_attempt(5, DEVICE)
    store.close()
    assert jobs(box, "") == (3, [5, urgent.id, 3])
    assert jobs(box, "all=1") == (6, [1, 2, 4, 5, urgent.id, 3])


def test_what_has_not_ended_is_of_any_time(box: Box) -> None:
    later = (utc_now() + timedelta(hours=1)).isoformat().replace("+", "%2B")
    assert jobs(box, f"since={later}") == (2, [3, 5])
    assert jobs(box, f"all=1&since={later}") == (2, [3, 5])
    assert jobs(box, f"own=1&mine=1&since={later}") == (0, [])


def test_since_an_instant_counts_when_a_job_has_ended(box: Box) -> None:
    instants = {number: ended(box, number)["ended_at"] for number in (1, 2, 4)}
    assert instants[2] <= instants[4] <= instants[1]
    for instant in instants.values():
        asked = instant.replace("+", "%2B")
        assert jobs(box, f"since={asked}&state=completed,failed")[1] == sorted(
            number for number, at in instants.items() if at >= instant
        )


def ended(box: Box, number: int) -> dict[str, Any]:
    job: dict[str, Any] = json.loads(box.ask(ADMIN, "GET", f"/v1/jobs/{number}"))["job"]
    return job


def test_an_ended_job_of_a_list_has_all_that_it_has_by_itself(box: Box) -> None:
    answer = json.loads(box.ask(ADMIN, "GET", "/v1/jobs?all=1"))
    for job in answer["jobs"]:
        assert job == ended(box, job["id"])
    assert answer["jobs"][0]["results"] == "/r" and answer["jobs"][2]["reason"] == "TimeLimit"


def test_the_queue_shows_ones_own_that_have_ended_first_and_a_sweep_in_one_row(box: Box) -> None:
    def rows(question: str) -> list[str]:
        seen = json.loads(box.ask(A, "GET", f"/v1/queue?{question}"))
        return [f"g{row['group']['id']}" if "group" in row else str(row["job"]["id"]) for row in seen["rows"]]

    assert rows("all=1") == ["g2", "5", "1", "4"]
    assert rows("all=1&unfold=1") == ["g2", "3", "2", "5", "1", "4"]
    assert rows("all=1&mine=1") == ["g2", "1"]


def test_all_results_are_listed_of_those_that_have_completed(box: Box) -> None:
    found = json.loads(box.ask(A, "GET", "/v1/results"))["results"]
    assert [entry["job"] for entry in found] == [1, 2]


def test_a_list_goes_on_without_what_is_pruned_while_it_is_written(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "BATCH", 1)

    async def written() -> bytes:
        daemon = build(Settings("personal", box.directory, box.directory / "socket"))
        queries = make_application(daemon, [])[JOB_QUERIES]
        parts = listed._parts(queries, A, queries.store.outlines(), 3)
        text = next(parts)
        daemon.store.pruning.delete([1, 4])
        text += b"".join(parts)
        await Daemon(daemon).close()
        return text

    assert [job["id"] for job in json.loads(asyncio.run(written()))["jobs"]] == [2]
