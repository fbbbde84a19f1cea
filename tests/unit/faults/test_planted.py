"""The bugs that `scripts/faults --prove` plants are still bugs of the program that there is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from faultsuite import planted
from faultsuite.box import ROOT


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "gpujobs", tmp_path / "gpujobs", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize("bug", planted.BUGS, ids=lambda bug: bug.name)
def test_each_bug_has_its_place_and_uses_what_is_there(bug: planted.Bug, tree: Path) -> None:
    for old, new in bug.changes:
        module = planted.plant(tree, old, new)
        compile(module.read_text(), str(module), "exec")


def test_a_bug_that_would_fail_by_itself_is_refused(tree: Path) -> None:
    with pytest.raises(SystemExit, match=r"attempts.py has no self._nowhere, which a bug uses"):
        planted.plant(
            tree, "            self._inquiries.begin(job, 1.0)\n        except (sqlite3", "self._nowhere()\n"
        )
