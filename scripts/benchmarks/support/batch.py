"""A batch of tutorial jobs, for programs that run commands."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.support.daemon import Daemon
from benchmarks.support.timing import until

TUTORIAL = Path(__file__).with_name("tutorial.py")
DEADLINE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Batch:
    """`directory` gets one directory of results for each job; `scratch` holds what a contender's daemon writes.

    `daemon`: a gpujobs daemon that is running already, where there is one.
    """

    jobs: int
    slots: int
    directory: Path
    scratch: Path
    daemon: Daemon | None = None
    shape: str = "LSTM"
    """Of the model, for the references: `tutorial.SHAPES`."""

    @property
    def threads(self) -> int:
        """Of each job: the cores, shared evenly among the slots, as gpujobs does."""
        return max(1, len(os.sched_getaffinity(0)) // self.slots)

    def command(self, number: int) -> list[str]:
        """The plain script, from a cold start."""
        return [sys.executable, str(TUTORIAL), str(self.directory / str(number)), str(self.threads)]

    def commands(self) -> list[list[str]]:
        return [self.command(number) for number in range(self.jobs)]

    def write_script(self) -> Path:
        """A shell script that runs the job whose number it is given."""
        script = self.scratch / "job.sh"
        head, tail = self.command(0)[:2], self.threads
        script.write_text(f'#!/bin/sh\nexec {" ".join(head)} "{self.directory}/$1" {tail}\n')
        script.chmod(0o755)
        return script

    def is_done(self) -> bool:
        return all((self.directory / str(number) / "done").exists() for number in range(self.jobs))

    def wait(self) -> None:
        """Until the results of all jobs are there: by looking, so that no queue's own way of telling counts."""
        until(self.is_done, DEADLINE_SECONDS, f"{self.jobs} jobs in {self.directory}")
