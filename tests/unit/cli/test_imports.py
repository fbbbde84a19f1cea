"""What the commands that are typed most import: each package costs everybody a part of a second, every time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
from gpujobs.__main__ import main
sys.argv = ["gpujobs", *sys.argv[1:]]
try:
    main()
except SystemExit:
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


def imported(root: Path, *words: str) -> set[str]:
    """By a command where no daemon runs."""
    environment = os.environ | {
        "GPUJOBS_SOCKET": str(root / "none"),
        "GPUJOBS_STATE_DIR": str(root / "state"),
    }
    ran = subprocess.run(
        [sys.executable, "-c", CODE, *words],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
    )
    return set(ran.stdout.rpartition("IMPORTED")[2].split())


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
