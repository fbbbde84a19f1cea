"""What cancel, hold, release, requeue and prioritize share."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from gpujobs.cli import app, output

SHOWN = 20
"""Jobs that are listed one by one."""


def change_jobs(verb: str, ids: tuple[int | str, ...], as_json: bool, **change: int) -> None:
    """Asks the daemon for this change of all these jobs, or of none where one cannot be changed."""
    answer = app.client().post(f"/v1/jobs/{verb}", {"ids": list(dict.fromkeys(ids)), **change})
    jobs, unchanged = answer["jobs"], set(answer.get("unchanged", ()))
    if as_json:
        output.print_json(jobs)
        return
    for job in jobs[:SHOWN]:
        click.echo(
            output.printable(f"{job['id']} {job['name'] or '-'}: {_now(verb, job, job['id'] in unchanged)}")
        )
    if len(jobs) > SHOWN:
        states = output.counts(Counter(job["state"] for job in jobs))
        click.echo(f"... {len(jobs)} jobs in all: {states}")
    if not jobs:
        click.echo(f"no job of {' '.join(map(str, ids))} is one to {verb}")


def _now(verb: str, job: dict[str, Any], is_unchanged: bool) -> str:
    """What has become of a job."""
    if is_unchanged:
        return f"had ended already, {job['state']}; there is nothing to {verb}"
    note = output.progress(job)
    if verb == "release":
        return (
            f"released; waits for {_wanted(note)}"
            if job["state"] == "PENDING"
            else f"released; {job['state']}"
        )
    return f"{job['state']} ({note})" if note else str(job["state"])


def _wanted(note: str) -> str:
    return f"its turn ({note})" if note else "its turn"
