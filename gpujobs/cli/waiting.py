"""Waiting for jobs without a word, and saying at the end how they did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from gpujobs.cli import output
from gpujobs.client import Client
from gpujobs.errors import DaemonUnreachableError

LAST_LINES = 10


def wait_for(client: Client, ids: Sequence[int], *, as_json: bool) -> bool:
    """Prints each job's state, exit code and last lines, or all as JSON. True if all completed."""
    jobs: dict[int, dict[str, Any]] = {job["id"]: job for job in client.watch(ids)}
    lost = [id for id in ids if id not in jobs or not output.has_ended(jobs[id])]
    if lost:
        raise DaemonUnreachableError(
            f"the daemon ended before job {lost[0]}; start it again with `gpujobs serve &`: jobs are kept."
        )
    if as_json:
        output.print_json([jobs[id] for id in ids])
    else:
        for id in ids:
            _report(client, jobs[id])
    return all(jobs[id]["state"] == "COMPLETED" for id in ids)


def _report(client: Client, job: dict[str, Any]) -> None:
    why = "" if job["state"] == "COMPLETED" else f" {output.progress(job)}"
    click.echo(output.printable(f"{job['id']} {job['name']}: {job['state']}{_code(job['exit'])}{why}"))
    if not job["attempt"]:
        return
    with client.open(f"/v1/jobs/{job['id']}/log", tail=LAST_LINES) as log:
        for line in log:
            click.echo(f"  {output.printable(line.decode(errors='replace').rstrip())}")


def _code(ended: dict[str, Any] | None) -> str:
    if ended is None:
        return ""
    return f", signal {ended['signal']}" if ended.get("signal") else f", exit code {ended['code']}"
