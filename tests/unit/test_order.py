"""In which order the files of a whole run go to its processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from lib import order

SCRIPTS = Path(order.__file__).parents[1]


def test_what_took_longest_is_first_and_what_never_ran_before_all() -> None:
    seconds = {"a": 1.0, "b": 3.0, "gone": 9.0}
    assert order.longest_first(["new", "a", "b", "newer"], seconds) == ["new", "newer", "b", "a"]


def test_a_run_keeps_what_its_files_took_and_the_next_begins_with_it(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_a.py").write_text("def test_quick():\n    pass\n")
    (tmp_path / "test_b.py").write_text("import time\n\ndef test_slow():\n    time.sleep(0.2)\n")
    for number in (1, 2):
        (tmp_path / f"test_daemon_{number}.py").write_text("def test_some():\n    'shared_daemon'\n")
    names = ["test_a.py", "test_b.py", "test_daemon_1.py", "test_daemon_2.py"]
    assert ran(tmp_path) == names
    kept = json.loads((tmp_path / order.KEPT).read_text())
    assert set(kept) == {"test_a.py", "test_b.py", order.SHARED} and kept["test_b.py"] >= 0.2
    assert ran(tmp_path) == ["test_b.py", "test_a.py", "test_daemon_1.py", "test_daemon_2.py"]


def ran(root: Path) -> list[str]:
    """The files, in the order in which their tests ran."""
    command = [sys.executable, "-m", "pytest", "-v", "-p", "lib.order", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    said = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    return [line.partition("::")[0] for line in said.stdout.splitlines() if " PASSED" in line]


def test_files_of_one_daemon_go_to_one_process() -> None:
    root = SCRIPTS.parent
    units = {order.unit_of(f"tests/acceptance/{name}.py::test", root) for name in ("test_check", "test_idle")}
    assert units == {order.SHARED}
    assert order.unit_of("tests/acceptance/test_stop.py::test", root) == "tests/acceptance/test_stop.py"
