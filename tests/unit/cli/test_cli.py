"""The command line as a subprocess, against a server that answers by the protocol."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpujobs import __version__
from gpujobs.cli import checking
from gpujobs.cli.app import COMMANDS
from tests.unit.cli.conftest import REPORT, ROOT, Cli, Protocol, job
from tests.unit.cli.rows import RUNNING, ended


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(cli: Cli, name: str) -> None:
    done = cli(name, "--help")
    assert done.returncode == 0
    assert f"Example:\n    gpujobs {name}" in done.stdout


def test_an_unknown_command_or_option_gets_the_nearest_name(cli: Cli) -> None:
    wrong = cli("statsu")
    assert (wrong.returncode, "Did you mean 'status'?" in wrong.stderr) == (2, True)
    wrong = cli("status", "--jsn")
    assert wrong.returncode == 2 and "--json" in wrong.stderr


@pytest.mark.parametrize("arguments", [("status",), ("cancel", 1), ("gpus",), ("logs", 1), ("stop",)])
def test_no_daemon_is_exit_code_3_and_says_where_it_looked(cli: Cli, arguments: tuple[object, ...]) -> None:
    done = cli(*arguments)
    assert done.returncode == 3
    assert str(cli.directory / "gpujobs.sock") in done.stderr and "gpujobs serve" in done.stderr
    assert done.stderr.count("\n") == 1


def test_status_json_is_always_an_array(cli: Cli, server: Protocol) -> None:
    assert json.loads(cli("status", "--json").stdout) == []
    server.jobs[1] = job(1)
    assert [j["id"] for j in json.loads(cli("status", "--json").stdout)] == [1]
    assert [j["id"] for j in json.loads(cli("status", "--json", 1).stdout)] == [1]


def test_status_fits_80_columns_running_first_without_colour(cli: Cli, server: Protocol) -> None:
    server.jobs[1] = job(1, name="n" * 100, user="u" * 40, reason="Resources", message="m" * 200)
    server.jobs[2] = job(2, **RUNNING)
    lines = cli("status").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].startswith("2 ") and "epoch 3/20 eta 1:10" in lines[1]
    assert "\x1b" not in "".join(lines)


def test_status_shows_no_control_characters_of_a_name(cli: Cli, server: Protocol) -> None:
    server.jobs[1] = job(1, name="a\x1b[2Jb\nc")
    assert "\x1b" not in cli("status").stdout


def test_status_limits_rows_for_people_only(cli: Cli, server: Protocol) -> None:
    server.jobs.update({id: job(id) for id in range(1, 151)})
    assert "... and 50 more (--limit 0 shows all, --json has them all)" in cli("status").stdout
    assert len(cli("status", "--limit", 0).stdout.splitlines()) == 151
    assert len(json.loads(cli("status", "--json").stdout)) == 150


def test_an_id_that_does_not_exist_is_exit_code_2(cli: Cli, server: Protocol) -> None:
    done = cli("status", 99)
    assert (done.returncode, done.stderr) == (2, "gpujobs: job 99 does not exist\n")


def test_all_problems_of_all_files_are_shown_and_nothing_is_sent(cli: Cli, server: Protocol) -> None:
    d = cli.directory
    (d / "empty.yaml").write_text("")
    (d / "latin.yaml").write_bytes(b"name: \xe9")
    (d / "large.yaml").write_bytes(b"#" * (1 << 20 | 1))
    (d / "dir").mkdir()
    os.mkfifo(d / "pipe")
    done = cli("submit", "none.yaml", "dir", "empty.yaml", "latin.yaml", "large.yaml", "pipe")
    starts = ["none.yaml: does not", "dir: is a dir", "empty.yaml: is empty", "latin.yaml: is not UTF-8"]
    starts += ["large.yaml: is larger", "pipe: is not a regular"]
    assert done.returncode == 2
    for line, start in zip(done.stderr.splitlines(), starts, strict=True):
        assert line.startswith(start)
    assert server.requests == []


def test_problems_of_the_daemon_have_file_and_line(cli: Cli, server: Protocol) -> None:
    (cli.directory / "a.yaml").write_text("broken")
    done = cli("submit", "./a.yaml")
    assert (done.returncode, done.stderr) == (2, "./a.yaml:3: unknown key epoch\n")


def test_submit_hashes_and_uploads_equal_data_once(cli: Cli, server: Protocol) -> None:
    jobs = cli.directory / "jobs"
    jobs.mkdir()
    (jobs / "x.npz").write_bytes(b"PK\3\4" + b"data" * 999_998 + b"PK\5\6")
    for name in "ab":
        (jobs / f"{name}.yaml").write_text("x: 1")
    server.needs = ["x.npz"]
    done = cli("submit", "--json", "--set", "a.b=1", "--after", 5, "jobs/a.yaml", "jobs/b.yaml")
    assert [j["name"] for j in json.loads(done.stdout)] == ["a", "b"]
    assert [r[0] for r in server.requests] == ["POST", "POST", "PUT", "POST"]
    assert server.requests[2][2] == 4_000_000
    bodies = [r[2] for r in server.requests if r[0] == "POST"]
    assert len({body["request_key"] for body in bodies}) == 1
    assert bodies[0]["set"] == {"a.b": "1"} and bodies[0]["options"] == {"after": [5]}


def test_data_that_is_not_what_its_name_says_is_not_uploaded(cli: Cli, server: Protocol) -> None:
    """All files are looked at before anything is sent."""
    contents = {"text.npz": b"hello", "cut.npz": b"PK\3\4...", "empty.csv": b"", "table.csv": b"PAR1...PAR1"}
    for name, content in contents.items():
        (cli.directory / name).write_bytes(content)
    (cli.directory / "a.yaml").write_text("x: 1")
    server.needs = [*contents]
    done = cli("submit", "a.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "a.yaml: data file text.npz: begins with b'hello'; expected an npz file.",
        "a.yaml: data file cut.npz: is cut short: its end is missing; expected the whole of an npz file.",
        "a.yaml: data file empty.csv: is empty; expected a csv file.",
        "a.yaml: data file table.csv: is a parquet file by its content; expected a csv file: name it .parquet.",
    ]
    assert [r[0] for r in server.requests] == ["POST"]


def test_missing_data_names_the_job_file_and_the_path_as_written(cli: Cli, server: Protocol) -> None:
    (cli.directory / "a.yaml").write_text("x: 1")
    server.needs = ["d/none.npz"]
    done = cli("submit", "a.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith("a.yaml: data file d/none.npz: does not exist")


def test_run_prints_predicted_beside_expected(cli: Cli, server: Protocol) -> None:
    (cli.directory / "job-1.yaml").write_text("x: 1")
    server.directory = str(cli.directory / "results" / "1")
    server.metrics = {"predictions": {"train": {"y_class": [1, 2], "y_true": [1, 3], "accuracy": 0.5}}}
    server.files = {"model.keras": b"m"}
    server.outcome = {**ended(), "results": server.directory}
    done = cli("run", "job-1.yaml")
    assert done.returncode == 0, done.stderr
    assert "predicted  1 2\n    expected   1 3" in done.stdout
    assert "results/1/model.keras" in done.stdout and server.directory not in done.stdout
    assert "history.csv" not in done.stdout, "a file that is not there"


def test_run_of_a_failed_job_shows_why_and_the_end_of_its_log(cli: Cli, server: Protocol) -> None:
    (cli.directory / "a.yaml").write_text("x: 1")
    server.outcome = {**ended("FAILED"), "reason": "Signal", "message": "killed by SIGSEGV"}
    done = cli("run", "a.yaml")
    assert done.returncode == 1
    assert "Signal: killed by SIGSEGV" in done.stdout and "    line two\n" in done.stdout


def test_wait_exits_1_where_a_job_did_not_complete(cli: Cli, server: Protocol) -> None:
    server.jobs = {1: job(1, **ended()), 2: job(2, **ended("FAILED")), 3: job(3)}
    assert cli("wait", 1).returncode == 0
    assert cli("wait", 1, 2).returncode == 1
    assert cli("wait", 3).returncode == 3, "the stream ended before the job did"


def test_gpus_fits_80_columns_with_foreign_processes_below(cli: Cli, server: Protocol) -> None:
    lines = cli("gpus").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[2].startswith("  foreign: bob pid 77 2.0 GiB python")
    assert json.loads(cli("gpus", "--json").stdout)[0]["uuid"] == "GPU-1"


@pytest.mark.parametrize("verb", ["cancel", "hold", "release", "requeue"])
def test_changes_ask_for_each_id_once(cli: Cli, server: Protocol, verb: str) -> None:
    server.jobs[1] = job(1)
    assert cli(verb, 1, 1).returncode == 0
    assert server.requests == [("POST", f"/v1/jobs/{verb}", {"ids": [1]})]


def test_show_logs_check_results(cli: Cli, server: Protocol) -> None:
    server.jobs[1] = job(1, **RUNNING)
    server.files = {"log.txt": b"x"}
    (cli.directory / "a.yaml").write_text("x: 1")
    assert "b: 1" in cli("show", 1).stdout
    assert cli("logs", 1, "--tail", 2).stdout == "line one\nline two\n"
    assert "a.yaml: valid" in cli("check", "a.yaml").stdout
    assert "log.txt" in cli("results", 1).stdout and "loss=0.5" in cli("results").stdout


def test_a_check_is_tables_of_80_columns(cli: Cli, server: Protocol) -> None:
    (cli.directory / "a.yaml").write_text("x: 1")
    text = cli("check", "a.yaml").stdout
    assert "  first       LSTM     (any, 4)  4 × 4 × (1 + 4 + 1) = 96\n" in text
    assert "  96 parameters, 6 of them not trained\n" in text
    assert "  first  LSTM   no    unroll is true\n  Where it is not used, steps are slow.\n" in text
    assert text.count("a notice of the data") == 1
    assert "steps: 2 an epoch, batches of 4; 3 epochs\n  a notice of the data\n" in text
    assert "\x1b" not in text and max(map(len, text.splitlines())) <= 80
    (entry,) = json.loads(cli("check", "a.yaml", "--json").stdout)
    assert (entry["path"], entry["report"]["parameters"]) == ("a.yaml", 96)


def test_a_file_that_is_named_twice_is_checked_once(cli: Cli, server: Protocol) -> None:
    (cli.directory / "a.yaml").write_text("x: 1")
    done = cli("check", "a.yaml", "a.yaml")
    assert (done.returncode, done.stdout.count("a.yaml: valid"), done.stderr) == (0, 1, "")


def test_jobs_that_were_not_looked_at_are_no_files_in_particular() -> None:
    sweep = {"sweep": {"training.epochs": 1}, "name": "s", "report": REPORT}
    text = list(checking.lines([{"path": "a.yaml", **sweep}, {"path": "b.yaml", **sweep}], 7))
    assert {"a.yaml: valid, 1 job", "b.yaml: valid, 1 job", "7 more jobs were not looked at."} <= set(text)


def test_a_check_hashes_and_uploads_nothing(cli: Cli, server: Protocol) -> None:
    (cli.directory / "a.yaml").write_text("x: 1")
    (cli.directory / "d.csv").write_text("a,b\n1,2\n")
    server.needs = ["d.csv"]
    assert cli("check", "a.yaml").returncode == 0
    posts = [body for method, _, body in server.requests if method == "POST"]
    place = str(cli.directory / "d.csv")
    assert posts[-1]["files"][0]["data"] == {"d.csv": {"sha256": None, "bytes": 8, "in_place": place}}
    assert not [method for method, *_ in server.requests if method == "PUT"]


def test_a_check_of_a_file_that_is_not_what_its_name_says(cli: Cli, server: Protocol) -> None:
    (cli.directory / "a.yaml").write_text("x: 1")
    (cli.directory / "d.npz").write_text("no zip file")
    server.needs = ["d.npz"]
    said = cli("check", "a.yaml").stderr
    assert said == cli("submit", "a.yaml").stderr and "data file d.npz: " in said


def test_fetch_is_whole_or_not_there(cli: Cli, server: Protocol) -> None:
    server.jobs[1] = job(1, **ended())
    server.files = {"model.keras": b"k" * 1000, "tensorboard/events": b"e"}
    assert cli("fetch", 1).returncode == 0
    assert (cli.directory / "1-job-1" / "tensorboard" / "events").read_bytes() == b"e"
    again = cli("fetch", 1)
    assert (again.returncode, "1-job-1 exists" in again.stderr) == (2, True)


def test_fetch_stays_inside_its_directory(cli: Cli, server: Protocol) -> None:
    server.jobs[1] = job(1, **ended())
    server.files = {"../evil": b"e"}
    assert cli("fetch", 1, "out").returncode == 3
    assert sorted(p.name for p in cli.directory.iterdir()) == ["gpujobs.sock"]


def test_an_answer_cut_short_is_exit_code_3(cli: Cli, server: Protocol) -> None:
    server.jobs[1] = job(1)
    server.truncate = True
    assert cli("status").returncode == 3


@pytest.mark.parametrize(
    ("arguments", "status", "body", "said"),
    [
        (["gpus"], 404, b"404: Not Found", "HTTP 404 Not Found; it is of another version"),
        (["cancel", 3], 404, b"404: Not Found", "HTTP 404 Not Found; it is of another version"),
        (["status"], 200, b"{}", "the daemon's answer lacks 'rows'; it is of another version"),
        (["show", 3], 200, b"{}", "the daemon's answer lacks 'job'; it is of another version"),
        (["gpus"], 200, b"<html>", "is not JSON"),
        (["show", 3], 200, b"[]", "is not a JSON object"),
        (["gpus"], 200, b'{"devices": 3, "nodes": 3}', "is not as expected (TypeError: "),
    ],
)
def test_a_daemon_of_another_version_is_named_in_one_line(
    cli: Cli, server: Protocol, arguments: list[object], status: int, body: bytes, said: str
) -> None:
    server.jobs[3] = job(3)
    server.instead = (status, body)
    done = cli(*arguments)
    assert (done.returncode, done.stdout) == (3, "")
    assert said in done.stderr and len(done.stderr.splitlines()) == 1


UNKNOWN_FIELD = (
    "POST",
    "/v1/jobs",
    400,
    {
        "code": "protocol",
        "message": "the body of /v1/jobs: files.0.directory: Extra inputs are not permitted",
    },
)
UNKNOWN_REQUEST = (
    "GET",
    "/v1/gpus",
    404,
    {"code": "usage", "message": "GET /v1/gpus is unknown to this gpujobs daemon"},
)
UNKNOWN_STREAM = (
    "GET",
    "/v1/queue",
    404,
    {"code": "usage", "message": "GET /v1/queue is unknown to this gpujobs daemon"},
)


@pytest.mark.parametrize(
    ("info", "said"),
    [
        (
            {"version": "0.0.9", "mode": "personal"},
            f"(0.0.9, this is {__version__}): whoever runs it ends it",
        ),
        ({"version": __version__, "mode": "site"}, "this command: an admin restarts it (`systemctl restart"),
        ({}, "than this command: whoever runs it ends it (`gpujobs stop`; jobs that run go on)"),
    ],
)
@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        (["submit", "a.yaml"], UNKNOWN_FIELD),
        (["gpus"], UNKNOWN_REQUEST),
        (["status"], UNKNOWN_STREAM),
    ],
)
def test_what_an_older_daemon_does_not_know_asks_for_its_restart_in_one_line(
    cli: Cli,
    server: Protocol,
    arguments: list[object],
    refused: tuple[str, str, int, dict[str, str]],
    info: dict[str, str],
    said: str,
) -> None:
    (cli.directory / "a.yaml").write_text("x: 1")
    method, path, status, body = refused
    server.refusals = {(method, path): (status, body), ("GET", "/v1/info"): (200, info)}
    done = cli(*arguments)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("gpujobs: the daemon runs an older version than this command")
    assert said in done.stderr and body["message"] in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_daemon_that_does_not_even_know_what_it_is_is_asked_once(cli: Cli, server: Protocol) -> None:
    unknown = {"code": "usage", "message": "GET /v1/info is unknown to this gpujobs daemon"}
    server.refusals = {("GET", "/v1/info"): (404, unknown)}
    done = cli("doctor")
    assert "the daemon runs an older version than this command" in done.stdout
    assert [path for _, path, _ in server.requests] == ["/v1/info"]


def test_ctrl_c_while_the_command_is_imported_is_one_line() -> None:
    program = """
import sys

class CtrlC:
    def find_spec(self, name, *rest):
        if name == "gpujobs.cli.main":
            raise KeyboardInterrupt

sys.meta_path.insert(0, CtrlC())
from gpujobs.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "gpujobs: interrupted\n")


def test_a_socket_path_over_107_bytes(cli: Cli, server: Protocol) -> None:
    deep = cli.directory / ("d" * 120)
    deep.mkdir()
    (deep / "gpujobs.sock").symlink_to(cli.directory / "gpujobs.sock")
    assert cli("status", GPUJOBS_STATE_DIR=str(deep)).returncode == 0


@pytest.mark.skipif(os.getuid() != 0, reason="changes its uid")
def test_a_server_of_another_user_is_sent_nothing(cli: Cli, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        path = tmp_path / "gpujobs.sock"
        listener.bind(str(path))
        pid = os.fork()
        if pid == 0:
            os.setuid(12345)
            listener.listen()  # The credentials a client sees are those of this moment.
            signal.pause()
        try:
            deadline = time.monotonic() + 30
            status = cli("status")
            while status.returncode == 3 and time.monotonic() < deadline:
                status = cli("status")
            assert status.returncode == 5
            assert "Nothing was sent" in status.stderr
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_a_closed_pipe_is_quiet(cli: Cli, server: Protocol) -> None:
    server.jobs.update({id: job(id) for id in range(1, 5000)})
    command = f"{sys.executable} -m gpujobs status --json | head -1"
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "GPUJOBS_STATE_DIR": str(cli.directory)}
    done = subprocess.run(command, shell=True, env=environ, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[\n", "")


@pytest.mark.parametrize("arguments", [("status",), ("submit", "a.yaml"), ("--help",)])
def test_nothing_slow_is_imported(cli: Cli, server: Protocol, arguments: tuple[str, ...]) -> None:
    (cli.directory / "a.yaml").write_text("x: 1")
    done = cli(*arguments, PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    slow = {"ray", "tensorflow", "keras", "pydantic", "aiohttp", "numpy", "rich", "yaml", "asyncio"}
    assert "click" in imported and not imported & slow


def test_doctor_works_without_a_daemon(cli: Cli) -> None:
    checks = {check["name"]: check for check in json.loads(cli("doctor", "--json").stdout)}
    assert checks["python"]["ok"] is True
    assert "no daemon answers" in checks["daemon"]["message"]


def test_doctor_says_that_a_state_directory_is_a_file(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = cli("doctor", "--json", "--state-dir", tmp_path / "file")
    (check,) = [one for one in json.loads(done.stdout) if one["name"] == "state directory"]
    assert check["ok"] is False and check["message"] == f"{tmp_path / 'file'} is there and is no directory"
    assert done.returncode == 4


def is_mine_alone(place: Path) -> bool:
    """Else that is what is wrong with it, and said first."""
    status = place.stat()
    return status.st_uid == os.getuid() and not status.st_mode & 0o022


@pytest.mark.skipif(not Path("/proc/mounts").is_file(), reason="/proc/mounts is not there")
def test_doctor_says_that_a_file_system_is_read_only(cli: Cli) -> None:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    places = [place for _, place, _, options, *_ in mounts if "ro" in options.split(",")]
    if not (places := [one for one in places if Path(one).is_dir() and is_mine_alone(Path(one))]):
        pytest.skip("nothing of ours is mounted read-only here")
    (check,) = [
        one
        for one in json.loads(cli("doctor", "--json", "--state-dir", places[0]).stdout)
        if one["name"] == "state directory"
    ]
    assert (check["ok"], check["message"]) == (
        False,
        f"{places[0]} is on a file system that is mounted read-only",
    )


def test_prioritize_takes_ids_and_then_a_number_that_may_be_negative(cli: Cli, server: Protocol) -> None:
    server.jobs.update({7: job(7), 8: job(8)})
    done = cli("prioritize", 7, 8, -5)
    assert done.returncode == 0, done.stderr
    assert server.requests[-1] == ("POST", "/v1/jobs/prioritize", {"ids": [7, 8], "priority": -5})
    for wrong in (("7",), ("7", "x"), ("7", "--jsn", "5"), ("7", "1000001")):
        assert cli("prioritize", *wrong).returncode == 2


def test_names_that_the_site_hides_are_a_dash(cli: Cli, server: Protocol) -> None:
    server.jobs[1] = job(1, **{**ended(), "name": None, "user": None, "message": None})
    assert cli("status").stdout.splitlines()[1].split()[:3] == ["1", "-", "-"]
    assert cli("wait", 1).stdout == "1 -: COMPLETED\n"
