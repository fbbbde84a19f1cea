"""What the commands that change jobs share: cancel, hold, release, requeue, prioritize, finish and limit."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from gpujobs.cli import app, output
from gpujobs.cli.choosing import Selection
from gpujobs.model import State

if TYPE_CHECKING:
    from gpujobs.client import Client

SHOWN = 20
"""Jobs that are listed one by one."""

ASKED_FROM = 11
"""So many jobs are not changed before somebody at a terminal has said yes."""

yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask before changing more than ten jobs.")


def change_jobs(verb: str, chosen: Selection, as_json: bool, yes: bool = False, **change: Any) -> None:
    """Asks the daemon for this change of all these jobs, or of none where one that is named cannot be changed."""
    client = app.client()
    body = {**chosen.body, **change}
    if not yes and sys.stdin.isatty() and not _is_few(chosen):
        seen = _confirmed(client, verb, body)
        if seen is not None:
            body["only"] = seen
    answer = client.post(f"/v1/jobs/{verb}", body)
    if as_json:
        output.print_json(answer["jobs"])
        return
    lines = [_line(verb, job, answer.get("notes") or {}) for job in answer["jobs"]]
    lines += [output.printable(one["why"]) for one in answer.get("passed_over") or ()]
    for line in lines[:SHOWN]:
        click.echo(line)
    if len(lines) > SHOWN:
        states = output.counts(Counter(job["state"] for job in answer["jobs"]))
        passed = len(answer.get("passed_over") or ())
        rest = f"; {passed} were left as they are" if passed else ""
        click.echo(f"... {len(answer['jobs'])} jobs in all: {states or 'none changed'}{rest}")
    elif not answer["jobs"]:
        click.echo(f"no job of {chosen} is one to {verb}")


def _is_few(chosen: Selection) -> bool:
    return (
        not chosen.conditions and len(chosen.ids) < ASKED_FROM and all(isinstance(i, int) for i in chosen.ids)
    )


def _confirmed(client: Client, verb: str, body: dict[str, Any]) -> list[int] | None:
    """The jobs that somebody has seen the number of; None where there are too few to ask. Raises Abort."""
    jobs = client.post(f"/v1/jobs/{verb}", {**body, "dry_run": True})["jobs"]
    if len(jobs) < ASKED_FROM:
        return None
    owners = sorted({str(job["user"]) for job in jobs})
    whose = f" of {', '.join(map(output.printable, owners))}" if len(owners) > 1 else ""
    states = output.counts(Counter(job["state"] for job in jobs))
    click.confirm(f"{verb} {len(jobs)} jobs{whose} ({states})?", abort=True, err=True)
    return [job["id"] for job in jobs]


def _line(verb: str, job: dict[str, Any], notes: dict[str, str]) -> str:
    """The job as it is now, and what happened to it."""
    note = notes.get(str(job["id"]))
    if note and note.startswith("had already ended"):
        return f"job {job['id']} has already ended: {job['state']}"
    if verb == "release" and note is None:
        return output.printable(f"{job['id']} {job['name'] or '-'}: {_released(job)}")
    why = (
        note or output.progress(job)
        if job["state"] == State.PENDING
        else note or job["message"] or job["reason"]
    )
    said = f" ({output.printable(why)})" if why else ""
    return f"{job['id']} {output.printable(job['name'])}: {job['state']}{said}"


def _released(job: dict[str, Any]) -> str:
    """What has come of it."""
    if job["state"] != State.PENDING:
        return f"released; {job['state']}"
    why = output.progress(job)
    return f"released; waits for its turn ({why})" if why else "released; waits for its turn"
