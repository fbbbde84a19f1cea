"""From acknowledged submission to the trainer's first line, on a free device."""

from __future__ import annotations

import os
import time

from benchmarks.support.daemon import TUTORIAL_JOB, Daemon, running
from benchmarks.support.options import Options
from benchmarks.support.rows import Row
from gpujobs.client.submission import read_job_files

AT_MOST_SECONDS = 0.3


def measure(options: Options) -> list[Row]:
    with running(options.slots, options.daemon) as daemon:
        seconds = [first_line(daemon) for _ in range(options.commands)]
    return [Row("submission acknowledged to trainer's first line", "s", tuple(seconds), AT_MOST_SECONDS)]


def first_line(daemon: Daemon) -> float:
    """As a client sees it that follows the log. The device is free again when this returns."""
    body = {"request_key": os.urandom(16).hex(), "set": {"training.epochs": "1"}}
    with daemon.client() as client:
        (job,) = read_job_files([str(TUTORIAL_JOB)]).send(client, "/v1/jobs", body)["jobs"]
        acknowledged = time.perf_counter()
        with client.open(f"/v1/jobs/{job['id']}/log", follow=True) as log:
            log.readline()
            seconds = time.perf_counter() - acknowledged
        for last in client.watch([job["id"]]):
            job = last
    if job["state"] != "COMPLETED":
        raise RuntimeError(f"job {job['id']}: {job['state']} {job['message']}")
    return seconds
