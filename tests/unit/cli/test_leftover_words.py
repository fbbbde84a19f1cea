"""Small words of the commands: counts in the right number, dates whole, a log that goes on, a wait that ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from gpujobs.cli import checking, embedded, output
from gpujobs.cli.commands import show
from gpujobs.demand import Demand
from gpujobs.errors import MachineError
from gpujobs.policy.inputs.pending_job import PendingJob
from gpujobs.policy.reasons import pending_reasons
from gpujobs.units import seconds, written
from tests.unit.cli.conftest import REPORT, ROOT, Cli, Protocol, job
from tests.unit.cli.rows import RUNNING, ended

WINDOW = {"length": 1, "horizon": 2, "stride": 1}


def data_line(**data: Any) -> str:
    report: dict[str, Any] = REPORT
    report = {**report, "data": {**report["data"], "window": WINDOW, "steps": ["1 hour"], **data}}
    return next(line for line in checking.report(report) if "series" in line)


def test_gaps_and_absent_rows_agree_in_number() -> None:
    assert "1 series, rows 1 hour apart, no gap; windows of 1 row, 2 ahead" in data_line(series=1, gaps=0)
    assert "1 gap (1 row is absent);" in data_line(series=1, gaps=1, absent_rows=1)
    assert "2 gaps (5 rows are absent);" in data_line(series=3, gaps=2, absent_rows=5)


@pytest.mark.parametrize("width", [80, 120])
def test_the_dates_of_attempts_are_whole_on_a_narrow_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    at = "2026-01-01T00:00:01.000000Z"
    attempt = {
        "number": 1, "node": "box", "device": {"kind": "gpu", "index": 0}, "started_at": at, "ended_at": at,
        "exit": {"code": None, "signal": "SIGKILL"}, "reason": "Preempted", "message": "for job 9 " * 9,
    }  # fmt: skip
    show._section("attempts", show._attempts([attempt]))
    said = capsys.readouterr().out
    assert said.count(output.local_time(at, "seconds")) == 2
    assert max(map(len, said.splitlines())) <= width


def test_a_held_job_is_held_once() -> None:
    reason = pending_reasons._own_wait(PendingJob(7, Demand(), user="a", submitted_at=None, held=True))
    held = job(7, reason=reason.reason, message=reason.message)
    assert output.progress(held) == "Held: `gpujobs release 7` lets it go"


@pytest.mark.parametrize("text", ["2h", "1h30m", "45s", "2d", "1d1h1m1s"])
def test_a_duration_is_written_as_it_is_read(text: str) -> None:
    assert written(seconds(text)) == text


def test_following_a_log_goes_on_with_the_next_attempt(cli: Cli, server: Protocol) -> None:
    server.jobs[1] = job(1, **{**RUNNING, "attempt": 1})
    server.changes = [
        {"state": "PENDING", "reason": "Retry", "message": "attempt 1 was stopped"},
        {"attempt": 2},
    ]
    server.later = [*server.changes, {**ended("COMPLETED"), "attempt": 2}]
    server.changes = [{}]
    done = cli("logs", "-f", 1)
    assert done.stdout == "line one\nline two\n" * 2
    assert "job 1 is queued again: Retry: attempt 1 was stopped" in done.stderr
    assert "attempt 2 of job 1:" in done.stderr
    asked = [query.get("attempt") for _, path, query in server.requests if path.endswith("/log")]
    assert asked == ["1", "2"]


def test_following_one_attempt_ends_with_it(cli: Cli, server: Protocol) -> None:
    server.jobs[1] = job(1, **{**RUNNING, "attempt": 2})
    assert cli("logs", "-f", "--attempt", 1, 1).stdout == "line one\nline two\n"


def test_the_log_of_an_ended_job_is_shown_once(cli: Cli, server: Protocol) -> None:
    server.jobs[1] = job(1, **{**ended("COMPLETED"), "attempt": 2})
    assert cli("logs", "-f", 1).stdout == "line one\nline two\n"


def test_a_daemon_that_never_answers_is_not_waited_for_without_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    read, write = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        with pytest.raises(MachineError, match=r"did not answer within 0\.2 s and was ended"):
            embedded._wait_ready(process, read, seconds=0.2)
        assert process.poll() is not None
        assert "has not answered yet" in capsys.readouterr().err
    finally:
        os.close(write)
        process.kill()
        process.wait()


def test_an_installation_into_a_pipe_says_a_line_now_and_then() -> None:
    """pip's own words, and then nothing for longer than the interval."""
    script = f"""
    . {ROOT}/scripts/lib/environment.sh
    {{ echo 'Collecting ray'; echo '  Downloading https://x.org/ray-2.whl (70 MB)'; sleep 2.5; }} | show_steps
    """
    environ = {**os.environ, "GPUJOBS_STEP_SECONDS": "1"}
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=environ, check=True, timeout=20
    )
    assert "1 packages fetched" not in done.stdout
    assert "1 package fetched, the last: Downloading ray-2.whl (70 MB)" in done.stdout
    assert 1 <= len(done.stdout.splitlines()) <= 3


def test_submit_says_what_of_the_data_is_left_out(cli: Cli, server: Protocol) -> None:
    (cli.directory / "a.yaml").write_text("x: 1")
    left = "d.csv: 30 rows in 2 series make 9 windows; left out: 1 group shorter than a window (b: 2 rows)."
    server.said_of_data = [
        "d.csv: 9 rows in 1 series make 5 windows.",
        left,
        *(f"class {n} is absent" for n in range(6)),
    ]
    assert "left out" not in cli("submit", "a.yaml").stdout, "nothing can be: nothing is looked at"
    assert not any(path == "/v1/check" for _, path, _ in server.requests)
    server.spec = {"data": {"window": {"length": 3}}}
    said = cli("submit", "a.yaml").stdout.splitlines()
    assert said[0].startswith("2 a queued")
    assert " ".join(" ".join(said[1:]).split()).startswith(f"{left} class 0 is absent")
    assert said[-1] == "  2 more: `gpujobs check a.yaml` has all"
    assert json.loads(cli("submit", "--json", "a.yaml").stdout)[0]["id"] == 3
