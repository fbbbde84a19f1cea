"""The command line, forked off a process that has imported it: as its users have it, a tenth of a second sooner."""

from __future__ import annotations

from pathlib import Path

from gpujobs.cli.app import COMMANDS
from tests.forked import Forking

ROOT = Path(__file__).parents[1]
IMPORTED = (
    "difflib", "encodings.idna", "encodings.utf_8_sig", "gzip", "hashlib", "http.client", "pwd",
    "rich.console", "rich.progress", "signal", "tempfile", "tomllib", "traceback", "gpujobs.config.settings",
    "gpujobs.cli.main", "gpujobs.cli.follow", "gpujobs.node.probe",
    *(f"gpujobs.cli.commands.{name}" for name in COMMANDS if name != "serve"),
)  # fmt: skip
"""What the command line imports when it needs it."""

IMPORT = f"import importlib\nfor name in {IMPORTED}: importlib.import_module(name)"
CLI = Forking(IMPORT, {"PYTHONPATH": str(ROOT)})
WARNING = Forking(IMPORT, {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"})
"""Says what Python warns of."""

RUN = "from gpujobs.__main__ import main\nmain()"
