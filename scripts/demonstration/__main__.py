"""The command line of `scripts/demo`."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from demonstration import pictures, work
from demonstration.lab import ROOT, Lab, opened


def main() -> None:
    made = argparse.ArgumentParser("scripts/demo", description="A demonstration daemon, and pictures of it.")
    made.add_argument("--serve", action="store_true", help="leave it up until Ctrl-C")
    made.add_argument("--output", type=Path, default=ROOT / "docs/pictures", metavar="DIRECTORY")
    given = made.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with opened() as lab:
        work.begin(lab)
        if given.serve:
            serve(lab)
        else:
            given.output.mkdir(parents=True, exist_ok=True)
            pictures.take(lab, given.output)


def serve(lab: Lab) -> None:
    say(f"GPUJOBS_SOCKET={lab.daemon.socket} .venv/bin/gpujobs status    # or top, web, timeline, …")
    say(f"{lab.link()}    # works once, within a minute; `gpujobs web` with that socket prints another")
    say("Ctrl-C ends it")
    try:
        signal.pause()
    except KeyboardInterrupt:
        say("ending it")


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
