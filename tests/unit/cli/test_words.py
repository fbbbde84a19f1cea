"""What people are told: of what waits, of what has ended already, of whose daemon it is, and without a daemon."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gpujobs.cli.commands.status import share_line
from gpujobs.cli.main import cli as program
from gpujobs.config import settings
from gpujobs.lifecycle import Finish
from gpujobs.model import Caller, Reason, State, utc_now
from gpujobs.paths import StatePaths
from gpujobs.store.store import Store
from tests.unit.cli.conftest import Cli, Protocol, job
from tests.unit.cli.rows import RUNNING, ended
from tests.unit.store.jobs import DEVICE, new_job

ME = Caller(uid=os.getuid(), gid=os.getgid(), pid=1, user="me")


def test_logs_of_a_waiting_job_say_what_it_waits_for(cli: Cli, server: Protocol) -> None:
    server.jobs[1] = job(1, reason="Resources", message="GPU 0 is used by job 9")
    done = cli("logs", "-f", 1)
    assert "job 1 waits: Resources: GPU 0 is used by job 9" in done.stderr and "line one" in done.stdout
    server.jobs[1] = job(1, **RUNNING)
    assert cli("logs", "-f", 1).stderr == ""


def test_cancelling_what_has_ended_says_so(cli: Cli, server: Protocol) -> None:
    server.jobs[1] = job(1, **ended("COMPLETED"))
    server.notes = {"1": "had already ended: COMPLETED"}
    assert cli("cancel", 1).stdout == "job 1 has already ended: COMPLETED\n"


def test_release_says_what_is_waited_for_now(cli: Cli, server: Protocol) -> None:
    server.jobs[1] = job(1, reason="Resources", message="GPU 0 is used by job 9")
    assert cli("release", 1).stdout == (
        "1 job-1: released; waits for its turn (Resources: GPU 0 is used by job 9)\n"
    )
    server.jobs[1] = job(1, **{**RUNNING, "state": "STARTING"})
    assert cli("release", 1).stdout == "1 job-1: released; STARTING\n"


@pytest.mark.parametrize(
    ("given", "code"), [("1h", 0), ("90", 0), ("1:30:00", 0), ("0.5", 0), ("soon", 2), ("0", 2)]
)
def test_wait_reads_times_as_job_files_do(cli: Cli, server: Protocol, given: str, code: int) -> None:
    server.jobs[1] = job(1, **ended())
    assert cli("wait", 1, "--timeout", given).returncode == code


def test_submit_says_what_the_site_has_added(cli: Cli, server: Protocol) -> None:
    (cli.directory / "a.yaml").write_text("x: 1")
    server.notices = ["the job file names no time limit: the site's default of 1 d holds"]
    done = cli("submit", "a.yaml", "--json")
    assert done.stderr == "gpujobs: the job file names no time limit: the site's default of 1 d holds\n"
    assert json.loads(done.stdout)[0]["id"] == 1


def test_run_shows_another_message_of_a_job_that_waits(cli: Cli, server: Protocol) -> None:
    (cli.directory / "a.yaml").write_text("x: 1")
    server.changes = [
        {"reason": "Priority", "message": "7 jobs are ahead"},
        {"reason": "Priority", "message": "2 jobs are ahead"},
        ended("FAILED"),
    ]
    lines = cli("run", "a.yaml").stdout.splitlines()
    assert [line for line in lines if "ahead" in line] == [
        "job 1 a: PENDING  Priority: 7 jobs are ahead",
        "job 1 a: PENDING  Priority: 2 jobs are ahead",
    ]


def test_an_error_of_the_system_has_no_number(cli: Cli, server: Protocol) -> None:
    server.jobs[1] = job(1, **ended())
    server.files = {"log.txt": b"x"}
    (cli.directory / "file").write_text("")
    said = cli("fetch", 1, "file/below").stderr
    assert "Errno" not in said and "file" in said


# A machine with a site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Installed, but its daemon does not run."""
    for name in ("SITE_UNIT", "SITE_CONFIG", "SITE_STATE_DIR", "SITE_SOCKET"):
        monkeypatch.setattr(settings, name, tmp_path / "site" / name.lower())
    for name in ("GPUJOBS_STATE_DIR", "GPUJOBS_SOCKET", "GPUJOBS_CONFIG", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home/state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home/config"))
    (tmp_path / "site").mkdir()
    return tmp_path / "site"


@pytest.mark.parametrize("trace", ["site_unit", "site_config", "site_state_dir", "site_socket"])
@pytest.mark.parametrize("command", ["run", "check"])
def test_no_daemon_is_started_beside_a_sites(site: Path, tmp_path: Path, trace: str, command: str) -> None:
    (site / trace).touch()
    (tmp_path / "a.yaml").write_text("x: 1")
    done = CliRunner().invoke(program, [command, str(tmp_path / "a.yaml")])
    assert done.exit_code == 3
    assert f"has a daemon for everybody ({site / trace})" in done.stderr and "--personal" in done.stderr
    assert not (tmp_path / "home").exists()


def test_advice_is_for_who_asks(site: Path) -> None:
    assert "gpujobs serve &" in CliRunner().invoke(program, ["status"]).stderr
    (site / "site_unit").touch()
    said = CliRunner().invoke(program, ["status"]).stderr
    assert "gpujobs serve &" not in said and "systemctl" in said


def test_of_two_daemons_it_is_said_whose_queue_it_is(
    site: Path, server: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "home/state/gpujobs/run"
    own.mkdir(parents=True)
    (own / "gpujobs.sock").symlink_to(tmp_path / "gpujobs.sock")
    assert CliRunner().invoke(program, ["status"]).stderr == ""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(site / "site_socket"))
        listener.listen()
        said = CliRunner().invoke(program, ["status"]).stderr
        assert "the queue of your own daemon" in said and str(site / "site_socket") in said
        monkeypatch.setenv("GPUJOBS_SOCKET", str(own / "gpujobs.sock"))
        assert CliRunner().invoke(program, ["status"]).stderr == "", "who names one knows"


# Without a daemon


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Path]:
    """The files of a daemon that was killed: one job has completed, one has failed, one waits."""
    paths = StatePaths(tmp_path)
    store = Store(paths.database)
    results = paths.result(1)
    results.mkdir(parents=True)
    (results / "history.csv").write_text("epoch,loss\n0,1.0\n1,0.5\n")
    (results / "log.txt").write_text("Epoch 2/2\n")
    (results / "metrics.json").write_text(json.dumps({"final": {"loss": 0.5}}))
    jobs = store.submit(ME, "k", [new_job("Lärm"), new_job("lost"), new_job("later", held=True)])
    for one, step, where in (
        (jobs[0], Finish(State.COMPLETED, Reason.NONE, ""), str(results)),
        (jobs[1], Finish(State.FAILED, Reason.SIGNAL, "killed by SIGSEGV"), None),
    ):
        store.start_attempt(one.id, DEVICE)
        store.mark_running(one.id, 1, 99, utc_now())
        store.mark_completing(one.id, 1, {"state": step.state, "exit": {"code": 0, "signal": None}})
        store.finish(one.id, step, where)
    attempt = paths.job(2).attempt(1)
    attempt.root.mkdir(parents=True)
    attempt.log.write_text("the last words\n")
    yield tmp_path  # what a killed daemon leaves: the store is not closed, its log is beside it
    store.close()


COMMANDS: dict[tuple[Any, ...], str] = {
    ("results",): "Lärm",
    ("results", 1): "history.csv",
    ("logs", 1): "Epoch 2/2\n",
    ("logs", "-f", 2): "the last words\n",
    ("show", 1): "job 1 Lärm of me: COMPLETED",
    ("show", 3): "waits because   Held",
    ("plot", 1): "loss",
    ("fetch", 1, "mine"): "3 files in mine",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_ones_own_files_need_no_daemon(cli: Cli, left: Path, command: tuple[Any, ...]) -> None:
    assert (left / "gpujobs.db-wal").stat().st_size > 0, "what was committed last is in the log alone"
    before = (left / "gpujobs.db").read_bytes()
    done = cli(*command)
    assert done.returncode == 0, done.stderr
    assert COMMANDS[command] in done.stdout
    assert done.stderr == f"gpujobs: no daemon is running; from the files of {left}\n"
    assert (left / "gpujobs.db").read_bytes() == before


def test_errors_are_those_of_the_daemon(cli: Cli, left: Path) -> None:
    done = cli("show", 9)
    assert (done.returncode, "job 9 does not exist" in done.stderr) == (2, True)
    assert cli("results", 3).returncode == 2


def test_what_changes_something_needs_a_daemon(cli: Cli, left: Path) -> None:
    for command in (("cancel", 3), ("status",), ("release", 3)):
        assert cli(*command).returncode == 3


def test_a_socket_that_was_named_is_another_daemon(cli: Cli, left: Path) -> None:
    done = cli("results", GPUJOBS_STATE_DIR="", GPUJOBS_SOCKET=str(left / "other.sock"))
    assert done.returncode == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
def test_somebody_elses_files_are_not_read(cli: Cli, left: Path) -> None:
    os.chown(left / "gpujobs.db", 65534, 65534)
    assert cli("results").returncode == 3


def test_status_says_what_a_share_means_for_the_turn() -> None:
    share = {"used": 0.5, "share": 0.25, "factor": 0.25, "half_life_seconds": 604800, "others": 3, "ahead": 2}
    assert share_line(share) == (
        "you have used 50% of the GPU time that counts (half-life 7 d), your share is 25%; at equal priority and age "
        "2 of 3 others would come first"
    )
    assert share_line({**share, "ahead": 0}).endswith("nobody would come first")
