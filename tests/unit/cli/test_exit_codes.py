"""Exit codes, and the shapes of what `--json` prints: what scripts build on."""

from __future__ import annotations

import json
import signal
import stat
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gpujobs.cli.commands import submit as submitting
from gpujobs.cli.main import cli as program
from gpujobs.client import Client
from gpujobs.errors import Interrupted
from tests.unit.cli.conftest import Cli, Protocol, job
from tests.unit.cli.rows import RUNNING, ended
from tests.unit.cli.sweeps import sweep


@pytest.fixture
def here(cli: Cli, server: Protocol, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """The commands in this process, where what they call can be exchanged."""
    monkeypatch.setenv("GPUJOBS_STATE_DIR", str(cli.directory))
    monkeypatch.chdir(cli.directory)
    (cli.directory / "a.yaml").write_text("x: 1")
    return CliRunner()


def test_wait_prints_an_array_whatever_came_of_the_jobs(cli: Cli, server: Protocol) -> None:
    server.jobs = {1: job(1, **ended()), 2: job(2, **ended("FAILED"))}
    done = cli("wait", 2, 1, "--json")
    found = [(one["id"], one["state"]) for one in json.loads(done.stdout)]
    assert (done.returncode, found) == (1, [(2, "FAILED"), (1, "COMPLETED")])
    done = cli("wait", 1, "--json")
    assert (done.returncode, [one["id"] for one in json.loads(done.stdout)]) == (0, [1])


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ({1: "COMPLETED", 2: "RUNNING"}, "job 2 has not ended after 90 s; it goes on."),
        ({1: "PENDING", 2: "RUNNING"}, "jobs 1, 2 have not ended after 90 s; they go on."),
    ],
)
def test_who_waits_in_vain_is_told_for_which_jobs_with_code_1(
    here: CliRunner, monkeypatch: pytest.MonkeyPatch, states: dict[int, str], said: str
) -> None:
    """The clock is not waited for: its signal is sent, as the kernel would."""

    def watch(_: Client, ids: object) -> Iterator[dict[str, Any]]:
        yield from (job(number, state=state) for number, state in states.items())
        assert 80 < signal.getitimer(signal.ITIMER_REAL)[0] <= 90
        signal.raise_signal(signal.SIGALRM)

    monkeypatch.setattr(Client, "watch", watch)
    try:
        done = here.invoke(program, ["wait", "1", "2", "--timeout", "90"])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", f"gpujobs: {said}\n")


def test_nothing_to_wait_for_or_to_show_is_a_usage_error(cli: Cli, server: Protocol) -> None:
    """Not a success: a script would take what it looks for as done."""
    for command in ("wait", "show"):
        done = cli(command, "--user", "nobody")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("gpujobs: no job is as asked for (--user nobody)")


def test_submit_prints_the_new_jobs_alone_and_how_they_did_by_its_code(cli: Cli, server: Protocol) -> None:
    for name in "ab":
        (cli.directory / f"{name}.yaml").write_text("x: 1")
    done = cli("submit", "a.yaml", "b.yaml", "--json")
    assert [one["name"] for one in json.loads(done.stdout)] == ["a", "b"]
    assert (done.returncode, done.stderr) == (0, "")
    server.outcome = ended("FAILED")
    done = cli("submit", "a.yaml", "--follow", "--json")
    assert (done.returncode, [one["id"] for one in json.loads(done.stdout)]) == (1, [3])
    assert "job 3 a: FAILED" in done.stderr
    server.outcome = ended()
    assert cli("submit", "a.yaml", "--follow").returncode == 0


def test_to_follow_and_to_wait_is_too_much(cli: Cli, server: Protocol) -> None:
    (cli.directory / "a.yaml").write_text("x: 1")
    done = cli("submit", "a.yaml", "--follow", "--wait")
    assert (done.returncode, server.requests) == (2, [])
    assert "expected --follow or --wait, not both" in done.stderr


@pytest.mark.parametrize("command", ["submit", "run"])
def test_ctrl_c_while_jobs_are_handed_over_is_130(
    here: CliRunner, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def cut(*_: Any, **__: Any) -> None:
        raise Interrupted([job(7, name="a")])

    monkeypatch.setattr("gpujobs.client.delivery.deliver", cut)
    done = here.invoke(program, [command, "a.yaml"])
    assert (done.exit_code, done.stdout) == (130, "")
    assert "but these were queued" in done.stderr and "7 a queued" in done.stderr


def test_what_stands_beside_a_file_is_sent_as_it_was_said(cli: Cli, server: Protocol) -> None:
    """Nothing of what was not said, and 0 where that was."""
    (cli.directory / "a.yaml").write_text("x: 1")
    said = ["--priority", 0, "--retries", 0, "--set", "name=a=b", "--set", " training.epochs =5"]
    assert cli("submit", "a.yaml", *said).returncode == 0
    (body,) = [what for method, path, what in server.requests if (method, path) == ("POST", "/v1/jobs")]
    assert body["options"] == {"priority": 0, "retries": 0}
    assert body["set"] == {"name": "a=b", "training.epochs": "5"}
    for wrong in ("epochs", "=5", " =5"):
        assert cli("submit", "a.yaml", "--set", wrong).returncode == 2


def test_run_prints_the_jobs_as_they_are_at_the_end(cli: Cli, server: Protocol) -> None:
    (cli.directory / "a.yaml").write_text("x: 1")
    server.outcome, server.histories = ended(), {1: "epoch,loss\n0,1\n1,2\n", 2: "epoch,loss\n0,1\n1,2\n"}
    done = cli("run", "a.yaml", "--json", "--plot")
    assert (done.returncode, [one["state"] for one in json.loads(done.stdout)]) == (0, ["COMPLETED"])
    assert "job 1 a: COMPLETED" in done.stderr
    done = cli("run", "a.yaml", "--plot")
    assert (done.returncode, "2 a, 2 epochs" in done.stdout) == (0, True)
    server.outcome = ended("FAILED")
    done = cli("run", "a.yaml", "--json")
    assert (done.returncode, [one["state"] for one in json.loads(done.stdout)]) == (1, ["FAILED"])


def test_fetch_prints_an_object_of_a_job_and_an_array_of_several(cli: Cli, server: Protocol) -> None:
    sweep(server, "COMPLETED", "COMPLETED")
    server.files = {"a": b"x"}
    of_one = json.loads(cli("fetch", 1, "one", "--json").stdout)
    assert of_one == {
        "job": 1, "directory": str(cli.directory / "one"), "files": [{"name": "a", "bytes": 1}],
    }  # fmt: skip
    of_both = json.loads(cli("fetch", "g1", "all", "--json").stdout)
    assert [one["directory"] for one in of_both] == [
        str(cli.directory / "all" / f"{n}-sweep-{n}") for n in (1, 2)
    ]
    (cli.directory / "all/1-sweep-1/a").unlink()
    done = cli("fetch", "g1", "all")
    assert done.returncode == 2 and "2-sweep-2 exists and has a" in done.stderr
    assert not (cli.directory / "all/1-sweep-1/a").exists(), "before anything is copied"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("1", "there", "--into", "here"), "expected DIR or --into, not both"),
        ((), "expected a job, a group, or options that choose some"),
        (("1", "--metric", "loss"), "say what --best is; expected that too"),
        (("1", "--best"), "--best is of a group; expected its id"),
    ],
)
def test_what_fetch_makes_no_sense_of(
    cli: Cli, server: Protocol, arguments: tuple[str, ...], said: str
) -> None:
    server.jobs[1] = job(1, **ended())
    server.files = {"a": b"x"}
    done = cli("fetch", *arguments)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert [path.name for path in cli.directory.iterdir()] == ["gpujobs.sock"]


def test_what_was_fetched_is_its_callers_to_share_and_what_was_not_leaves_nothing(
    here: CliRunner, cli: Cli, server: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.jobs[1] = job(1, **{**ended(), "name": "a/b c"})
    server.files = {"a": b"x"}
    assert here.invoke(program, ["fetch", "1"]).exit_code == 0
    umask = next(
        int(line.split()[1], 8)
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("Umask:")
    )
    assert stat.S_IMODE((cli.directory / "1-a_b_c").stat().st_mode) == 0o777 & ~umask

    def cut(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gpujobs.cli.commands.fetch._download", cut)
    assert here.invoke(program, ["fetch", "1", "another"]).exit_code == 130
    assert sorted(path.name for path in cli.directory.iterdir()) == ["1-a_b_c", "a.yaml", "gpujobs.sock"]


class Cut:
    """Of five bytes three come."""

    size_bytes = 5

    def __init__(self) -> None:
        self._pieces = [b"abc", b""]

    def read1(self) -> bytes:
        return self._pieces.pop(0)


def test_a_file_that_comes_cut_short_is_no_result(
    here: CliRunner, cli: Cli, server: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.jobs[1] = job(1, **ended())
    server.files = {"a": b"abcde"}
    monkeypatch.setattr(Client, "open", lambda *_, **__: nullcontext(Cut()))
    done = here.invoke(program, ["fetch", "1"])
    assert (done.exit_code, done.stderr) == (3, "gpujobs: a ended after 3 of 5 bytes; try again.\n")
    assert sorted(path.name for path in cli.directory.iterdir()) == ["a.yaml", "gpujobs.sock"]


def test_results_print_an_array_of_jobs_and_the_ranking_of_a_group(cli: Cli, server: Protocol) -> None:
    server.jobs = {1: job(1, **ended()), 2: job(2, **ended())}
    assert [one["job"] for one in json.loads(cli("results", "--json").stdout)] == [1, 2]
    assert [one["job"] for one in json.loads(cli("results", 1, "--json").stdout)] == [1]
    asked = [query.get("own") for _, path, query in server.requests if path == "/v1/results"]
    assert asked == [None, "1"], "of those that were chosen, one's own"
    server.refusals = {("GET", "/v1/results"): (200, {"results": []})}
    assert cli("results", 1).returncode == 2
    done = cli("results")
    assert (done.returncode, done.stdout.startswith("no results yet")) == (0, True)
    assert json.loads(cli("results", "--json").stdout) == []


def test_a_log_without_a_line_says_how_the_job_is(cli: Cli, server: Protocol) -> None:
    server.jobs[1] = job(1, reason="Held", message="x")
    assert cli("logs", 1, "--tail", 0).stderr == ""
    asked = [query for _, path, query in server.requests if path.endswith("/log")]
    assert asked == [{"tail": "0"}]
    server.refusals = {("GET", "/v1/jobs/1/log"): (200, b"")}
    done = cli("logs", 1)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "gpujobs: job 1 is PENDING and has no log yet: Held: x\n"
    assert cli("logs", 1, "--tail", 0).stderr == "", "nothing was asked for"
    server.jobs[1] = job(1, **ended("FAILED"))
    assert cli("logs", 1).stderr == "gpujobs: job 1 is FAILED and has no log\n"


def test_status_asks_for_what_was_said_and_tells_notices_beside_the_table(cli: Cli, server: Protocol) -> None:
    server.jobs[1] = job(1, **RUNNING)
    cli("status")
    cli("status", "--all")
    asked = [query.get("all") for _, path, query in server.requests if path == "/v1/queue"]
    assert asked == [None, "1"]
    rows = [{"job": server.jobs[1]}]
    nodes = [
        {"name": "a", "status": "ok", "message": ""},
        {"name": "b", "status": "lost", "message": "since noon"},
    ]
    answer = {"rows": rows, "total": 1, "nodes": nodes, "notices": ["the disk is full"]}
    server.refusals = {("GET", "/v1/queue"): (200, answer)}
    done = cli("status")
    assert (done.returncode, done.stderr) == (0, "gpujobs: the disk is full\n")
    assert [line for line in done.stdout.splitlines() if ":" in line and "eta" not in line] == [
        "b: since noon"
    ]
    assert submitting.SHOWN == 20
