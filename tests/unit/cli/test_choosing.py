"""Choosing jobs on the command line, being asked before many change, and fetching several."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpujobs.cli.commands.show import _numbers
from tests.unit.cli.conftest import ROOT, Cli, Protocol, job, member

VERBS = ["cancel", "hold", "release", "requeue", "finish"]


def asked(server: Protocol, path: str) -> Any:
    return [what for method, where, what in server.requests if where == path][-1]


@pytest.mark.parametrize("verb", VERBS)
def test_every_change_takes_every_choice(cli: Cli, server: Protocol, verb: str) -> None:
    server.jobs[7] = job(7)
    options = ["--mine", "--user", "bob", "--name", "lstm-*", "--state", "pending,failed"]
    done = cli(verb, 7, *options, "--since", "2026-01-01T00:00Z", TZ="UTC")
    assert done.returncode == 0, done.stderr
    assert asked(server, f"/v1/jobs/{verb}") == {
        "ids": [7],
        "choose": {
            "user": "bob", "mine": True, "name": "lstm-*", "state": "PENDING,FAILED",
            "since": "2026-01-01T00:00:00+00:00",
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "path", "body"),
    [
        (("prioritize", "--mine", "-5"), "prioritize", {"ids": [], "choose": {"mine": True}, "priority": -5}),
        (("limit", "60-65", "4h"), "limit", {"ids": ["60-65"], "limit_seconds": 14400.0}),
        (("limit", "7", "none"), "limit", {"ids": [7], "limit_seconds": None}),
        (("requeue", "7", "--finish"), "requeue", {"ids": [7], "finish": True}),
        (("requeue", "7", "--limit", "4h"), "requeue", {"ids": [7], "limit_seconds": 14400.0}),
        (("cancel", "7", "--reason", "x y"), "cancel", {"ids": [7], "reason": "x y"}),
    ],
)  # fmt: skip
def test_what_changes_need_besides(
    cli: Cli, server: Protocol, arguments: tuple[str, ...], path: str, body: dict[str, Any]
) -> None:
    server.jobs |= {7: job(7), 60: member(60, 60, "60-65", {})}
    done = cli(*arguments)
    assert done.returncode == 0, done.stderr
    assert asked(server, f"/v1/jobs/{path}") == body


@pytest.mark.parametrize("verb", [*VERBS, "show", "logs", "wait", "plot"])
def test_without_any_choice_it_says_how_to_choose(cli: Cli, server: Protocol, verb: str) -> None:
    done = cli(verb)
    assert done.returncode == 2
    assert "expected jobs: ids (7), ranges (60-65), groups (g60, NAME), or --mine" in done.stderr
    assert server.requests == []


@pytest.mark.parametrize("option", [("--state", "ended"), ("--since", "soon")])
def test_a_wrong_condition(cli: Cli, server: Protocol, option: tuple[str, str]) -> None:
    done = cli("cancel", *option)
    assert (done.returncode, option[1].upper() in done.stderr.upper()) == (2, True)
    assert server.requests == []


def test_show_shows_several(cli: Cli, server: Protocol) -> None:
    server.jobs |= {1: member(1, 1, "s", {}), 2: member(2, 1, "s", {})}
    done = cli("show", "s")
    heads = [line for line in done.stdout.splitlines() if re.match(r"job \d", line)]
    assert heads == ["job 1 s-1 of alice: PENDING", "job 2 s-2 of alice: PENDING"]
    assert [one["job"]["id"] for one in json.loads(cli("show", "--json", "s").stdout)] == [1, 2]
    assert json.loads(cli("show", "--json", 1).stdout)["job"]["id"] == 1


def test_numbers_side_by_side_are_a_range() -> None:
    assert _numbers([9, 1, 2, 3, 5]) == "1-3, 5, 9"


def at_terminal(server: Protocol, directory: Path, answer: str, *arguments: str) -> tuple[int, str]:
    """The exit code and what was said on stderr."""
    inner, outer = pty.openpty()
    os.write(inner, answer.encode())
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "GPUJOBS_STATE_DIR": str(directory),
        "HOME": str(directory),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "gpujobs", *arguments],
            stdin=outer, capture_output=True, text=True, env=environment, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(inner)
        os.close(outer)
    return done.returncode, done.stdout + done.stderr


def test_at_a_terminal_more_than_ten_are_asked_about(server: Protocol, tmp_path: Path, cli: Cli) -> None:
    server.jobs |= {n: member(n, 1, "s", {}, state="RUNNING") for n in range(1, 13)}
    code, said = at_terminal(server, tmp_path, "n\n", "cancel", "s")
    assert (code, "cancel 12 jobs (12 running)?" in said) == (130, True), said
    assert asked(server, "/v1/jobs/cancel")["dry_run"] is True
    code, said = at_terminal(server, tmp_path, "y\n", "cancel", "s")
    assert code == 0, said
    assert asked(server, "/v1/jobs/cancel") == {"ids": ["s"], "only": list(range(1, 13))}
    for run in (
        lambda: at_terminal(server, tmp_path, "", "cancel", "s", "--yes"),
        lambda: cli("cancel", "s"),  # nobody is there to be asked
    ):
        server.requests.clear()
        run()
        assert [what for _, _, what in server.requests] == [{"ids": ["s"]}]


def test_ten_are_not_asked_about(server: Protocol, tmp_path: Path) -> None:
    server.jobs |= {n: member(n, 1, "s", {}) for n in range(1, 11)}
    code, said = at_terminal(server, tmp_path, "", "cancel", "s")
    assert (code, asked(server, "/v1/jobs/cancel")) == (0, {"ids": ["s"]}), said


def test_fetch_into_a_directory_that_is_there(cli: Cli, server: Protocol, tmp_path: Path) -> None:
    server.jobs[1] = job(1, state="COMPLETED")
    server.files = {"a": b"new", "b/c": b"new"}
    target = tmp_path / "there"
    target.mkdir()
    (target / "mine").write_text("mine")
    assert cli("fetch", 1, "there").returncode == 0
    assert {p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file()} == {
        "mine",
        "a",
        "b/c",
    }
    (target / "a").write_text("old")
    (target / "b/c").unlink()
    done = cli("fetch", 1, "there")
    assert (done.returncode, "there exists and has a;" in done.stderr, "--force" in done.stderr) == (
        2,
        True,
        True,
    )
    assert ((target / "a").read_text(), (target / "b/c").exists()) == ("old", False)
    assert cli("fetch", 1, "there", "--force").returncode == 0
    assert (target / "a").read_text() == (target / "b/c").read_text() == "new"
    assert sorted(p.name for p in target.iterdir()) == ["a", "b", "mine"]


def test_fetch_of_a_group_and_of_its_best(cli: Cli, server: Protocol, tmp_path: Path) -> None:
    server.jobs |= {n: member(n, 1, "s", {}, state="COMPLETED") for n in (1, 2, 3)}
    server.histories[3] = None
    server.files = {"a": b"x"}
    assert cli("fetch", "s", "all").returncode == 0
    assert sorted(p.name for p in (tmp_path / "all").iterdir()) == ["1-s-1", "2-s-2"]
    assert cli("fetch", "s").returncode == 0
    assert (tmp_path / "1-s-1/a").exists()
    server.ranking = {
        "metric": "val_loss", "mode": "min", "why": "it is watched", "best": 2,
        "members": [{"rank": 1, "value": 0.25, "figures": {}, "job": server.jobs[2]}],
    }  # fmt: skip
    done = cli("fetch", "--best", "s", "best")
    assert (done.returncode, (tmp_path / "best/a").read_text()) == (0, "x"), done.stderr
    assert "the best of s: job 2, val_loss 0.25" in done.stderr


def test_submit_and_wait(cli: Cli, server: Protocol, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("x: 1")
    server.outcome = {"state": "COMPLETED", "attempt": 1, "exit": {"code": 0, "signal": None}}
    done = cli("submit", "a.yaml", "--wait")
    assert done.returncode == 0
    assert done.stdout.splitlines()[1:] == ["1 a: COMPLETED, exit code 0", "  line one", "  line two"]
    server.outcome = {
        "state": "FAILED",
        "reason": "Signal",
        "attempt": 1,
        "exit": {"code": None, "signal": 9},
    }
    done = cli("submit", "a.yaml", "--wait")
    assert (done.returncode, done.stdout.splitlines()[1]) == (1, "2 a: FAILED, signal 9 Signal")
    done = cli("submit", "a.yaml", "--wait", "--json")
    assert (done.returncode, json.loads(done.stdout)[0]["state"]) == (1, "FAILED")
