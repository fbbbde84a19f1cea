"""What `gpujobs show` says of a job's ends, its attempts and its results; what a list of new jobs says."""

from __future__ import annotations

from typing import Any

import pytest

from gpujobs.cli.commands import fetch, results, show, status, submit
from tests.unit.cli.conftest import Cli, Protocol, job
from tests.unit.cli.rows import RUNNING, ended

AT = "2026-01-01T00:00:01.000000Z"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, ""),
        ({"code": 0, "signal": None}, "code 0"),
        ({"code": 3, "signal": None}, "code 3"),
        ({"code": None, "signal": 9}, "signal 9"),
    ],
)
def test_an_exit_is_a_code_or_a_signal(value: dict[str, Any] | None, said: str) -> None:
    assert show._exit(value) == said


def test_progress_is_that_of_a_job_that_runs_and_an_end_has_a_reason() -> None:
    assert show._why(job(1)) == "waits because"
    assert show._why(job(1, **RUNNING)) == "progress"
    assert show._why(job(1, **{**RUNNING, **ended("FAILED")})) == "reason"
    assert show._why(job(1, **{**RUNNING, "progress": None})) == "reason"


def attempt(number: int, node: str = "box", trainer_of: int | None = None) -> dict[str, Any]:
    return {
        "number": number, "node": node, "device": {"kind": "gpu", "index": 0}, "started_at": AT, "ended_at": AT,
        "exit": None, "reason": "", "message": "", "trainer_of": trainer_of,
    }  # fmt: skip


def test_the_box_of_an_attempt_is_named_where_they_differ() -> None:
    assert not any("box:" in line for line in show._attempts([attempt(1), attempt(2)]))
    lines = show._attempts([attempt(1), attempt(2, "other")])
    assert [line.split()[1].partition(":")[0] for line in lines[1:]] == ["box", "other"]


def test_whose_trainer_it_had_is_that_of_its_latest_attempt() -> None:
    assert show._trainer([attempt(1, trainer_of=3), attempt(2, trainer_of=5)]) == (
        "that of job 5, which had completed"
    )
    assert show._trainer([attempt(1, trainer_of=3), attempt(2)]) is None
    assert show._trainer([]) is None


def test_results_that_were_removed_are_said_to_be(cli: Cli, server: Protocol) -> None:
    server.jobs[1] = job(1, **ended(), results_removed_at=AT)
    said = cli("show", 1, TZ="UTC").stdout
    assert (
        "results         removed on 2026-01-01" in said.replace("  removed", "removed")
        or "removed on" in said
    )


def test_of_twenty_new_jobs_each_is_a_line_and_of_more_one_is() -> None:
    jobs = [job(number) for number in range(1, 22)]
    assert len(submit._queued(jobs[:20])) == 20
    assert submit._queued(jobs) == ["21 jobs queued: 1 to 21"]


def test_a_start_that_is_near_is_no_news() -> None:
    """Of one that is far the time is said."""
    assert submit._when(job(1, expected_start="2999-01-01T00:00:00Z")).startswith(
        "; it should start at 2999-01-01"
    )
    assert submit._when(job(1, expected_start=AT)) == "" == submit._when(job(1))


@pytest.mark.parametrize(
    ("state", "files", "said"),
    [
        ("COMPLETED", ["model.keras"], ""),
        (
            "TIMEOUT",
            ["log.txt", "model.keras"],
            "(job 7 is TIMEOUT: the model is that of its last checkpoint)",
        ),
        ("FAILED", ["log.txt"], "(job 7 is FAILED: no model yet; `gpujobs requeue --finish 7` makes one)"),
        ("RUNNING", ["log.txt"], "(job 7 is RUNNING: no model yet; `gpujobs finish 7` makes one)"),
    ],
)
def test_what_was_fetched_of_a_job_that_has_not_completed(state: str, files: list[str], said: str) -> None:
    found = {"job": 7, "state": state, "files": [{"name": name} for name in files]}
    assert fetch._how_much(found).strip() == said


def test_a_loss_of_scaled_data_says_so() -> None:
    assert results._unit({"history": "the scaled target"}) == ["(of the scaled target)"]
    assert results._unit({"history": "kW"}) == [] == results._unit(None)


def test_a_table_that_is_whole_has_nothing_left_out() -> None:
    rows = [{"job": job(number)} for number in (1, 2)]
    assert not any(line.startswith("...") for line in status.lines(rows, 2))
    assert status.lines(rows, 5)[-1] == "... and 3 more (--limit 0 shows all, --json has them all)"
