"""docs/notebook.md: every command in it works, on a box where the tutorial is job 1. docs/client.ipynb: so does every
cell of it."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib.image import imread

from gpujobs.cli.app import COMMANDS

from .conftest import running
from .harness import ROOT, RunningDaemon

PAGE = (ROOT / "docs/notebook.md").read_text(encoding="utf-8")
WRITTEN = re.findall(r"`gpujobs ([^`]+)`", PAGE)
OPTIONS = re.findall(r"`(--set [^`]+)`", PAGE)
REFUSED = {"resources.gpu=0", "resources.gpu=9"}
"""This box has no GPU; tests/acceptance/test_gpus.py runs jobs by number on one that has."""


@pytest.fixture(scope="module")
def daemon() -> Iterator[RunningDaemon]:
    with running() as daemon:
        shutil.copytree(ROOT / "jobs", daemon.root / "jobs")
        daemon.cli("run", "jobs/tutorial.yaml", code=0, timeout=200)
        yield daemon


def test_there_are_commands() -> None:
    assert {command.split()[0] for command in WRITTEN} >= {
        "run",
        "gpus",
        "check",
        "logs",
        "predict",
        "fetch",
        "plot",
    }


@pytest.mark.parametrize("written", sorted(set(WRITTEN)))
def test_a_command_works(daemon: RunningDaemon, written: str) -> None:
    command, *arguments = shlex.split(written)
    assert command in COMMANDS
    is_refused = bool(REFUSED & set(arguments))
    done = daemon.cli(command, *arguments, timeout=200)
    if is_refused:
        assert (done.returncode, "this box has no GPU" in done.stderr) == (2, True), done.stderr
    elif command == "doctor":  # what it finds on this machine is another matter
        assert done.returncode in (0, 4) and "ensorFlow" in done.stdout, done.stdout + done.stderr
    else:
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("written", sorted(set(OPTIONS)))
def test_an_option_is_understood(daemon: RunningDaemon, written: str) -> None:
    done = daemon.cli("check", "jobs/tutorial.yaml", *shlex.split(written))
    if REFUSED & set(shlex.split(written)):
        assert (done.returncode, "this box has no GPU" in done.stderr) == (2, True), done.stderr
    else:
        assert done.returncode == 0, done.stderr


def test_what_the_log_says(daemon: RunningDaemon) -> None:
    log = daemon.job_log(1)
    assert log.startswith("TensorFlow 2.") and "Visible to this job: " in log
    assert "train:  expected classes [1, 2, 3, 2, 3, 1]" in log


def test_the_curve_is_that_of_the_history(daemon: RunningDaemon) -> None:
    rows = list(csv.DictReader((daemon.paths.result(1) / "history.csv").read_text().splitlines()))
    (found,) = daemon.json("plot", "1")
    assert (found["id"], found["name"], len(rows)) == (1, "tutorial-lstm", 20)
    assert found["history"] == {name: [float(row[name]) for row in rows] for name in rows[0]}
    drawn = daemon.cli("plot", "1", code=0).stdout.splitlines()
    assert drawn[0] == "1 tutorial-lstm, 20 epochs" and {"loss", "accuracy"} <= set(drawn)
    assert max(map(len, drawn)) == 80
    daemon.cli("plot", "1", "--output", "both.png", code=0)
    image = imread(daemon.root / "both.png")
    assert image.shape[1] > 1000 and len({tuple(pixel) for pixel in image.reshape(-1, 4)}) > 20


def test_a_job_that_waits_has_no_curve_yet(daemon: RunningDaemon) -> None:
    (waiting,) = daemon.submit("jobs/tutorial.yaml", "--hold")
    done = daemon.cli("plot", waiting, code=2)
    assert f"job {waiting} is PENDING and has no results; `gpujobs wait {waiting}` waits" in done.stderr
    daemon.cli("cancel", waiting, code=0)


CELLS = [
    "".join(cell["source"])
    for cell in json.loads((ROOT / "docs/client.ipynb").read_text(encoding="utf-8"))["cells"]
    if cell["cell_type"] == "code"
]
CHECKS = """
import numpy as np
plain = np.load(f"{job.info['results']}/predictions.npz")
lists = {name: values.tolist() for name, values in job.predictions.items()}
assert lists == {name: plain[name].tolist() for name in plain.files}
assert job.state == "COMPLETED" and job.name == "from-python" and len(job.history["loss"]) == 5
assert [one.state for one in jobs] == ["COMPLETED"] * 2 and waiting.state == "CANCELLED"
assert len(losses) == 2 and best in losses
"""
ERRORS = """
from gpujobs import Client, JobTimeoutError
from gpujobs.errors import GpujobsError, UsageError
with Client() as c:
    held = c.submit("jobs/tutorial.yaml", hold=True)
    for what in (
        lambda: held.wait(0.3), lambda: held.metrics, lambda: c.job(10**6), lambda: c.submit("none.yaml"),
        lambda: c.submit({"data": {"train": object()}}), lambda: c.submit([]),
        lambda: c.submit({"data": {"train": "jobs/none.npz"}, "model": {"layers": [{"LSTM": {"units": 1}}]},
                          "training": {"loss": "mse"}}),
    ):
        try:
            what()
        except GpujobsError as error:
            print(type(error).__name__, error)
    assert held.cancel().wait(5).state == "CANCELLED"
    assert held.id in [one.id for one in c.jobs(state=["CANCELLED", "FAILED"])]
"""


def python(daemon: RunningDaemon, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=daemon.root, env=daemon.environment, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_cells_of_the_python_notebook_run_one_after_the_other(daemon: RunningDaemon) -> None:
    *cells, last = CELLS
    said = python(daemon, "\n".join([*cells, textwrap.dedent(CHECKS), last]))
    assert "model.layers" in said and "LSTN" in said, "the mistake, in the words of the command line"
    assert (daemon.root / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_errors_in_python_are_those_of_the_command_line(daemon: RunningDaemon) -> None:
    timeout, lacking, unknown, nowhere, odd, nothing, data = python(daemon, ERRORS).splitlines()
    assert timeout.startswith("JobTimeoutError job ") and timeout.endswith(
        "has not ended after 0.3 s; it goes on."
    )
    assert "has no results; `gpujobs wait" in lacking
    assert unknown == "NotFoundError job 1000000 does not exist"
    assert nowhere.startswith("JobFileError none.yaml: does not exist; expected a job file")
    assert odd.startswith("UsageError a job file holds texts, numbers, lists and dicts: <object")
    assert nothing.startswith("UsageError there is nothing to submit")
    assert data.startswith("JobFileError job: data file jobs/none.npz: does not exist")


def test_without_a_daemon_the_client_says_what_the_command_line_says(tmp_path: Path) -> None:
    code = "from gpujobs import Client\nClient(socket='%s')" % (tmp_path / "none.sock")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "DaemonUnreachableError: no daemon answers at" in done.stderr


def test_importing_the_client_imports_nothing_large() -> None:
    large = {"numpy", "pyarrow", "ray", "tensorflow", "pydantic", "rich", "matplotlib", "pandas"}
    code = f"import sys\nfrom gpujobs import Client\nprint(sorted({large} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_time_line_shows_the_job_where_it_ran(daemon: RunningDaemon) -> None:
    (job,) = daemon.json("status", "1")
    shown = daemon.json("timeline")
    (found,) = [span for lane in shown["lanes"] for span in lane["spans"] if span["job"] == 1]
    assert (found["kind"], found["state"], found["starts_at"]) == ("job", "COMPLETED", job["started_at"])
    assert found["ends_at"] < job["ended_at"], "the device was free before the results were collected"
    was = daemon.cli("timeline", "--at", found["starts_at"], code=0).stdout
    assert "job 1 tutorial-lstm" in was
    assert "▓ ended" in daemon.cli("timeline", code=0).stdout
    daemon.cli("timeline", "--output", "line.png", code=0)
    assert imread(daemon.root / "line.png").shape[1] > 1000


def test_the_report_has_the_job_as_table_csv_and_picture(daemon: RunningDaemon) -> None:
    (job,) = daemon.json("status", "1")
    found = daemon.json("report")
    (row,) = [one for one in found["rows"] if one["key"] == job["user"]]
    assert row["jobs"] >= 1 and row["cpu_hours"] > 0 and row["gpu_hours"] == 0
    rows = list(csv.DictReader(daemon.cli("report", "--csv", code=0).stdout.splitlines()))
    assert [one["key"] for one in rows] == [one["key"] for one in found["rows"]]
    assert "IDLE" in daemon.cli("report", "--idle", code=0).stdout
    daemon.cli("report", "--by", "week", "--output", "weeks.png", code=0)
    assert imread(daemon.root / "weeks.png").shape[1] > 800
