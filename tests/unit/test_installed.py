"""The installed package is found from wherever a student's script or notebook stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_directory_called_gpujobs_beside_a_script_does_not_hide_the_package(tmp_path: Path) -> None:
    (tmp_path / "gpujobs").mkdir()
    script = tmp_path / "train.py"
    script.write_text("from gpujobs import Client\nprint(Client.__module__)\n", encoding="utf-8")
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    made = (
        "the environment was made before pyproject.toml said package-dir; install the project into it again"
    )
    assert done.stdout == "gpujobs.api.client\n", f"{made}\n{done.stderr}"
