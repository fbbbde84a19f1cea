"""Ray Jobs: `ray start --head` with its dashboard, and one submission for each job."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.support.batch import Batch
from benchmarks.support.machine import free_ports, process
from benchmarks.support.peers import ENVIRONMENT
from benchmarks.support.timing import until

NAME = "Ray Jobs"
PYTHON = ENVIRONMENT / "bin" / "python"
RAY = ENVIRONMENT / "bin" / "ray"

SUBMIT = """
import json, sys
from ray.job_submission import JobSubmissionClient
client = JobSubmissionClient(sys.argv[1])
for command in json.load(sys.stdin):
    client.submit_job(entrypoint=command, entrypoint_num_cpus=1)
"""


def missing() -> str | None:
    return None if RAY.exists() else 'ray[default] is not installed (PyPI: "ray[default]")'


@contextmanager
def session(batch: Batch) -> Iterator[Callable[[], None]]:
    address, dashboard = free_ports(2)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    commands = json.dumps([" ".join(command) for command in batch.commands()])

    def run() -> None:
        """From one process: the command line would start a Python for each submission."""
        submit = [str(PYTHON), "-c", SUBMIT, f"http://127.0.0.1:{dashboard}"]
        subprocess.run(submit, input=commands, text=True, check=True, capture_output=True, env=environment)
        batch.wait()

    with tempfile.TemporaryDirectory(prefix="ray-") as directory:  # a short name: Ray's sockets need it
        start = [str(RAY), "start", "--head", "--block", "--disable-usage-stats", f"--temp-dir={directory}"]
        start += [f"--port={address}", f"--num-cpus={batch.slots}", "--node-ip-address=127.0.0.1"]
        start += ["--include-dashboard=true", f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1"]
        with _head(start, environment, f"http://127.0.0.1:{dashboard}"):
            yield run


@contextmanager
def _head(start: list[str], environment: dict[str, str], url: str) -> Iterator[None]:
    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"{url}/api/jobs/", timeout=5):
                return True
        except OSError:
            return False

    with process(*start, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        until(answers, 90, "the head of Ray Jobs")
        yield
