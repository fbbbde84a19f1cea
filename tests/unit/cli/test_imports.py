"""What the commands that are typed most import: each package costs everybody a part of a second, every time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Protocol, job

CODE = """
import sys
from gpujobs.__main__ import main
sys.argv = ["gpujobs", *sys.argv[1:]]
try:
    main()
except SystemExit:
    print("IMPORTED", *sys.modules)
"""
EVERY_HELP = """
import sys
from gpujobs.cli.app import COMMANDS
from gpujobs.__main__ import main
for command in COMMANDS:
    sys.argv = ["gpujobs", command, "--help"]
    try:
        main()
    except SystemExit as end:
        assert not end.code, command
print("IMPORTED", *sys.modules)
"""
LARGE = {"numpy", "pyarrow", "ray", "keras", "tensorflow", "pydantic", "yaml", "aiohttp", "asyncio", "sqlite3", "rich",
         "textual", "gpujobs.daemon", "gpujobs.store", "gpujobs.policy"}  # fmt: skip
RARE = {"click.shell_completion", "gpujobs.cli.completion", "difflib", "unicodedata", "grp"}
OF_A_CLIENT = {
    "http",
    "ssl",
    "email",
    "socket",
    "urllib",
    "hashlib",
    "json",
    "gpujobs.client",
    "gpujobs.config",
}
OF_PARAMETERS = {"json", "urllib"}
"""Of a client's too, and what describes an option or shows a table; `pathlib` imports the other."""

OURS = {
    "gpujobs", "gpujobs.__main__", "gpujobs.errors", "gpujobs.printing", "gpujobs.states", "gpujobs.units",
    "gpujobs.view", "gpujobs.view.words",
    "gpujobs.cli", "gpujobs.cli.app", "gpujobs.cli.cells", "gpujobs.cli.clock", "gpujobs.cli.commands",
    "gpujobs.cli.completed", "gpujobs.cli.main", "gpujobs.cli.output", "gpujobs.cli.streams", "gpujobs.cli.times",
    "gpujobs.client", "gpujobs.client.api", "gpujobs.client.connection", "gpujobs.config", "gpujobs.config.settings",
}  # fmt: skip
"""Of all that ask a daemon and show what it answers."""

OF_CHOICES = {"gpujobs.cli.choosing"}
OF_SUBMISSIONS = {
    "gpujobs.cli.left_out",
    "gpujobs.client.delivery",
    "gpujobs.client.submission",
    "gpujobs.formats",
}


def imported(root: Path, *words: str) -> set[str]:
    """By a command where no daemon runs."""
    return ran(root, root / "none", CODE, *words)


def ran(root: Path, socket: Path, code: str, *words: str) -> set[str]:
    environment = os.environ | {
        "GPUJOBS_SOCKET": str(socket),
        "GPUJOBS_STATE_DIR": str(root / "state"),
        "HOME": str(root),
    }
    said = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
    )
    return set(said.stdout.rpartition("IMPORTED")[2].split())


@pytest.mark.parametrize("words", [["--version"], ["--help"]])
def test_what_asks_no_daemon_imports_no_client(tmp_path: Path, words: list[str]) -> None:
    found = imported(tmp_path, *words)
    assert "click" in found
    assert not found & (LARGE | OF_A_CLIENT | RARE)


@pytest.mark.parametrize("words", [["status"], ["show", "1"], ["submit", "job.yaml"], ["check", "job.yaml"]])
def test_the_commands_of_every_day_import_what_they_use(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "job.yaml").write_text("data: {train: a.npz}\n")
    found = imported(tmp_path, *words)
    assert "gpujobs.client" in found
    assert not found & (LARGE | RARE)


def test_the_help_of_no_command_imports_a_client(tmp_path: Path) -> None:
    found = ran(tmp_path, tmp_path / "none", EVERY_HELP)
    assert {"gpujobs.cli.commands.submit", "gpujobs.cli.commands.restore"} <= found
    assert not found & ((LARGE | OF_A_CLIENT | {"gpujobs.measured", "gpujobs.jobfile"}) - OF_PARAMETERS)


@pytest.mark.parametrize(
    ("words", "more"),
    [(["status"], OF_CHOICES), (["show", "1"], OF_CHOICES), (["submit", "job.yaml"], OF_SUBMISSIONS)],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_command_that_is_answered_imports_of_ours_what_it_shows_and_no_more(
    tmp_path: Path, server: Protocol, words: list[str], more: set[str]
) -> None:
    """What only some jobs have, such as figures of their device or the settings of a sweep, is imported for them."""
    (tmp_path / "job.yaml").write_text("data: {train: a.npz}\n")
    server.jobs[1] = job(1)
    found = ran(tmp_path, tmp_path / "gpujobs.sock", CODE, *words)
    ours = {name for name in found if name.partition(".")[0] == "gpujobs"}
    assert ours - OURS - more == {f"gpujobs.cli.commands.{words[0]}"}
    assert not found & (LARGE | RARE)
