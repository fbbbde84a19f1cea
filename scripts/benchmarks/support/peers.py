"""The other job queues, where they can be installed from."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys

from benchmarks.support.machine import ROOT

ENVIRONMENT = ROOT / "build" / "peers"
"""An environment of their own for those that come from PyPI."""

DEBIAN = ("task-spooler", "slurm-wlm", "munge", "tmux")
PYPI = ("runqd", f"ray[default]=={importlib.metadata.version('ray')}")


def install() -> None:
    """Raises CalledProcessError where an installer fails."""
    apt = ["apt-get", "install", "--yes", "--no-install-recommends", *DEBIAN]
    if shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(apt, check=True, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    else:
        print(
            f"not root on a Debian: install them yourself, for example: sudo {' '.join(apt)}", file=sys.stderr
        )
    subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
    pip = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "--quiet", *PYPI]
    subprocess.run(pip, check=True)
