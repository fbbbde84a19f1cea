"""Draws docs/images/terminal.svg, README's picture: what commands print on a terminal, of a daemon that trains.

Usage: python scripts/drawings/terminal.py [FILE.svg]      (a minute; nothing of it is made up)
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "docs/images/terminal.svg"
WIDTH = 96
COMMAND = [sys.executable, "-P", "-m", "gpujobs"]
SHOWN = (("status",), ("gpus",), ("plot", "1", "--metric", "loss"))
TRAINED_SECONDS = 400.0


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="gj-") as place:
        environment = {
            **os.environ,
            "GPUJOBS_STATE_DIR": place,
            "PYTHONPATH": str(ROOT),
            "COLUMNS": str(WIDTH),
        }
        environment |= {"TERM": "xterm-256color", "HOME": place}
        environment.pop("NO_COLOR", None)
        daemon = subprocess.Popen([*COMMAND, "serve", "--personal", "--cpu-slots", "2"], env=environment,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        try:
            _train(environment)
            text = "\n".join(f"$ gpujobs {' '.join(words)}\n{_shown(words, environment)}" for words in SHOWN)
        finally:
            _run(["stop", "--cancel"], environment)
            daemon.wait(60)
    _draw(text, target)


def _run(words: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )


def _train(environment: dict[str, str]) -> None:
    """The tutorial to its end, and a sweep that is half way through."""
    deadline = time.monotonic() + TRAINED_SECONDS
    tutorial = ["submit", "jobs/tutorial.yaml", "--set", "training.epochs=200"]
    while _run(tutorial, environment).returncode != 0:  # until the daemon serves
        _require(time.monotonic() < deadline, "no daemon")
        time.sleep(0.2)
    _run(["submit", "jobs/optimizer-sweep.yaml", "--set", "training.epochs=40"], environment)
    _run(["submit", "jobs/forecast-load.yaml", "--hold"], environment)
    _run(["wait", "1"], environment)
    while "completed" not in _run(["status"], environment).stdout:
        _require(time.monotonic() < deadline, "the sweep does not go on")
        time.sleep(0.5)


def _require(condition: bool, message: str) -> None:
    if not condition:
        sys.exit(f"{message} within {TRAINED_SECONDS:g} s")


def _shown(words: tuple[str, ...], environment: dict[str, str]) -> str:
    """What the command prints on a terminal, with its colours."""
    ours, theirs = os.openpty()
    process = subprocess.Popen([*COMMAND, *words], env=environment, cwd=ROOT, stdout=theirs)
    os.close(theirs)
    parts = []
    with suppress(OSError):  # the terminal is gone when the command has ended
        while part := os.read(ours, 65536):
            parts.append(part)
    os.close(ours)
    _require(process.wait() == 0, f"gpujobs {' '.join(words)} failed")
    return b"".join(parts).decode().replace("\r\n", "\n")


def _draw(text: str, target: Path) -> None:
    with Path(os.devnull).open("w") as nowhere:
        console = Console(
            record=True, width=WIDTH, file=nowhere, force_terminal=True, color_system="truecolor"
        )
        console.print(Text.from_ansi(text.rstrip()), soft_wrap=True)
        target.write_text(console.export_svg(title="gpujobs", unique_id="gpujobs"), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET)
