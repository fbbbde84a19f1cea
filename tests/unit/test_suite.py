"""What a run of the whole suite makes of tests that fail at first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lib import suite

HERE = ("-q",)
AT_FIRST = """
from pathlib import Path

def test_fails_at_first():
    before = Path("before")
    if not before.exists():
        before.touch()
        raise AssertionError
    before.unlink()
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # importing the plugins takes most of the time
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_some.py").write_text(AT_FIRST)
    return tmp_path


def noted(root: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads((root / "build/rerun.json").read_text())
    return found


def test_a_test_that_passes_when_it_runs_again_is_named_and_kept_and_fails_the_third_time(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    test = "test_some.py::test_fails_at_first"
    assert suite.run(root, HERE) == 0
    assert f"{test}: for the 1st time" in capfd.readouterr().out.splitlines()[-1]
    assert suite.run(root, HERE) == 0
    assert len(noted(root)[test]) == 2
    capfd.readouterr()
    assert suite.run(root, HERE) == 1
    assert f"{test}: for the 3rd time" in capfd.readouterr().out


def test_a_test_that_fails_again_fails_and_is_not_counted(root: Path) -> None:
    (root / "test_some.py").write_text("def test_fails():\n    raise AssertionError\n")
    assert suite.run(root, HERE) == 1
    assert noted(root) == {}


def test_a_run_in_which_nothing_fails_runs_once(root: Path) -> None:
    (root / "test_some.py").write_text("def test_passes():\n    pass\n")
    assert suite.run(root, HERE) == 0
    assert not (root / "build").exists()
