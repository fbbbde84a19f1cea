"""An import that crosses a border is refused, as `scripts/check` runs it: planted into a copy of the program."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLANTED = {
    "policy/decide.py": "import gpujobs.store.store",
    "policy/cycle/backfill.py": "import gpujobs.policy.reasons.explain",
    "trainer/pace.py": "import gpujobs.supervise.launcher",
    "sender/mail.py": "import gpujobs.store.reader",
    "daemon/forecast.py": "import keras",
    "node/agent.py": "import ray",
    "results/ranking.py": "import ray",
    "cli/clock.py": "import pynvml",
    "top/app.py": "import pynvml",
    "supervise/child.py": "import tensorflow",
    "view/order.py": "import textual",
    "top/queue.py": "import apprise",
}
"""Each contract of `.importlinter` at least once."""


def test_planted_imports_are_refused_and_named(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "gpujobs", tmp_path / "gpujobs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    for name, line in PLANTED.items():
        path = tmp_path / "gpujobs" / name
        path.write_text(f"{path.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stdout
    for name, line in PLANTED.items():
        importer = "gpujobs." + name.removesuffix(".py").replace("/", ".")
        assert f"{importer} -> {line.split()[1]}" in done.stdout, done.stdout
