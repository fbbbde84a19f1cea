"""What cancel, hold, release, requeue and prioritize share."""

from __future__ import annotations

import click

from gpujobs.cli import app, output


def change_jobs(verb: str, ids: tuple[int, ...], as_json: bool, **change: int) -> None:
    """Asks the daemon for this change of all these jobs, or of none where one cannot be changed."""
    jobs = app.client().post(f"/v1/jobs/{verb}", {"ids": list(dict.fromkeys(ids)), **change})["jobs"]
    if as_json:
        output.print_json(jobs)
        return
    for job in jobs:
        reason = f" ({job['reason']})" if job["reason"] else ""
        click.echo(f"{job['id']} {output.printable(job['name'])}: {job['state']}{reason}")
