"""A supervisor that runs a small program."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from gpujobs.paths import AttemptPaths
from tests.specs import spec_json

PROGRAM = """
import os, sys, time
from gpujobs.supervise import supervisor

def run_trainer(spec, output, messages):
    os.dup2(output, 1)
    {body}
    os._exit(0)

supervisor.supervise(sys.argv[1], sys.argv[2] or None, run_trainer)
"""


def supervise(directory: Path, body: str, notify: str = "", **more: Any) -> dict[str, Any]:
    """The exit record of an attempt whose trainer runs `body`; `more` goes into its spec."""
    paths = AttemptPaths(directory)
    directory.mkdir(exist_ok=True)
    (directory / "job").mkdir(exist_ok=True)
    spec = spec_json(job=3, job_dir=str(directory / "job"), **more)
    paths.spec.write_text(json.dumps(spec))
    code = PROGRAM.format(body=textwrap.indent(textwrap.dedent(body), "    ").strip())
    subprocess.run([sys.executable, "-c", code, str(directory), notify], check=True, timeout=60)
    record: dict[str, Any] = json.loads(paths.exit.read_text())
    return record
