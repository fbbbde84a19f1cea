"""A supervisor that runs a small program, forked off a process that has imported it, as a launcher's are."""

from __future__ import annotations

import json
import os
import textwrap
from pathlib import Path
from typing import Any

from gpujobs.paths import AttemptPaths
from tests.forked import Forking, Started
from tests.specs import spec_json

INSTALLATION = Path(__file__).parents[3]
SUPERVISORS = Forking(
    """
from gpujobs.protocol import codec, records, spec, training
from gpujobs.supervise import members, supervisor
codec.warm((spec.AttemptSpec, *records.KINDS, *training.ORDERS.kinds))
""",
    {"PYTHONPATH": str(INSTALLATION)},
)
ARMED = """
import os
from gpujobs import failpoints
failpoints.arm(os.environ.get(failpoints.VARIABLE, ""))
"""
"""What the import of a fresh interpreter would do."""

PROGRAM = """
import os, sys, time
from gpujobs.supervise import supervisor

def run_trainer(spec, output, messages):
    os.dup2(output, 1)
    {body}
    os._exit(0)

supervisor.supervise(sys.argv[1], sys.argv[2] or None, run_trainer)
"""


def start(program: str, attempt: Path, notify: object = "", **environment: str) -> Started:
    """`program`: takes the attempt's directory, and whom it tells."""
    return SUPERVISORS.start(ARMED + program, attempt, notify, environment={**os.environ, **environment})


def program(body: str, text: str = PROGRAM, indent: int = 4) -> str:
    return text.format(body=textwrap.indent(textwrap.dedent(body), " " * indent).strip())


def supervise(directory: Path, body: str, notify: str = "", **more: Any) -> dict[str, Any]:
    """The exit record of an attempt whose trainer runs `body`; `more` goes into its spec."""
    paths = AttemptPaths(directory)
    directory.mkdir(exist_ok=True)
    (directory / "job").mkdir(exist_ok=True)
    spec = spec_json(job=3, job_dir=str(directory / "job"), **more)
    paths.spec.write_text(json.dumps(spec))
    assert start(program(body), directory, notify).wait(60) == 0
    record: dict[str, Any] = json.loads(paths.exit.read_text())
    return record
