"""What cancel, hold, release and requeue share."""

from __future__ import annotations

import click

from gpujobs.cli import app, output


def change_jobs(verb: str, ids: tuple[int, ...], as_json: bool) -> None:
    """Asks the daemon for this change of all these jobs, or of none where one cannot be changed."""
    jobs = app.client().post(f"/v1/jobs/{verb}", {"ids": list(dict.fromkeys(ids))})["jobs"]
    if as_json:
        output.print_json(jobs)
        return
    for job in jobs:
        reason = f" ({job['reason']})" if job["reason"] else ""
        click.echo(f"{job['id']} {output.printable(job['name'])}: {job['state']}{reason}")
