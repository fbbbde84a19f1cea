"""What cancel, hold, release, requeue and prioritize share."""

from __future__ import annotations

from collections import Counter

import click

from gpujobs.cli import app, output

SHOWN = 20
"""Jobs that are listed one by one."""


def change_jobs(verb: str, ids: tuple[int | str, ...], as_json: bool, **change: int) -> None:
    """Asks the daemon for this change of all these jobs, or of none where one cannot be changed."""
    jobs = app.client().post(f"/v1/jobs/{verb}", {"ids": list(dict.fromkeys(ids)), **change})["jobs"]
    if as_json:
        output.print_json(jobs)
        return
    for job in jobs[:SHOWN]:
        note = job["reason"] or job["message"]
        why = f" ({output.printable(note)})" if note else ""
        click.echo(f"{job['id']} {output.printable(job['name'])}: {job['state']}{why}")
    if len(jobs) > SHOWN:
        states = output.counts(Counter(job["state"] for job in jobs))
        click.echo(f"... {len(jobs)} jobs in all: {states}")
    if not jobs:
        click.echo(f"no job of {' '.join(map(str, ids))} is one to {verb}")
