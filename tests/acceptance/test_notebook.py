"""docs/notebook.md: every command in it works, on a box where the tutorial is job 1."""

from __future__ import annotations

import csv
import re
import shlex
import shutil
from collections.abc import Iterator

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
