"""`gpujobs simulate`, which needs no daemon."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gpujobs.cli.main import cli

HEADER = "user,submit_time,duration,memory,priority\n"


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    file = tmp_path / "trace.csv"
    file.write_text(HEADER + "alice,0,100,,0\nbob,0,50,,0\nalice,0,10,,0\n")
    return file


Simulate = Callable[..., Result]


@pytest.fixture
def simulate(tmp_path: Path) -> Simulate:
    """With a home of its own, where there is no configuration and matplotlib may write."""
    places = {
        "HOME": ".",
        "XDG_CONFIG_HOME": "config",
        "XDG_CACHE_HOME": "cache",
        "MPLCONFIGDIR": "matplotlib",
    }
    environment = {key: str(tmp_path / "home" / place) for key, place in places.items()}

    def run(*arguments: object) -> Result:
        given = {**environment, "GPUJOBS_CONFIG": "", "COLUMNS": "80"}
        return CliRunner().invoke(cli, ["simulate", *map(str, arguments)], env=given)

    return run


def test_the_table_fits_a_terminal(simulate: Simulate, trace: Path) -> None:
    done = simulate(trace, "--gpus", 1)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[:2] == ["3 jobs of 2 users on 1 GPU", "2:40 in all, utilisation 100%, preemptions 0"]
    assert lines[4].split() == ["wait", "1:40", "2:30", "2:30"]
    assert lines[8].split()[:2] == ["alice", "2"]
    assert max(map(len, lines)) <= 80


def test_json_has_all_of_it(simulate: Simulate, trace: Path) -> None:
    done = simulate(trace, "--gpus", 2, "--json")
    found = json.loads(done.stdout)
    assert (found["jobs"], found["gpus"], found["wait_seconds"]["max"]) == (3, 2, 50)
    assert {one["user"]: one["jobs"] for one in found["users"]} == {"alice": 2, "bob": 1}


def test_a_setting_can_be_tried(simulate: Simulate, trace: Path, tmp_path: Path) -> None:
    config = tmp_path / "try.toml"
    config.write_text("[limits.users.alice]\nmax_running = 1\n")
    done = simulate(trace, "--gpus", 3, "--config", config, "--json")
    assert json.loads(done.stdout)["wait_seconds"]["max"] == 100


def test_a_plot_is_written(simulate: Simulate, trace: Path, tmp_path: Path) -> None:
    assert simulate(trace, "--plot", tmp_path / "plot.png").exit_code == 0
    assert (tmp_path / "plot.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plot", "plot.jpg"], "plot.jpg does not end in .png, .svg or .pdf"),
        (["--plot", "missing/plot.png"], "there is no directory"),
        (["--gpus", "0"], "0 is not in the range"),
        (["--gpu-memory", "much"], "'much' is not a size such as 80GiB"),
        (["--config", "missing/gpujobs.toml"], "missing/gpujobs.toml: cannot be read"),
    ],
)
def test_wrong_options_are_refused(
    simulate: Simulate,
    trace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = simulate(trace, *arguments)
    assert done.exit_code == 2
    assert message in done.stderr and "Traceback" not in done.stderr


def test_bad_lines_are_refused(simulate: Simulate, tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text(HEADER + "alice,0,100,,0\nbob,x,50,,0\nalice,0,10,90GiB,0\n")
    done = simulate(file)
    assert done.exit_code == 2
    assert [line.split(": ", 1)[0] for line in done.stderr.splitlines()] == [f"{file}:3", f"{file}:4"]
